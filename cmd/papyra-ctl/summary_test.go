package main

import (
	"fmt"
	"testing"

	"github.com/papyra/papyra"
)

// Runs beyond the bound are counted, and their streams with them.
func TestSummaryBoundsRuns(t *testing.T) {
	s := newSummarizer()
	for i := range maxRuns + 5 {
		rec := papyra.Record{
			Line: []byte("{}"), Kind: papyra.KindEvent, System: []byte("orders"), Time: 1,
			Sealed: true, Node: []byte("n"), Run: fmt.Appendf(nil, "%016d", i), Seq: 1,
		}
		s.add(&rec)
		s.add(&rec)
	}
	r := s.end()
	if len(r.Runs) != maxRuns || r.RunsOmitted != 10 || r.Records != 2*(maxRuns+5) {
		t.Errorf("got %d runs, %d omitted, %d records, want %d, 10, %d", len(r.Runs), r.RunsOmitted, r.Records, maxRuns, 2*(maxRuns+5))
	}
	if r.Runs[0].Records != 2 || r.Streams[0].Records != r.Records {
		t.Errorf("first run %+v, stream %+v", r.Runs[0], r.Streams[0])
	}
}
