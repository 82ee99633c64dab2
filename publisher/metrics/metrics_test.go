package metrics_test

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/publisher/metrics"
)

// fixed is a publisher whose numbers are the test's.
type fixed publisher.Stats

func (f *fixed) Stats() publisher.Stats { return publisher.Stats(*f) }

func gather(t *testing.T, s metrics.Source) []*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(metrics.Collector(s))
	list, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// shown returns every value by its name and labels, as name{events,queue_full}.
func shown(t *testing.T, s metrics.Source) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, f := range gather(t, s) {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() { // sorted by name: category, reason
				labels = append(labels, l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "papyra_publisher_") + "{" + strings.Join(labels, ",") + "}"
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

// fill calls f for each number and each switch in v, by name.
func fill(t *testing.T, v reflect.Value, name string, f func(name string, v reflect.Value)) {
	t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."), f)
		}
	case reflect.Int, reflect.Uint64, reflect.Bool, reflect.String:
		f(name, v)
	default:
		t.Fatalf("%s is a %s: say here and in the collector how it is shown", name, v.Kind())
	}
}

// Each number of Stats is one value of one metric: a field without a metric, or with
// two, fails this test.
func TestEveryStatHasAMetric(t *testing.T) {
	t.Parallel()
	var s fixed
	fields := 0
	fill(t, reflect.ValueOf(&s).Elem(), "", func(name string, v reflect.Value) {
		before := shown(t, &s)
		want := 1
		switch v.Kind() {
		case reflect.Int:
			v.SetInt(7)
		case reflect.Uint64:
			v.SetUint(7)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			if want = 0; strings.HasSuffix(name, ".Hold") {
				v.SetString(string(publisher.HoldDenied))
				want = 1
			}
		}
		changed := 0
		for metric, n := range shown(t, &s) {
			if n != before[metric] {
				changed++
			}
		}
		if changed != want {
			t.Errorf("%s: %d metrics show it, want %d", name, changed, want)
		}
		v.SetZero()
		fields++
	})
	if fields < 60 {
		t.Fatalf("only %d fields", fields)
	}
}

func TestReasonsToHold(t *testing.T) {
	t.Parallel()
	for _, reason := range []publisher.HoldReason{publisher.HoldNone, publisher.HoldUnheard, publisher.HoldUnanswered, publisher.HoldDenied} {
		all := shown(t, &fixed{DeadLetters: publisher.CategoryStats{Hold: reason}})
		for _, other := range []publisher.HoldReason{publisher.HoldUnheard, publisher.HoldUnanswered, publisher.HoldDenied} {
			want := 0.0
			if other == reason {
				want = 1
			}
			if got, ok := all["held{dead_letters,"+string(other)+"}"]; !ok || got != want {
				t.Errorf("held for %q: %q is %v, want %v", reason, other, got, want)
			}
			if all["held{events,"+string(other)+"}"] != 0 {
				t.Errorf("held for %q: the events are held too", reason)
			}
		}
	}
}

// Names and labels are as Prometheus wants them, and the values of labels are closed.
func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	t.Parallel()
	values := map[string]bool{}
	for _, kind := range papyra.Kinds() {
		values["category="+kind.Category()] = true
	}
	for _, reason := range []string{
		"queue_full", "too_large", "encode", "closed", "unheard", "unanswered", "denied",
		"connect", "auth", "permission", "write", "other",
	} {
		values["reason="+reason] = true
	}
	families := gather(t, &fixed{Errors: publisher.Errors{Last: "nats: secret"}})
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	for _, f := range families {
		name := f.GetName()
		if counter := f.GetType() == dto.MetricType_COUNTER; !strings.HasPrefix(name, "papyra_publisher_") || counter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, f.GetType())
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !values[l.GetName()+"="+l.GetValue()] {
					t.Errorf("%s has the label %s=%q", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The numbers of a real publisher are those of its Stats.
func TestNumbersAreThoseOfStats(t *testing.T) {
	t.Parallel()
	b := natstest.Embedded(t, &server.Options{})
	sink, err := nats.Connect(b.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	if _, err := sink.Subscribe(papyra.SubjectAllRecords, func(*nats.Msg) {}); err != nil || sink.Flush() != nil {
		t.Fatal("cannot subscribe")
	}
	p, err := publisher.Connect(b.ClientURL(), publisher.Config{System: "orders", Buffers: publisher.Buffers{Audits: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(3) {
		p.Started(papyra.Address{ID: i})
	}
	p.Event(papyra.Event{Type: "T\xff", Payload: make(chan int)})
	p.DeadLetter(papyra.DeadLetter{MessageType: strings.Repeat("x", papyra.MaxPublishedLine)})
	testkit.Await(t, "the events are confirmed", func() bool { return p.Stats().Events.Confirmed == 4 })
	if all := shown(t, p); all["connected{}"] != 1 || all["buffer_bytes{events}"] == 0 {
		t.Errorf("got %v, want a connection and memory held", all)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	p.Started(papyra.Address{})
	s, all := p.Stats(), shown(t, p)
	for name, want := range map[string]uint64{
		"records_accepted_total{events}":                s.Events.Accepted,
		"records_confirmed_total{events}":               s.Events.Confirmed,
		"records_refused_total{events}":                 s.Events.Refused,
		"payloads_replaced_total{events}":               s.Events.PayloadReplaced,
		"bytes_sanitized_total{events}":                 s.Events.Sanitized,
		"records_dropped_total{dead_letters,too_large}": s.DeadLetters.DroppedTooLarge,
		"records_confirmed_total{reports}":              s.Reports.Confirmed,
	} {
		if got := all[name]; want == 0 || math.Abs(got-float64(want)) > 0 {
			t.Errorf("%s is %v, want %d, and not 0", name, got, want)
		}
	}
}
