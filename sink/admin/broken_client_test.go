package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/memory"
)

// However many credits somebody claims to give, the job goes on with those that there
// may be.
func TestCreditsBeyondAnyNumber(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{fakeWorker: fakeWorker{m.Open()}}
		plantEvents(m, 20_000)
		s, stop := serveWorker(t, w)
		defer stop()
		x := talkTo(t, s, &request{Verb: VerbInspect, Job: "job1"})
		defer x.close()
		hear(t, x, frameAccepted)
		for _, n := range []int{math.MaxInt, math.MaxInt, -1, math.MinInt, 1} {
			if err := x.send(&request{Op: opMore, Job: "job1", Credits: n}); err != nil {
				t.Fatal(err)
			}
		}
		hear(t, x, frameResult)
	})
}

// Whoever holds all reads holds up neither questions about the sink nor the end of a job.
func TestReadsHoldUpNoQuestions(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		s := serveReads(t, m)
		through := storeOf(t, s)
		if list, err := through.Jobs(t.Context()); err != nil || len(list) <= maxReads {
			t.Errorf("%d jobs, %v; want those that read and the first question", len(list), err)
		}
		if _, err := through.Compact(t.Context(), papyra.CompactOptions{Dedupe: true, DryRun: true}); !errors.Is(err, papyra.ErrUnavailable) {
			t.Errorf("a dry run: %v, want ErrUnavailable", err)
		}
		if st, err := through.Cancel(t.Context(), "job3"); err != nil || st.State != jobCancelled {
			t.Errorf("to end a read: %+v, %v", st, err)
		}
		if _, err := through.Scan(t.Context(), papyra.ScanOptions{}); err != nil {
			t.Errorf("after that there is room for one: %v", err)
		}
	})
}

// A report and an error that go together need no frame larger than there may be.
func TestLargeReportBesideAnError(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{}
		long := strings.Repeat("e", 2*maxText)
		report := &papyra.CompactReport{Mistake: strings.Repeat("x", maxFrame-headRoom-300)}
		w.store = &actStore{m.Open(), func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
			return report, &papyra.StoreError{Op: "write", Path: long, Offset: -1, Hint: long, Err: errors.New(long)}
		}}
		s, stop := serveWorker(t, w)
		defer stop()
		x, err := (&directDoor{s, maxFrame}).open(t.Context(), VerbCompact)
		if err != nil {
			t.Fatal(err)
		}
		defer x.close()
		direct, _ := x.(*directExchange)
		var largest atomic.Int64
		direct.from.send = func(raw []byte) {
			largest.Store(max(largest.Load(), int64(len(raw))))
			direct.deliver(raw)
		}
		if err := x.send(&request{Op: opStart, Verb: VerbCompact, Job: "job1", Args: json.RawMessage(compactArguments)}); err != nil {
			t.Fatal(err)
		}
		hear(t, x, frameError)
		if n := largest.Load(); n > maxFrame {
			t.Errorf("a frame of %d bytes", n)
		}
		got, err := storeOf(t, s).Compact(t.Context(), papyra.CompactOptions{Dedupe: true})
		var placed *papyra.StoreError
		if got == nil || got.Mistake != report.Mistake || !errors.As(err, &placed) {
			t.Errorf("got a report: %v, and %v", got != nil, err)
		}
	})
}

// scanStore notes how its scans are asked for.
type scanStore struct {
	papyra.Store
	listed []int
}

func (s *scanStore) Scan(_ context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	s.listed = append(s.listed, o.MaxListed)
	counts := map[papyra.Class]int64{papyra.ClassCorrupted: 1}
	if o.Full {
		counts[papyra.ClassDuplicateKey] = 1
	}
	return &papyra.ScanReport{AnomalyCounts: counts}, nil
}

// Nobody makes a sink list damage without bound.
func TestScanListsWithinABound(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		store := &scanStore{Store: m.Open()}
		s, stop := serveWorker(t, &notingWorker{fakeWorker: fakeWorker{store}})
		defer stop()
		for _, n := range []int{0, 2, math.MaxInt} {
			if _, err := storeOf(t, s).Scan(t.Context(), papyra.ScanOptions{MaxListed: n}); err != nil {
				t.Fatal(err)
			}
		}
		if want := fmt.Sprint([]int{0, 2, maxListed}); fmt.Sprint(store.listed) != want {
			t.Errorf("the store was asked for %v, want %s", store.listed, want)
		}
	})
}

// A result that nobody takes does not hold up the end of a sink.
func TestStopWithAResultThatNobodyTakes(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{}
		w.store = &actStore{m.Open(), func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
			return &papyra.CompactReport{Mistake: strings.Repeat("x", (firstCredits+2)*maxFrame)}, nil
		}}
		s, stop := serveWorker(t, w)
		x := talkTo(t, s, &request{Verb: VerbCompact, Job: "job1", Args: json.RawMessage(compactArguments)})
		defer x.close()
		for range firstCredits {
			hear(t, x, framePart)
		}
		time.Sleep(heartbeat)
		began := time.Now()
		stop()
		if took := time.Since(began); took > heartbeat {
			t.Errorf("the sink ended after %v", took)
		}
	})
}

// Whoever only looks cannot make a store grow: damage is written down once for each way
// to look.
func TestDamageIsWrittenDownOnce(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		store := &scanStore{Store: m.Open()}
		s, stop := serveWorker(t, &notingWorker{fakeWorker: fakeWorker{store}})
		defer stop()
		for range 4 {
			for _, full := range []bool{false, true} {
				if _, err := storeOf(t, s).Scan(t.Context(), papyra.ScanOptions{Full: full}); err != nil {
					t.Fatal(err)
				}
			}
		}
		n := 0
		if _, err := store.Read(t.Context(), papyra.Query{Types: []string{papyra.ReportCorruptionDetected}}, func(*papyra.Record, papyra.Place) error { n++; return nil }); err != nil || n != 2 {
			t.Errorf("written down %d times, %v; want once for each way", n, err)
		}
	})
}
