package metrics_test

import (
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/papyra/papyra/sink"
)

// lagging is a sink whose records have a lag.
type lagging struct{ fixed }

func (l *lagging) Lag() sink.Lag {
	return sink.Lag{Bounds: []float64{.1, 1}, Counts: []uint64{3, 2, 4}, Sum: 42}
}

func (l *lagging) Config() sink.Config { return sink.Config{Group: "archive", Instance: "eu-1"} }

// The lag is a histogram of the sink's group and instance: buckets add up, and what is
// beyond the last bound is in the count.
func TestLagIsAHistogram(t *testing.T) {
	f := gather(t, &lagging{})["papyra_lag_seconds"]
	if f == nil || f.GetType() != dto.MetricType_HISTOGRAM || len(f.GetMetric()) != 1 {
		t.Fatalf("the lag is %v", f)
	}
	m := f.GetMetric()[0]
	h, l := m.GetHistogram(), m.GetLabel()
	if h.GetSampleCount() != 9 || h.GetSampleSum() != 42 || len(h.GetBucket()) != 2 || h.GetBucket()[0].GetCumulativeCount() != 3 || h.GetBucket()[1].GetCumulativeCount() != 5 {
		t.Errorf("the lag is %v", h)
	}
	if len(l) != 2 || l[0].GetName()+l[0].GetValue() != "grouparchive" || l[1].GetName()+l[1].GetValue() != "instanceeu-1" {
		t.Errorf("its labels are %v", l)
	}
	if gather(t, &fixed{})["papyra_lag_seconds"] != nil {
		t.Error("a source without a lag has one")
	}
}
