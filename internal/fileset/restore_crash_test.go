package fileset_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/quarantine"
)

// Killed before any system call that changes files, a restore has put back some of what
// was moved away, each record once, and the quarantine is whole. The same call puts
// back the rest, and nothing twice.
func TestStraceKillRestore(t *testing.T) {
	t.Parallel()
	events := testrecord.New(1).Events(12)
	fresh := func() (*fixture, string) {
		f := fastFixture(t)
		var stored [][]byte
		for i := 1; i < len(events); i += 2 {
			stored = append(stored, events[i])
		}
		f.write(testrecord.Join(stored...))
		moved := append(append([][]byte{}, events...), []byte("junk"))
		must(t, os.WriteFile(filepath.Join(filepath.Dir(f.path), ".records.ndjson.tmp-0123456789abcdef"), testrecord.Join(moved...), 0o600))
		r := f.recover(papyra.RecoverOptions{Now: testrecord.Start})
		if r.Moved != 1 || !r.After.Clean() {
			t.Fatalf("recover: %+v", r)
		}
		return f, r.Act
	}
	count := func(f *fixture) map[string]int {
		out := map[string]int{}
		for _, line := range f.read(papyra.Query{Duplicates: true, Kinds: []papyra.Kind{papyra.KindEvent}}) {
			out[line]++
		}
		return out
	}
	want := map[string]int{}
	for _, line := range events {
		want[string(line)] = 1
	}
	f, _ := fresh()
	points := killPoints(t, "restore", f.path)
	partly, whole := 0, 0
	for _, p := range points {
		f, act := fresh()
		saved := completeActs(t, f)
		killAt(t, "restore", f.path, p)
		got := count(f)
		for line, n := range got {
			if n > 1 || want[line] == 0 {
				t.Errorf("%d times there: %s", n, line)
			}
		}
		if len(got) < len(events)/2 {
			t.Errorf("%d events are there", len(got))
		}
		if len(got) < len(events) {
			partly++
		} else {
			whole++
		}
		for range 2 {
			if _, err := quarantine.Restore(t.Context(), f.Store, quarantine.Options{Act: act, Now: testrecord.Start}); err != nil {
				t.Errorf("restore again: %v", err)
			}
			if diff := cmp.Diff(want, count(f)); diff != "" {
				t.Errorf("after the same call (-want +got):\n%s", diff)
			}
		}
		if diff := cmp.Diff(saved, completeActs(t, f)); diff != "" {
			t.Errorf("the quarantine (-before +after):\n%s", diff)
		}
		if r := f.scan(papyra.ScanOptions{Full: true}); !r.Clean() || r.Duplicates > 0 {
			t.Errorf("scan: %+v", r)
		}
		if c := countsOf(t, f.Store); c.Stored != 12 || c.Missing > 0 {
			t.Errorf("account: %+v", c)
		}
		if left := f.beside(); len(left) > 3 {
			t.Errorf("beside the store lies %v", left)
		}
		if t.Failed() {
			t.Fatalf("killed before %s %d", p.call, p.n)
		}
	}
	if partly == 0 || whole == 0 {
		t.Errorf("%d kills before the records were back, %d after", partly, whole)
	}
}
