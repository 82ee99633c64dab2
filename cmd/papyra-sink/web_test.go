package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/broker"
)

// await waits until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// ask asks for a path of the process and returns the status and the body.
func (p *process) ask(path string) (int, string, error) {
	base, _ := p.banner["http"].(string)
	resp, err := http.Get(base + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// get is ask in the test's own goroutine.
func (p *process) get(path string) (int, string) {
	p.t.Helper()
	status, body, err := p.ask(path)
	if err != nil {
		p.t.Fatal(err)
	}
	return status, body
}

// scrape is what Prometheus understands of /metrics.
type scrape map[string]*dto.MetricFamily

func (p *process) tryScrape() (scrape, error) {
	status, body, err := p.ask("/metrics")
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %d %q, %w", status, body, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(strings.NewReader(body))
}

func (p *process) scrape() scrape {
	p.t.Helper()
	s, err := p.tryScrape()
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// number is the value of a metric, without a label the sum of all its series.
func (s scrape) number(name string, label ...string) (sum float64) {
	for _, m := range s["papyra_"+name].GetMetric() {
		if len(label) == 0 || m.GetLabel()[0].GetValue() == label[0] {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// Scraped in a flood, every answer adds up, no counter goes back, and at the end
// the numbers are those of what was sent.
func TestMetricsUnderLoad(t *testing.T) {
	p := start(t, t.TempDir(), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
	nc := dial(t, p.url())
	const messages = 2000
	var scraping sync.WaitGroup
	sent := make(chan struct{})
	for range 3 {
		scraping.Go(func() {
			last := scrape{}
			for running := true; running; {
				select {
				case <-sent:
					running = false
				default:
				}
				now, err := p.tryScrape()
				if err != nil {
					t.Error(err)
					return
				}
				received := now.number("records_received_total")
				if sum := now.number("records_written_total") + now.number("records_rejected_total") + now.number("records_dropped_total") + now.number("pending_records"); received != sum {
					t.Errorf("received %v, but written, rejected, dropped and pending are %v", received, sum)
				}
				for name := range last {
					name = strings.TrimPrefix(name, "papyra_")
					if strings.HasSuffix(name, "_total") && now.number(name) < last.number(name) {
						t.Errorf("%s went back from %v to %v", name, last.number(name), now.number(name))
					}
				}
				last = now
			}
		})
	}
	bytesSent := 0
	for i := range messages {
		data := event(2*i) + "\nnonsense\n" + event(2*i+1)
		bytesSent += len(data) - 2
		send(t, nc, data)
	}
	flush(t, nc)
	await(t, "all is written", func() bool {
		s := p.scrape()
		return s.number("records_received_total") == 3*messages && s.number("pending_records") == 0
	})
	close(sent)
	scraping.Wait()
	s := p.scrape()
	for _, want := range []struct {
		name  string
		label []string
		n     float64
	}{
		{"messages_received_total", nil, messages},
		{"bytes_received_total", nil, float64(bytesSent)},
		{"records_written_total", nil, 2 * messages},
		{"records_rejected_total", nil, messages},
		{"records_rejected_total", []string{"corrupted"}, messages},
		{"records_dropped_total", nil, 0},
		{"write_errors_total", nil, 0},
		{"pending_bytes", nil, 0},
		{"ready", nil, 1},
		{"state", []string{"running"}, 1},
		{"build_info", nil, 1},
	} {
		if got := s.number(want.name, want.label...); got != want.n {
			t.Errorf("papyra_%s%v is %v, want %v", want.name, want.label, got, want.n)
		}
	}
	_, body := p.get("/metrics")
	if problems, err := promlint.New(strings.NewReader(body)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	if s["process_resident_memory_bytes"] == nil || s["go_goroutines"] == nil {
		t.Error("the numbers of the process are not there")
	}
}

// What the bound of a rotating store dropped is the same in the metrics, in the
// log and, after the end, in the reports of the store.
func TestMetricsOfARotatingStore(t *testing.T) {
	dir := t.TempDir()
	url := "rotating:" + filepath.Join(dir, "r.ndjson") + "?max_bytes=10kB&max_files=2"
	p := start(t, dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--backend", url)
	nc := dial(t, p.url())
	const n = 500
	for i := range n {
		send(t, nc, event(i))
	}
	flush(t, nc)
	var before scrape
	await(t, "the metrics tell of rotations", func() bool {
		before = p.scrape()
		return before.number("records_written_total") == n && before.number("rotation_dropped_records_total") > n/2
	})
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	ended := p.messages("ended")[0]
	for metric, name := range map[string]string{
		"rotations_total": "rotations", "rotation_dropped_files_total": "rotation_dropped_files",
		"rotation_dropped_records_total": "rotation_dropped_records", "rotation_dropped_bytes_total": "rotation_dropped_bytes",
	} {
		// The last report of the sink may have rotated once more.
		if logged, _ := ended[name].(float64); before.number(metric) < 1 || logged < before.number(metric) {
			t.Errorf("papyra_%s was %v, and the log says %s=%v", metric, before.number(metric), name, logged)
		}
	}
	var records, bytes int64
	for _, r := range removals(t, url) {
		if r.Act != papyra.ActRotate {
			t.Errorf("a report of the act %q", r.Act)
		}
		bytes += r.DamagedBytes
		for _, c := range r.Categories {
			records, bytes = records+c.Records, bytes+c.Bytes
		}
	}
	if float64(records) != ended["rotation_dropped_records"] || float64(bytes) != ended["rotation_dropped_bytes"] {
		t.Errorf("the reports say that %d records, %d bytes were dropped; the log says %v, %v",
			records, bytes, ended["rotation_dropped_records"], ended["rotation_dropped_bytes"])
	}
}

// A broker that is gone makes the sink unready with the reason, and one that is
// back makes it ready, by itself.
func TestReadinessFollowsTheBroker(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	address := b.Addr()
	defer func() { b.Close() }()
	p := start(t, t.TempDir(), "--server", b.URL(), "--http", "127.0.0.1:0")
	if status, body := p.get("/readyz"); status != 200 || body != "ready\n" {
		t.Errorf("at first: %d %q", status, body)
	}
	b.Close()
	await(t, "unready", func() bool {
		status, body := p.get("/readyz")
		return status == 503 && strings.Contains(body, "no connection to the NATS server")
	})
	if s := p.scrape(); s.number("ready") != 0 || s.number("disconnects_total") != 1 {
		t.Errorf("ready %v, disconnects %v", s.number("ready"), s.number("disconnects_total"))
	}
	if status, body := p.get("/livez"); status != 200 || body != "live\n" {
		t.Errorf("/livez: %d %q", status, body)
	}
	if b, err = broker.Start(broker.Config{Listen: address}); err != nil {
		t.Fatal(err)
	}
	await(t, "ready again", func() bool { status, _ := p.get("/readyz"); return status == 200 })
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A start that waits for its broker lives and is not ready.
func TestHealthBeforeTheStart(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	cmd := command(t.TempDir(), "--server", "nats://127.0.0.1:1", "--timeout", "1m", "--http", address)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, banner: map[string]any{"http": "http://" + address}}
	await(t, "it lives", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if status, body := p.get("/livez"); status != 200 {
		t.Errorf("/livez: %d %q", status, body)
	}
	if status, body := p.get("/readyz"); status != 503 || body != "not ready: the sink is starting\n" {
		t.Errorf("/readyz: %d %q", status, body)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if code := exitCode(cmd.ProcessState); code != 143 {
		t.Errorf("exit code %d:\n%s", code, stderr.String())
	}
}

// Clients that are slow, stuck or many keep neither the sink from working nor
// its end from coming.
func TestStuckHTTPClientsAreInNobodysWay(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
	address := strings.TrimPrefix(p.banner["http"].(string), "http://")
	for i := range maxWebConns() {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		request := "GET /metrics HT" // the rest never comes
		if i%2 == 0 {
			request = strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000) // the answers are not read
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
	}
	late, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	fmt.Fprint(late, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	nc := dial(t, p.url())
	send(t, nc, event(1))
	flush(t, nc)
	path := filepath.Join(dir, "papyra-data", "records.ndjson")
	await(t, "the record is stored", func() bool { return len(records(t, path)) == 1 })
	_ = late.SetReadDeadline(time.Now().Add(patience))
	if answer, err := io.ReadAll(late); err != nil || !bytes.HasSuffix(answer, []byte("live\n")) {
		t.Errorf("the one that came last got %q, %v", answer, err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	var took time.Duration
	if stopped := p.messages("stopped"); len(stopped) == 1 {
		took, _ = time.ParseDuration(stopped[0]["took"].(string))
	}
	if took == 0 {
		t.Errorf("it did not stop in time:\n%s", p.text())
	}
}

// Nothing is served where nobody asked for it.
func TestNoHTTPByDefault(t *testing.T) {
	p := start(t, t.TempDir(), "--listen", "127.0.0.1:0")
	if p.banner["http"] != nil {
		t.Errorf("the banner says %v", p.banner)
	}
}

func TestHTTPAddress(t *testing.T) {
	for value, want := range map[string]string{
		"": "", "127.0.0.1:9464": "127.0.0.1:9464", ":9464": "127.0.0.1:9464", "0.0.0.0:0": "0.0.0.0:0", "[::1]:9464": "[::1]:9464", "localhost:9464": "localhost:9464",
	} {
		if got, err := httpAddress(value); err != nil || got != want {
			t.Errorf("httpAddress(%q) = %q, %v, want %q", value, got, err, want)
		}
	}
	for _, bad := range []string{"9464", "127.0.0.1", "http://127.0.0.1:9464", "127.0.0.1:http", "127.0.0.1:", "127.0.0.1:65536", "::1:9464"} {
		if got, err := httpAddress(bad); !errors.Is(err, papyra.ErrConfig) {
			t.Errorf("httpAddress(%q) = %q, %v, want ErrConfig", bad, got, err)
		}
	}
}

// removals are the RemovalReports of a store.
func removals(t *testing.T, url string) (list []papyra.RemovalReport) {
	t.Helper()
	store, err := backend.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	q := papyra.Query{Kinds: []papyra.Kind{papyra.KindReport}, Types: []string{papyra.ReportRemoval}}
	if _, err := store.Read(t.Context(), q, func(rec *papyra.Record, _ papyra.Place) error {
		list = append(list, papyra.RemovalReport{})
		return json.Unmarshal(rec.Payload, &list[len(list)-1])
	}); err != nil {
		t.Fatal(err)
	}
	return list
}
