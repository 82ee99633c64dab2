package spool

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testrecord"
)

// What was synced survives a power cut, whatever the disk does with the rest. A store
// that has synced and lost its power with the spool may get a segment again.
func TestRootPowerCut(t *testing.T) {
	for _, each := range []bool{false, true} {
		w := newWorld(t)
		mount := t.TempDir()
		power := faultdisk.NewPowerDisk(t, 32<<20, mount)
		w.dir = filepath.Join(mount, "spool")
		c := w.config()
		c.SyncEach = each
		s, src := w.openWith(c), testrecord.New(1)
		w.fail(errDown)
		lines := src.Events(100) // several segments
		give(t, s, lines...)
		if !each {
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			give(t, s, src.Events(10)...) // not synced
		}
		power.Cut()
		if err := s.Close(); err == nil {
			t.Log("the spool closed without an error on a disk without power")
		}
		power.Restore()
		w.fail(nil)
		s = w.openWith(c)
		awaitEmpty(t, s)
		got := w.stored()
		if len(got) < len(lines) {
			t.Fatalf("sync each %v: %d lines are stored, want the %d that were synced", each, len(got), len(lines))
		}
		wantLines(t, got[:len(lines)], lines)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// Everything was drained and synced: the removals need not be durable.
		power.Cut()
		power.Restore()
		s = w.openWith(c)
		awaitEmpty(t, s)
		given := map[string]bool{}
		for _, l := range got {
			given[l] = true
		}
		for _, l := range w.stored() {
			if !given[l] {
				t.Errorf("a line that was never given: %s", l)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(w.dir, controlName)); err != nil {
			t.Error(err)
		}
	}
}
