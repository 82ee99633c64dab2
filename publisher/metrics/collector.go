// Package metrics shows the Stats of a publisher to Prometheus. The publisher
// itself does not import the client of Prometheus; who wants the numbers there
// imports this package.
//
// Every name begins with papyra_publisher_. Counters begin at 0 with the publisher
// and never go back. The labels are category and reason, and their values come from
// closed lists only: neither a system nor an actor nor a run is one.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

// Source has the numbers that a collector shows. A *publisher.Publisher is one.
type Source interface {
	Stats() publisher.Stats
}

// Collector returns the metrics of one publisher for a registry of the caller's.
// Each collection asks the publisher once, which costs the time of a few mutexes. It
// may be used at any time, also after Close.
//
// Two publishers of one process have the same names. Tell them apart by a label:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"system": "orders"}, registry).
//		MustRegister(metrics.Collector(p))
func Collector(s Source) prometheus.Collector {
	c := &collector{source: s}
	for _, m := range []family{ofCategories(), ofReasons(), ofConnection(), ofErrors()} {
		for _, n := range m.numbers {
			kind := prometheus.CounterValue
			if n.gauge {
				kind = prometheus.GaugeValue
			}
			c.metrics = append(c.metrics, metric{n, kind, prometheus.NewDesc("papyra_publisher_"+n.name, n.help, m.labels, nil)})
		}
	}
	return c
}

type collector struct {
	source  Source
	metrics []metric
}

// metric is a number with its description.
type metric struct {
	number
	kind prometheus.ValueType
	desc *prometheus.Desc
}

// Describe is of prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		to <- m.desc
	}
}

// Collect is of prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	st := c.source.Stats()
	for _, m := range c.metrics {
		m.each(&st, func(v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
		})
	}
}

// family is metrics with the same labels.
type family struct {
	labels  []string
	numbers []number
}

// number is a metric without its prefix. each calls show for every value of its
// labels, also for those that have counted nothing: Prometheus does not see the first
// increase of a counter that appears with it.
type number struct {
	name, help string
	gauge      bool
	each       func(s *publisher.Stats, show shower)
}

type shower func(v float64, labels ...string)

// eachCategory calls f with the numbers of each category.
func eachCategory(s *publisher.Stats, f func(category string, c *publisher.CategoryStats)) {
	f(papyra.KindEvent.Category(), &s.Events)
	f(papyra.KindDeadLetter.Category(), &s.DeadLetters)
	f(papyra.KindAudit.Category(), &s.Audits)
	f(papyra.KindReport.Category(), &s.Reports)
}

// boolValue returns 1 for true and 0 for false.
func boolValue(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
