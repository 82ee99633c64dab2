package metrics

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/papyra/papyra/internal/terminal"
)

const (
	// maxScrapes bounds the scrapes at one time; one more gets a 503.
	maxScrapes = 4
	// scrapeTimeout bounds one scrape; a longer one gets a 503.
	scrapeTimeout = 5 * time.Second
)

// Handler serves /metrics, /livez and /readyz of one sink, for GET and HEAD only.
// It serves the sink's own metrics and those of the Go runtime (go_) and of the
// process (process_). It may be used before the sink runs and after it.
func Handler(s Source, version string) http.Handler {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector(s, version), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "live")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Ready(); err != nil {
			writeText(w, http.StatusServiceUnavailable, "not ready: "+oneLine(err.Error()))
			return
		}
		body := []string{"ready"}
		if noted, ok := s.(interface{ Notes() []string }); ok {
			for _, note := range noted.Notes() {
				body = append(body, "note: "+oneLine(note))
			}
		}
		writeText(w, http.StatusOK, strings.Join(body, "\n"))
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, fmt.Sprintf("papyra-sink %s\n\n/metrics  for Prometheus\n/livez    the process runs\n/readyz   NATS and the store work", version))
	})
	return mux
}

// writeText answers with a line of plain text that nothing may keep.
func writeText(w http.ResponseWriter, status int, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body+"\n") // the client may be gone
}

// oneLine writes an error, which may be several joined ones and hold the name of
// a file, so that it fits into a log and moves no cursor.
func oneLine(s string) string { return terminal.Escape(strings.ReplaceAll(s, "\n", "; ")) }
