package account_test

import (
	"github.com/papyra/papyra/internal/testkit"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// fleet calls add with the records of a fleet as three workers of a group store
// them: messages of about 60 records go to one of them at random, in ten runs,
// and of each thousand messages one is lost. It returns what is lost.
func fleet(records int, add func(store int, rec *papyra.Record)) (lost uint64) {
	const perMessage, runs = 60, 10
	random := rand.New(rand.NewPCG(1, 2))
	var next [runs]uint64
	recs := make([]papyra.Record, runs)
	for i := range recs {
		p := named("orders", string(rune('a'+i)))
		recs[i] = papyra.Record{Kind: papyra.KindEvent, System: []byte(p.system), Node: []byte(p.node), Run: []byte(p.run), Sealed: true}
	}
	for done := 0; done < records; done += perMessage {
		i := random.IntN(runs)
		if random.IntN(1000) == 0 && next[i] > 0 {
			next[i] += perMessage
			lost += perMessage
			done -= perMessage
			continue
		}
		store := random.IntN(3)
		for range perMessage {
			next[i]++
			recs[i].Seq, recs[i].Time = next[i], epoch.UnixMicro()+int64(next[i])
			add(store, &recs[i])
		}
	}
	// The last numbers are known, so that every loss shows.
	for i := range recs {
		next[i]++
		recs[i].Seq = next[i]
		add(0, &recs[i])
	}
	return lost
}

// A hundred million numbers of three stores fit in a few megabytes, holes and
// all. What a number takes is the same for a tenth of them, which is what is
// tried without PAPYRA_LONG.
func TestMemory(t *testing.T) {
	const all, bound = 100_000_000, 64 << 20
	records := all / 10
	switch {
	case os.Getenv("PAPYRA_LONG") != "" && !testkit.Race:
		records = all
	case testkit.Race || testing.Short():
		records = all / 100
	}
	before := heap()
	a := account.New(account.Options{At: now, Stores: []string{"a", "b", "c"}})
	lost := fleet(records, a.Add)
	if _, _, err := a.Again(); err != nil {
		t.Fatal(err)
	}
	used := int64(heap()) - int64(before)
	r, err := a.Result()
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(records+59)/60*60 + 10; r.Total.Stored != want || r.Total.Missing != lost || r.Total.Duplicates != 0 {
		t.Errorf("got %d stored, %d missing, %d duplicates, want %d, %d, 0", r.Total.Stored, r.Total.Missing, r.Total.Duplicates, want, lost)
	}
	t.Logf("%d records in %d KiB: %.3f bytes each, %d MiB for %d", records, used>>10, float64(used)/float64(records), used*all/int64(records)>>20, all)
	if records >= all/10 && used > bound*int64(records)/all {
		t.Errorf("%d records take %d bytes, want at most %d", records, used, bound*int64(records)/all)
	}
	runtime.KeepAlive(a)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkAdd(b *testing.B) {
	a := account.New(account.Options{At: now})
	b.ReportAllocs()
	fleet(b.N, a.Add)
}

func BenchmarkResult(b *testing.B) {
	const records = 10_000_000
	for b.Loop() {
		b.StopTimer()
		a := account.New(account.Options{At: now, Gaps: true})
		fleet(records, a.Add)
		b.StartTimer()
		if _, err := a.Result(); err != nil {
			b.Fatal(err)
		}
	}
}
