package chaos

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

// TestABrokenBalanceIsFound changes what lies in a store, or what the test
// knows, by a single record after a run in peace: the books must not agree.
func TestABrokenBalanceIsFound(t *testing.T) {
	p := &plan{
		length: 300 * time.Millisecond, flushing: time.Second, sinks: true,
		groups:  []groupPlan{{name: "archive", workers: []workerPlan{{name: "w0", store: storeJSON}}}},
		workers: [][][]fault{{nil}},
		slots:   []slotPlan{{system: "orders", events: 64 << 10, reports: 1 << 20, every: 50 * time.Millisecond}},
	}
	w := live(t, p, newTally())
	if problems, _ := w.audit(0); len(problems) > 0 {
		t.Fatalf("a run in peace: %q", problems)
	}
	path := filepath.Join(w.workers[0][0].dir, "records.ndjson")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	at := slices.IndexFunc(lines, func(l []byte) bool { return bytes.HasPrefix(l, []byte(`{"kind":"event"`)) })
	last := slices.IndexFunc(lines, func(l []byte) bool { return bytes.Contains(l, []byte(`"payload":{"final":true`)) })
	if at < 0 || last < 0 {
		t.Fatal("the file has no event or no final report")
	}
	s := w.slots[0].now
	file := func(lines ...[]byte) func(t *testing.T) {
		return func(t *testing.T) {
			if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	flipped := bytes.Clone(lines[at])
	flipped[len(flipped)/2] ^= 1
	for name, sabotage := range map[string]func(t *testing.T){
		"a record vanishes":    file(slices.Concat(lines[:at], lines[at+1:])...),
		"a bit is flipped":     file(slices.Concat(lines[:at], [][]byte{flipped}, lines[at+1:])...),
		"one more was dropped": func(*testing.T) { s.stats.Events.DroppedQueueFull++ },
		"one more was taken":   func(*testing.T) { s.stats.Events.Accepted++; s.stats.Events.Confirmed++ },
		"one less was confirmed": func(*testing.T) {
			s.stats.DeadLetters.Accepted--
			s.stats.DeadLetters.Confirmed--
			s.calls[papyra.KindDeadLetter].Add(^uint64(0))
		},
		"a record that could not be written is stored": func(t *testing.T) {
			rec, err := papyra.Parse(bytes.TrimSuffix(lines[at], []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			s.bad[papyra.KindEvent][rec.Seq] = true
			t.Cleanup(func() { delete(s.bad[papyra.KindEvent], rec.Seq) })
		},
		"the final report vanishes": file(slices.Concat(lines[:last], lines[last+1:])...),
	} {
		t.Run(name, func(t *testing.T) {
			stats, calls := s.stats, s.calls[papyra.KindDeadLetter].Load()
			defer func() {
				s.stats = stats
				s.calls[papyra.KindDeadLetter].Store(calls)
				file(good)(t)
			}()
			sabotage(t)
			if problems, _ := w.audit(0); len(problems) == 0 {
				t.Error("the books agree")
			}
		})
	}
	if problems, _ := w.audit(0); len(problems) > 0 {
		t.Errorf("after everything was put back: %q", problems)
	}
}
