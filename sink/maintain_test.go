package sink_test

import (
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// What is asked of a running sink's store is counted, whatever came of it.
func TestMaintainerCountsActs(t *testing.T) {
	clean := &papyra.ScanReport{}
	store := &fakeStore{scans: []*papyra.ScanReport{clean}, recover: func() error { return papyra.ErrIncomplete }}
	s, err := sink.New(sink.Config{}, store)
	if err != nil {
		t.Fatal(err)
	}
	m := s.Maintainer()
	for range 2 { // the second finds no store
		_, _ = m.Scan(t.Context(), papyra.ScanOptions{})
	}
	for _, dry := range []bool{true, false} {
		if _, err := m.Recover(t.Context(), papyra.RecoverOptions{DryRun: dry}); err == nil {
			t.Error("the error of the store's recovery is lost")
		}
		if _, err := m.Compact(t.Context(), papyra.CompactOptions{DryRun: dry}); err == nil {
			t.Error("the error of the store's compaction is lost")
		}
	}
	want := sink.ActStats{Scans: 1, Recoveries: 1, RecoveryErrors: 1, Compactions: 1, CompactionErrors: 1}
	if got := s.Stats().Acts; got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	store.scanErr = papyra.ErrIncomplete
	_, _ = m.Scan(t.Context(), papyra.ScanOptions{})
	if got := s.Stats().Acts; got.Scans != 2 || got.ScanErrors != 1 {
		t.Errorf("counted %+v, want the failed scan too", got)
	}
	store.scanErr = nil

	// Compactions that work count too, on a store that has some.
	memory := openStore(t, "memory:")
	if s, err = sink.New(sink.Config{}, memory); err != nil {
		t.Fatal(err)
	}
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1}}, At: time.Unix(1_700_000_000, 0)}
	if _, err := s.Maintainer().Compact(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Stats().Acts, (sink.ActStats{Compactions: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}
