package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/metrics"
)

// A program that runs a sink of its own serves what papyra-sink does.
func Example() {
	store, err := backend.Open("memory:")
	if err != nil {
		panic(err)
	}
	defer store.Close()
	worker, err := sink.New(sink.Config{}, store)
	if err != nil {
		panic(err)
	}
	answer := httptest.NewRecorder()
	metrics.Handler(worker, "v1").ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	fmt.Print(answer.Code, " ", answer.Body)
	// Output: 503 not ready: the sink is starting
}
