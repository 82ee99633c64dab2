package account_test

import (
	"fmt"
	"github.com/papyra/papyra/internal/testkit"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// feeder adds records without lines to an account.
type feeder struct {
	a   *account.Account
	rec papyra.Record
}

func newFeeder(o account.Options) *feeder {
	return &feeder{account.New(o), papyra.Record{Sealed: true, Time: epoch.UnixMicro(), Node: []byte("n")}}
}

func (f *feeder) event(system, run string, seq uint64) {
	f.rec.Kind, f.rec.System, f.rec.Run, f.rec.Seq = papyra.KindEvent, []byte(system), []byte(run), seq
	f.a.Add(0, &f.rec)
}

func (f *feeder) report(system, run string, seq uint64, name, payload string) {
	rec := f.rec
	rec.Kind, rec.System, rec.Run, rec.Seq, rec.Type, rec.Payload = papyra.KindReport, []byte(system), []byte(run), seq, []byte(name), []byte(payload)
	f.a.Add(0, &rec)
}

func (f *feeder) result(t *testing.T) *account.Result {
	t.Helper()
	r, err := f.a.Result()
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, r)
	return r
}

func run16(n int) string { return fmt.Sprintf("%016d", n) }

// orders adds a run of which numbers are dropped, removed and missing.
func (f *feeder) orders() {
	f.event("orders", "a000000000000000", 1)
	f.event("orders", "a000000000000000", 10)
	f.report("orders", "a000000000000000", 1, papyra.ReportPublisher,
		`{"uptime":10,"categories":{"events":{"accepted":10,"confirmed":8,"dropped":{"queue_full":{"n":2,"ranges":[[2,3]]}}}}}`)
	f.report(papyra.SystemReserved, "r000000000000000", 1, papyra.ReportRemoval,
		`{"act":"compact","id":"x","categories":{"events":{"records":3,"runs":[{"run":"a000000000000000","ranges":[[4,6]]}]}}}`)
}

func assertOrders(t *testing.T, r *account.Result) {
	t.Helper()
	_, c := category(t, r, who{"orders", "n", "a000000000000000"}, papyra.KindEvent)
	if c.Stored != 2 || c.DroppedTotal() != 2 || c.RemovedTotal() != 3 || c.Missing != 3 {
		t.Errorf("got %+v of the other system, want 2 stored, 2 dropped, 3 removed, 3 missing", c)
	}
}

// What one system floods the store with costs a bounded amount of memory, and
// makes the account of that system incomplete, and of no other.
func TestFloodOfOneSystem(t *testing.T) {
	floods := map[string]func(f *feeder, i int){
		"runs":           func(f *feeder, i int) { f.event("evil", run16(i), 1) },
		"sparse numbers": func(f *feeder, i int) { f.event("evil", run16(0), uint64(i)*7919+1) },
		"sparse numbers of several runs": func(f *feeder, i int) {
			f.event("evil", run16(i%40), uint64(i)*104729+1)
		},
		"reports": func(f *feeder, i int) {
			f.report("evil", run16(0), uint64(i+1), papyra.ReportPublisher, fmt.Sprintf(
				`{"uptime":1e6,"categories":{"events":{"accepted":%d,"confirmed":%d,"dropped":{"queue_full":{"n":%d,"ranges":[[%d,%d]]}}}}}`,
				10*i+10, 9*i+9, i+1, 10*i+3, 10*i+3))
		},
		"reports of many runs": func(f *feeder, i int) {
			f.report("evil", run16(i), 1, papyra.ReportPublisher, `{"uptime":1,"categories":{"events":{"accepted":5,"confirmed":5},"audits":{"accepted":1,"confirmed":1}}}`)
		},
		"removed runs": func(f *feeder, i int) {
			if i%1000 != 0 {
				return
			}
			var runs []string
			for k := range 1000 {
				runs = append(runs, fmt.Sprintf(`{"system":"evil","run":"%s","ranges":[[1,1]]}`, run16(i+k)))
			}
			f.report(papyra.SystemReserved, "e000000000000000", uint64(i/500+1), papyra.ReportRemoval, fmt.Sprintf(
				`{"act":"compact","id":"%d","categories":{"events":{"records":1000,"runs":[%s]}}}`, i, strings.Join(runs, ",")))
			f.report(papyra.SystemReserved, "e000000000000000", uint64(i/500+2), papyra.ReportCompactionPerformed, fmt.Sprintf(`{"id":"%d","end":"done"}`, i))
		},
		"rejected runs": func(f *feeder, i int) {
			if i%1000 != 0 {
				return
			}
			var drops []string
			for k := range 1000 {
				drops = append(drops, fmt.Sprintf(`{"reason":"sink_rejected","system":"evil","category":"events","run":"%s","n":1,"ranges":[[1,1]]}`, run16(i+k)))
			}
			f.report(papyra.SystemReserved, "s000000000000000", uint64(i/1000+1), papyra.ReportSink, fmt.Sprintf(
				`{"state":"running","group":"g","dropped":[%s]}`, strings.Join(drops, ",")))
		},
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFeeder(account.Options{At: now, Memory: 2 << 20, Gaps: true})
			f.orders()
			for i := range 30_000 {
				flood(f, i)
			}
			r := f.result(t)
			assertOrders(t, r)
			if r.Verdict != account.Incomplete || r.TooLargeTotal != 1 || r.TooLarge[0] != "evil" {
				t.Errorf("got %s, too large %v, want evil", r.Verdict, r.TooLarge)
			}
			for _, run := range r.Runs {
				if run.System == "evil" {
					t.Fatalf("there is a row of the system that is too large: %+v", run)
				}
			}
			// One system has all the memory when nobody else is asked for.
			f = newFeeder(account.Options{At: now, Memory: 2 << 20, System: "orders", Gaps: true})
			for i := range 30_000 {
				flood(f, i)
			}
			f.orders()
			r = f.result(t)
			assertOrders(t, r)
			if r.Verdict != account.Missing || r.TooLargeTotal != 0 || len(r.Runs) != 1 || r.System != "orders" {
				t.Errorf("got %s, too large %v, %d rows", r.Verdict, r.TooLarge, len(r.Runs))
			}
		})
	}
}

