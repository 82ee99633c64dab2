package metrics

import (
	"maps"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// Source is what is told of: a *sink.Sink.
type Source interface {
	Stats() sink.Stats
	Ready() error
	Config() sink.Config
}

// Collector returns the metrics of a sink for a registry of the caller's. Each
// collection asks the sink once. The version goes into papyra_build_info.
func Collector(s Source, version string) prometheus.Collector {
	c := &collector{
		source: s,
		build: prometheus.MustNewConstMetric(desc("build_info", "Which papyra-sink this is; always 1.", "version", "goversion"),
			prometheus.GaugeValue, 1, version, runtime.Version()),
		ready:    desc("ready", "1 while NATS and the store work, otherwise 0; /readyz has the reason."),
		state:    desc("state", "1 for the state in which the sink is, 0 for the others.", "state"),
		rejected: desc("records_rejected_total", "Received lines that failed the checks, by reason.", "reason"),
		dropped:  desc("records_dropped_total", "Good records that were dropped, by reason: the buffer was full, or the time to stop was over.", "reason"),
		failed:   desc("write_errors_total", "Failed appends to the store, by cause. What was not stored is kept and tried again.", "cause"),
	}
	for _, n := range numbers() {
		c.numbers = append(c.numbers, described{n, desc(n.name, n.help)})
	}
	return c
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("papyra_"+name, help, labels, nil)
}

type collector struct {
	source  Source
	build   prometheus.Metric
	numbers []described

	ready, state, rejected, dropped, failed *prometheus.Desc
}

type described struct {
	number
	desc *prometheus.Desc
}

func (c *collector) Describe(to chan<- *prometheus.Desc) {
	to <- c.build.Desc()
	for _, d := range []*prometheus.Desc{c.ready, c.state, c.rejected, c.dropped, c.failed} {
		to <- d
	}
	for _, n := range c.numbers {
		to <- n.desc
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	st, ready, config := c.source.Stats(), c.source.Ready() == nil, c.source.Config()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, label ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, v, label...)
	}
	to <- c.build
	send(c.ready, prometheus.GaugeValue, one(ready))
	for _, state := range states() {
		send(c.state, prometheus.GaugeValue, one(st.State == state), state)
	}
	for _, n := range c.numbers {
		kind := prometheus.CounterValue
		if n.gauge {
			kind = prometheus.GaugeValue
		}
		send(n.desc, kind, n.value(&st, &config))
	}
	each(st.Rejected, papyra.RejectReasons(), func(reason string, n float64) { send(c.rejected, prometheus.CounterValue, n, reason) })
	each(st.Dropped, dropReasons(), func(reason string, n float64) { send(c.dropped, prometheus.CounterValue, n, reason) })
	each(st.AppendErrors, papyra.Causes(), func(cause string, n float64) { send(c.failed, prometheus.CounterValue, n, cause) })
}

// states are those of sink.Stats.State.
func states() []string { return []string{"starting", "running", "stopping", "stopped"} }

// dropReasons are those that a sink drops records for; what it rejects is counted
// by itself.
func dropReasons() []papyra.DropReason {
	return []papyra.DropReason{papyra.DropSinkFull, papyra.DropSinkStopped}
}

// each calls f for every key of the closed list, also where nothing was counted:
// a counter that appears with its first increase would hide that increase from
// Prometheus. Keys beyond the list follow.
func each[K ~string](counts map[K]uint64, list []K, f func(key string, n float64)) {
	for _, k := range list {
		f(string(k), float64(counts[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		if !slices.Contains(list, k) {
			f(string(k), float64(counts[k]))
		}
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
