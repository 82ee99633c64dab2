package admin

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/memory"
)

// However many credits somebody claims to give, the job goes on with those that there
// may be.
func TestCreditsBeyondAnyNumber(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{fakeWorker: fakeWorker{m.Open()}}
		for _, line := range testrecord.New(1).Events(20_000) {
			m.Plant(line)
		}
		s, stop := serveWorker(w)
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
		w := &notingWorker{fakeWorker: fakeWorker{m.Open()}}
		for _, line := range testrecord.New(1).Events(20_000) {
			m.Plant(line)
		}
		s, stop := serveWorker(w)
		defer stop()
		for i := range maxReads {
			x := talkTo(t, s, &request{Verb: VerbInspect, Job: fmt.Sprint("job", i)})
			defer x.close()
			hear(t, x, frameAccepted)
		}
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