// Of many systems those that hold most are left out first.
func TestFloodOfSystems(t *testing.T) {
	f := newFeeder(account.Options{At: now, Memory: 4 << 20})
	f.orders()
	for i := range 5_000 {
		for k := range 1 + i%3 {
			f.event(fmt.Sprintf("evil-%d", i), run16(k), 1)
		}
	}
	r := f.result(t)
	assertOrders(t, r)
	if r.Verdict != account.Incomplete || r.TooLargeTotal == 0 || len(r.TooLarge) != 1000 || r.TooLarge[0] == "orders" {
		t.Errorf("got %s, %d too large", r.Verdict, r.TooLargeTotal)
	}
}

// More systems than are told apart are named as a fact.
func TestMoreSystemsThanAreToldApart(t *testing.T) {
	if testkit.Race {
		t.Skip("slow, and nothing is concurrent")
	}
	t.Parallel()
	f := newFeeder(account.Options{At: now})
	f.orders()
	for i := range 1<<17 + 10 {
		f.event(fmt.Sprintf("s%d", i), "b000000000000000", 1)
	}
	r := f.result(t)
	assertOrders(t, r)
	if !r.TooManySystems || r.Verdict != account.Incomplete || r.TooLargeTotal != 0 {
		t.Errorf("got %v, %s, %d too large", r.TooManySystems, r.Verdict, r.TooLargeTotal)
	}
}

// A million runs, and the removals of as many, take the memory that was asked for
// at most.
func TestMemoryOfAMillionRuns(t *testing.T) {
	runs, limit := 100_000, int64(8<<20)
	if os.Getenv("PAPYRA_LONG") != "" {
		runs, limit = 1_000_000, account.DefaultMemory
	}
	before := int64(heap())
	f := newFeeder(account.Options{At: now, Memory: uint64(limit)})
	for i := range runs {
		f.event(fmt.Sprintf("evil-%d", i%3), run16(i), uint64(i))
		f.report(papyra.SystemReserved, "e000000000000000", uint64(i+1), papyra.ReportRemoval, fmt.Sprintf(
			`{"act":"compact","id":"%d","categories":{"events":{"records":1,"runs":[{"run":"%s","ranges":[[1,1]]}]}}}`, i, run16(i)))
		f.rec.Time++
	}
	used := int64(heap()) - before
	if used > 3*limit {
		t.Errorf("%d runs take %d MiB, want at most %d", runs, used>>20, 3*limit>>20)
	}
	r := f.result(t)
	if used := int64(heap()) - before; used > 4*limit {
		t.Errorf("with the result %d MiB, want at most %d", used>>20, 4*limit>>20)
	}
	t.Logf("%d rows in %d MiB, too large: %v", len(r.Runs), (int64(heap())-before)>>20, r.TooLarge)
	runtime.KeepAlive(f)
}

// What names wide ranges, or many numbers and many reports, is judged in a time
// that grows with what is read.
func TestTimeOfGaps(t *testing.T) {
	begin := time.Now()
	f := newFeeder(account.Options{At: now, Gaps: true})
	f.rec.Time = now.Add(-time.Hour).UnixMicro()
	f.report("wide", "w000000000000000", 1, papyra.ReportPublisher,
		`{"uptime":2000,"categories":{"events":{"accepted":100000000010,"confirmed":10,"dropped":{"queue_full":{"n":100000000000,"ranges":[[4,100000000003]]}}}}}`)
	const sparse = 20_000
	for i := range uint64(sparse) {
		f.event("sparse", "s000000000000000", 1+i<<18)
		f.report("sparse", "s000000000000000", i+1, papyra.ReportPublisher, fmt.Sprintf(
			`{"uptime":1e6,"categories":{"events":{"accepted":%d,"confirmed":%d,"buffered":1,"dropped":{"encode":{"n":%d}}}}}`, 1+i<<18, 1+i<<18-i-1-min(i, 1), i+min(i, 1)))
	}
	r := f.result(t)
	_, wide := category(t, r, who{"wide", "n", "w000000000000000"}, papyra.KindEvent)
	if wide.DroppedTotal() != 100_000_000_000 || wide.Missing != 10 {
		t.Errorf("got %+v, want 10^11 dropped and 10 missing", wide)
	}
	_, c := category(t, r, who{"sparse", "n", "s000000000000000"}, papyra.KindEvent)
	if len(r.Doubts) > 0 || c.Stored != sparse || c.DroppedTotal() != sparse {
		t.Errorf("doubts %v, got %+v", r.Doubts, c)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}
