package maintain

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// removal adds numbers of one run in the given order.
func removal(r *Removal, run string, seqs []uint64) {
	for _, n := range seqs {
		r.Add(&papyra.Record{Line: []byte("12345"), Kind: papyra.KindEvent, System: []byte("a"), Node: []byte("n"), Run: []byte(run), Seq: n})
	}
}

// reports parses what the removal would write.
func reports(t *testing.T, r *Removal) []papyra.RemovalReport {
	t.Helper()
	lines, err := r.Reports(New(papyra.ActCompact, testrecord.Start), testrecord.Start)
	if err != nil {
		t.Fatal(err)
	}
	var out []papyra.RemovalReport
	for _, line := range lines {
		if len(line) > papyra.MaxPublishedLine {
			t.Errorf("a report of %d bytes", len(line))
		}
		rec, err := papyra.Parse(line[:len(line)-1])
		if err != nil || !rec.Sealed || string(rec.System) != papyra.SystemReserved {
			t.Fatalf("%v: %.200s", err, line)
		}
		var p papyra.RemovalReport
		if err := json.Unmarshal(rec.Payload, &p); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestRemovalRanges(t *testing.T) {
	all := make([]uint64, 500)
	for i := range all {
		all[i] = uint64(i) + 1
	}
	falling := slices.Clone(all)
	slices.Reverse(falling)
	shuffled := slices.Clone(all)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for name, seqs := range map[string][]uint64{"rising": all, "falling": falling, "shuffled": shuffled, "twice": append(falling, all...)} {
		var r Removal
		removal(&r, "0123456789abcdef", seqs)
		got := reports(t, &r)
		want := []papyra.Range{{1, 500}}
		c := got[0].Categories["events"]
		if len(got) != 1 || c.Records != int64(len(seqs)) || c.Bytes != 6*int64(len(seqs)) || len(c.Runs) != 1 {
			t.Fatalf("%s: %+v", name, got)
		}
		if diff := cmp.Diff(want, c.Runs[0].Ranges); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// More than 4,096 ranges of a run become one number; exactly so many do not.
func TestRemovalBelow(t *testing.T) {
	for _, ranges := range []int{4096, 4097} {
		var r Removal
		var seqs []uint64
		for i := range ranges {
			seqs = append(seqs, 2*uint64(i)+1<<60)
		}
		removal(&r, "0123456789abcdef", seqs)
		run := reports(t, &r)[0].Categories["events"].Runs[0]
		if ranges == 4096 && (len(run.Ranges) != 4096 || run.Below != 0) ||
			ranges == 4097 && (run.Ranges != nil || run.Below != seqs[4096]+1 || run.N != 4097) {
			t.Errorf("%d ranges: got %d and below %d of %d", ranges, len(run.Ranges), run.Below, run.N)
		}
	}
}

// A large removal becomes several reports that add up.
func TestRemovalInSeveralReports(t *testing.T) {
	var r Removal
	for run := range 20 {
		var seqs []uint64
		for i := range 1000 {
			seqs = append(seqs, 3*uint64(i)+1<<62)
		}
		removal(&r, fmt.Sprintf("%016d", run), seqs)
	}
	got := reports(t, &r)
	if len(got) < 2 {
		t.Fatalf("%d reports, want several", len(got))
	}
	records, ranges := int64(0), 0
	for _, p := range got {
		if p.ID != got[0].ID || p.Act != papyra.ActCompact {
			t.Errorf("report %+v belongs to another act", p)
		}
		for _, c := range p.Categories {
			records += c.Records
			for _, run := range c.Runs {
				ranges += len(run.Ranges)
			}
		}
	}
	if records != 20_000 || ranges != 20_000 {
		t.Errorf("%d records in %d ranges, want 20,000 in 20,000", records, ranges)
	}
}

// Reports whose counts differ, each by little, never look alike: the last of
// the old ones and the first of the new ones stay.
func TestSurveyTellsCountsApart(t *testing.T) {
	seen := map[any]string{}
	for n := range 4096 {
		payload := fmt.Sprintf(`{"categories":{"events":{"dropped":{"encode":{"n":%d},"queue_full":{"n":%d}}},"dead_letters":{"dropped":{"encode":{"n":%d},"queue_full":{"n":%d}}}},"lost_messages":%d,"disconnects":%d}`,
			n&3, n>>2&3, n>>4&3, n>>6&3, n>>8&3, n>>10&3)
		var c troubles
		if err := json.Unmarshal([]byte(payload), &c); err != nil {
			t.Fatal(err)
		}
		if other, found := seen[c.fingerprint()]; found {
			t.Fatalf("alike:\n%s\n%s", other, payload)
		}
		seen[c.fingerprint()] = payload
	}
}

// Version 0.1 did not name systems. A rotation that it began, and that this version
// finishes, makes as many reports, with the same runs in each; and the longest system
// ids fit.
func TestReportsAreCutAsVersion01CutThem(t *testing.T) {
	cut := func(system string) (firsts []string) {
		var whole papyra.RemovalReport
		c := papyra.RemovedCategory{Records: 5000}
		for i := range 5000 {
			c.Runs = append(c.Runs, papyra.RemovedRun{System: system, Node: strings.Repeat("n", 64), Run: fmt.Sprintf("%016d", i), Ranges: []papyra.Range{{1, 1 << 60}, {1 << 61, 1 << 62}}[:i%3]})
		}
		whole.Categories = map[string]papyra.RemovedCategory{"events": c}
		lines, err := splitReport(New(papyra.ActRotate, testrecord.Start), &whole, testrecord.Start)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if len(line) > papyra.MaxPublishedLine {
				t.Errorf("a report of %d bytes", len(line))
			}
			_, run, _ := strings.Cut(string(line), `"run":"`)
			firsts = append(firsts, run[:16])
		}
		return firsts
	}
	if diff := cmp.Diff(cut(""), cut(strings.Repeat(`"`, 64))); diff != "" {
		t.Errorf("other cuts with a system (-without +with):\n%s", diff)
	}
}
