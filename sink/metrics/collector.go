package metrics

import (
	"maps"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// Source has the numbers that a collector tells. A *sink.Sink is one. Where a source has
// the method Lag of a sink, that is told too.
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
		build: prometheus.MustNewConstMetric(newDesc("build_info", "Which papyra-sink this is; always 1.", "version", "goversion"),
			prometheus.GaugeValue, 1, version, runtime.Version()),
		ready:    newDesc("ready", "1 while NATS and the store work, otherwise 0; /readyz has the reason."),
		state:    newDesc("state", "1 for the state in which the sink is, 0 for the others.", "state"),
		rejected: newDesc("records_rejected_total", "Received lines that failed the checks, by reason.", "reason"),
		dropped:  newDesc("records_dropped_total", "Good records that were dropped, by reason: the buffer was full, the time to stop was over, or the spool was full too.", "reason"),
		failed:   newDesc("write_errors_total", "Failed appends to the store, by cause. What was not stored is kept and tried again.", "cause"),
	}
	if s, ok := s.(lagSource); ok {
		c.lag = s
		c.lagDesc = newDesc("lag_seconds", "How long records took from their timestamp until the store had them, or the spool; a few of each append speak for the others.", "group", "instance")
	}
	for _, n := range numbers() {
		c.numbers = append(c.numbers, described{n, newDesc(n.name, n.help)})
	}
	return c
}

// newDesc describes a metric, whose name gets the prefix of all of them.
func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("papyra_"+name, help, labels, nil)
}

// collector asks its source once in each collection.
type collector struct {
	source  Source
	build   prometheus.Metric
	numbers []described

	ready, state, rejected, dropped, failed *prometheus.Desc

	lag     lagSource // nil where the source has no lag
	lagDesc *prometheus.Desc
}

type lagSource interface{ Lag() sink.Lag }

// lagMetric returns the histogram of the lag.
func (c *collector) lagMetric(config *sink.Config) prometheus.Metric {
	l := c.lag.Lag()
	below, n := make(map[float64]uint64, len(l.Bounds)), uint64(0)
	for i, bound := range l.Bounds {
		n += l.Counts[i]
		below[bound] = n
	}
	return prometheus.MustNewConstHistogram(c.lagDesc, l.Count(), l.Sum, below, config.Group, config.Instance)
}

// described is a number with its description.
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
	if c.lag != nil {
		to <- c.lagDesc
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	st, ready, config := c.source.Stats(), c.source.Ready() == nil, c.source.Config()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, label ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, v, label...)
	}
	to <- c.build
	send(c.ready, prometheus.GaugeValue, boolValue(ready))
	for _, state := range states() {
		send(c.state, prometheus.GaugeValue, boolValue(st.State == state), state)
	}
	for _, n := range c.numbers {
		kind := prometheus.CounterValue
		if n.gauge {
			kind = prometheus.GaugeValue
		}
		send(n.desc, kind, n.value(&st, &config))
	}
	if c.lag != nil {
		to <- c.lagMetric(&config)
	}
	eachLabel(st.Rejected, papyra.RejectReasons(), func(reason string, n float64) { send(c.rejected, prometheus.CounterValue, n, reason) })
	eachLabel(st.Dropped, dropReasons(), func(reason string, n float64) { send(c.dropped, prometheus.CounterValue, n, reason) })
	eachLabel(st.AppendErrors, papyra.Causes(), func(cause string, n float64) { send(c.failed, prometheus.CounterValue, n, cause) })
}

// states returns the values that sink.Stats.State may have.
func states() []string { return []string{"starting", "running", "stopping", "stopped"} }

// dropReasons returns the reasons for which a sink drops records. What it rejects
// has a counter of its own.
func dropReasons() []papyra.DropReason {
	return []papyra.DropReason{papyra.DropSinkFull, papyra.DropSinkStopped, papyra.DropSpoolFull}
}

// eachLabel calls f for every key of the closed list, also for one that has counted
// nothing: Prometheus does not see the first increase of a counter that appears
// with it. Keys that are not in the list follow.
func eachLabel[K ~string](counts map[K]uint64, list []K, f func(key string, n float64)) {
	for _, k := range list {
		f(string(k), float64(counts[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		if !slices.Contains(list, k) {
			f(string(k), float64(counts[k]))
		}
	}
}

// boolValue returns 1 for true and 0 for false.
func boolValue(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
