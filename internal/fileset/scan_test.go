package fileset_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// A scan that trusts seals, which takes many lines alike at a time, says the
// same as one that parses every line, place by place: streams and senders that
// take turns, damage and records ahead of the clock between them, over many
// blocks.
func TestScanLikeFullScan(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	sources := []*testrecord.Source{testrecord.New(1), testrecord.New(2), testrecord.New(3)}
	var data []byte
	lines := 0
	for len(data) < 24<<20 {
		src, system := sources[rng.IntN(len(sources))], []string{"orders", "billing"}[rng.IntN(2)]
		kind := papyra.Kinds()[rng.IntN(len(papyra.Kinds()))]
		for range 1 + rng.IntN(600) {
			line := src.Line(system, kind, "text")
			switch rng.IntN(3000) {
			case 0:
				line[rng.IntN(len(line))] ^= 1 << rng.IntN(8)
			case 1:
				line = line[:rng.IntN(len(line))]
			case 2:
				line = bytes.Repeat([]byte{"x\x00"[rng.IntN(2)]}, papyra.MaxLine-1+rng.IntN(2))
			}
			data = append(append(data, line...), '\n')
			lines++
		}
	}
	data = append(append(data, bytes.Repeat([]byte("x"), papyra.MaxStoredLine)...), '\n')
	lines++
	f := newFixture(t)
	f.write(data)
	// Half of the records are ahead of this clock, by more than is forgiven.
	o := papyra.ScanOptions{MaxListed: 1 << 30, Now: testrecord.Start.Add(time.Duration(lines/6)*time.Second - 24*time.Hour)}
	fast := f.scan(o)
	o.Full = true
	full := f.scan(o)
	if full.NoticeCounts[papyra.NoticeClockSkew] == 0 || full.AnomalyCounts[papyra.ClassChecksumMismatch] == 0 ||
		full.AnomalyCounts[papyra.ClassOversize] == 0 || len(full.Streams) != 2*len(papyra.Kinds()) {
		t.Fatalf("the file lacks what it is for: %v %v", full.AnomalyCounts, full.NoticeCounts)
	}
	full.Duplicates = fast.Duplicates // only a full scan looks for them
	if diff := cmp.Diff(full, fast); diff != "" {
		t.Errorf("(-full +fast):\n%s", diff)
	}
}
