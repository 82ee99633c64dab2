package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// gated is a writer that blocks until it is opened.
type gated struct {
	gate chan struct{}
	mu   sync.Mutex
	text strings.Builder
}

func (g *gated) Write(p []byte) (int, error) {
	<-g.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.Write(p)
}

func TestLogNeverWaitsAndCountsWhatItDrops(t *testing.T) {
	g := &gated{gate: make(chan struct{})}
	a := newAsyncWriter(g)
	const lines = 3 * maxLogLines
	began := time.Now()
	for i := range lines {
		fmt.Fprintf(a, "line %d\n", i)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%d lines to a stuck reader took %v", lines, took)
	}
	began = time.Now()
	a.close() // it gives up
	if took := time.Since(began); took > 20*closeTime {
		t.Errorf("close took %v", took)
	}
	close(g.gate)
	<-a.done
	g.mu.Lock()
	defer g.mu.Unlock()
	kept := strings.Count(g.text.String(), "line ")
	var dropped int
	if _, after, ok := strings.Cut(g.text.String(), "("); ok {
		_, _ = fmt.Sscanf(after, "%d lines", &dropped)
	}
	if kept < maxLogLines || kept+dropped != lines {
		t.Errorf("%d lines written and %d said to be dropped, want %d together", kept, dropped, lines)
	}
}
