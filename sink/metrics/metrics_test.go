package metrics_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/metrics"
)

// fixed is a sink whose numbers are the test's.
type fixed struct {
	stats sink.Stats
	ready error
}

func (f *fixed) Stats() sink.Stats   { return f.stats }
func (f *fixed) Ready() error        { return f.ready }
func (f *fixed) Config() sink.Config { return sink.Config{BufferBytes: 64 << 20} }

func gather(t *testing.T, s metrics.Source) map[string]*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(metrics.Collector(s, "v1.2.3"))
	list, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range list {
		byName[f.GetName()] = f
	}
	return byName
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// number gives every number below v a value of its own, and returns which field
// has which.
func number(t *testing.T, v reflect.Value, name string, next *uint64, fields map[float64]string) {
	t.Helper()
	take := func() uint64 {
		*next++
		fields[float64(*next)] = name
		return *next
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(int64(take()), 0)))
		return
	}
	switch v.Kind() {
	case reflect.Bool: // no number
	case reflect.Struct:
		for i := range v.NumField() {
			number(t, v.Field(i), name+"."+v.Type().Field(i).Name, next, fields)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		n := reflect.New(v.Type().Elem()).Elem()
		n.SetUint(take())
		v.SetMapIndex(reflect.ValueOf("something_new").Convert(v.Type().Key()), n)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(take()))
	case reflect.Uint64:
		v.SetUint(take())
	case reflect.String:
		v.SetString("running")
	default:
		t.Fatalf("%s is a %s: say here and in the collector how it is shown", name, v.Kind())
	}
}

// A field of sink.Stats that has no metric, or two, fails this test.
func TestEveryStatHasAMetric(t *testing.T) {
	s, next, fields := &fixed{}, uint64(1000), map[float64]string{}
	number(t, reflect.ValueOf(&s.stats).Elem(), "Stats", &next, fields)
	if len(fields) < 30 {
		t.Fatalf("only %d numbers", len(fields))
	}
	shown := map[float64][]string{}
	for name, f := range gather(t, s) {
		for _, m := range f.GetMetric() {
			shown[value(m)] = append(shown[value(m)], name)
		}
	}
	for n, field := range fields {
		if len(shown[n]) != 1 {
			t.Errorf("%s is shown by the metrics %q, want one", field, shown[n])
		}
	}
}

func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	families := gather(t, &fixed{stats: sink.Stats{State: "running"}})
	for name, f := range families {
		problems, err := promlint.NewWithMetricFamilies([]*dto.MetricFamily{f}).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %v", name, problems, err)
		}
		if counter := f.GetType() == dto.MetricType_COUNTER; !strings.HasPrefix(name, "papyra_") || counter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, f.GetType())
		}
	}
	// The Python implementation's numbers.
	for _, name := range []string{
		"records_written", "bytes_written", "write_errors", "scans", "scan_errors", "anomalies_detected",
		"recoveries", "recovery_errors", "compactions", "compaction_errors",
	} {
		if families["papyra_"+name+"_total"] == nil {
			t.Errorf("there is no papyra_%s_total", name)
		}
	}
	if build := families["papyra_build_info"]; build == nil || build.GetMetric()[0].GetLabel()[1].GetValue() != "v1.2.3" {
		t.Errorf("build info is %v", build)
	}
	if n := value(families["papyra_pending_limit_bytes"].GetMetric()[0]); n != 64<<20 {
		t.Errorf("the limit is %v", n)
	}
}

// Every value of a label is there from the beginning, and nothing that a sender
// chooses is a label.
func TestLabelsAreClosed(t *testing.T) {
	families := gather(t, &fixed{stats: sink.Stats{State: "stopping", Rejected: map[papyra.RejectReason]uint64{papyra.ClassCorrupted: 7}}})
	for name, want := range map[string]int{
		"papyra_records_rejected_total": len(papyra.RejectReasons()), "papyra_records_dropped_total": 3,
		"papyra_write_errors_total": len(papyra.Causes()), "papyra_state": 4,
	} {
		if got := len(families[name].GetMetric()); got != want {
			t.Errorf("%s has %d series, want %d", name, got, want)
		}
	}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains([]string{"reason", "cause", "state", "version", "goversion"}, l.GetName()) {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
				if name == "papyra_state" && (value(m) == 1) != (l.GetValue() == "stopping") {
					t.Errorf("%s{%s} is %v", name, l.GetValue(), value(m))
				}
				if l.GetValue() == "corrupted" && value(m) != 7 {
					t.Errorf("%s{corrupted} is %v, want 7", name, value(m))
				}
			}
		}
	}
}

func TestHandler(t *testing.T) {
	s := &fixed{stats: sink.Stats{State: "running"}}
	h := metrics.Handler(s, "v1.2.3")
	for _, tt := range []struct {
		method, path string
		ready        error
		status       int
		body         string // a part; with "=" before it all of it
	}{
		{"GET", "/metrics", nil, 200, "\npapyra_ready 1\n"},
		{"GET", "/metrics", errors.New("x"), 200, "\npapyra_ready 0\n"},
		{"GET", "/livez", errors.New("x"), 200, "=live\n"},
		{"GET", "/readyz", nil, 200, "=ready\n"},
		{"GET", "/readyz", errors.New("the store takes no records (EIO)"), 503, "=not ready: the store takes no records (EIO)\n"},
		{"GET", "/readyz", errors.New("a\nb \x1b[2J \u2028"), 503, `=not ready: a; b \x1b[2J \u2028` + "\n"},
		{"HEAD", "/readyz", errors.New("x"), 503, "="},
		{"HEAD", "/metrics", nil, 200, "="},
		{"GET", "/", nil, 200, "/readyz"},
		{"GET", "/metrics/", nil, 404, ""},
		{"GET", "/debug/pprof/", nil, 404, ""},
		{"POST", "/metrics", nil, 405, ""},
		{"PUT", "/readyz", nil, 405, ""},
		{"DELETE", "/livez", nil, 405, ""},
	} {
		s.ready = tt.ready
		server := httptest.NewServer(h)
		req, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		server.Close()
		want, exact := strings.CutPrefix(tt.body, "=")
		if resp.StatusCode != tt.status || exact && string(body) != want || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s %s: %d %q, want %d with %q", tt.method, tt.path, resp.StatusCode, body, tt.status, want)
		}
	}
}
