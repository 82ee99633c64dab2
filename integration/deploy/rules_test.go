package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"

	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/metrics"
)

const rulesFile = "../../deploy/prometheus/papyra.rules.yml"

// rules is a file of Prometheus rules, as far as ours has them.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations struct{ Summary, Description string }
		}
	}
}

// exported are the metrics of a sink.
func exported(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	store, err := backend.Open("memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s, err := sink.New(sink.Config{}, store)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Collector(s, "test"))
	list, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]*dto.MetricFamily{}
	for _, f := range list {
		families[f.GetName()] = f
	}
	return families
}

// values are those of a label of a metric.
func values(f *dto.MetricFamily, label string) (list []string) {
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				list = append(list, l.GetValue())
			}
		}
	}
	return list
}

// Every metric that an alert asks for exists, with the labels and values that it
// asks for.
func TestAlertsAskForMetricsThatExist(t *testing.T) {
	raw, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file rules
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	families := exported(t)
	name := regexp.MustCompile(`papyra_\w+`)
	matcher := regexp.MustCompile(`(papyra_\w+)\{(\w+)(?:=|!=|=~|!~)"([^"]*)"\}`)
	by := regexp.MustCompile(`by \(([^)]*)\) \(\w+\((papyra_\w+)`)
	word := regexp.MustCompile(`\w+`)
	var alerts []string
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			alerts = append(alerts, r.Alert)
			if r.Annotations.Summary == "" || r.Annotations.Description == "" || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%s: summary, description and severity are needed: %+v", r.Alert, r)
			}
			names := name.FindAllString(r.Expr, -1)
			if len(names) == 0 {
				t.Errorf("%s asks for none of our metrics: %s", r.Alert, r.Expr)
			}
			for _, n := range names {
				if families[n] == nil {
					t.Errorf("%s asks for %s, which a sink does not export", r.Alert, n)
				}
			}
			for _, m := range matcher.FindAllStringSubmatch(r.Expr, -1) {
				for _, value := range word.FindAllString(m[3], -1) {
					if !slices.Contains(values(families[m[1]], m[2]), value) {
						t.Errorf("%s asks for %s{%s=%q}, which there is not", r.Alert, m[1], m[2], value)
					}
				}
			}
			for _, m := range by.FindAllStringSubmatch(r.Expr, -1) {
				for _, label := range word.FindAllString(m[1], -1) {
					if label != "instance" && len(values(families[m[2]], label)) == 0 {
						t.Errorf("%s sums %s by %s, a label that it has not", r.Alert, m[2], label)
					}
				}
			}
		}
	}
	slices.Sort(alerts)
	if len(alerts) < 5 || len(slices.Compact(alerts)) != len(alerts) {
		t.Errorf("alerts are %q, want several, each once", alerts)
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.Command(promtool, "check", "rules", rulesFile).CombinedOutput(); err != nil {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
}
