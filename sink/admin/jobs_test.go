package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/memory"
)

// actStore is a store whose compaction and reading are the test's.
type actStore struct {
	papyra.Store
	compact func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error)
}

func (s *actStore) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	return s.compact(ctx, o)
}

// notingWorker is a sink that notes what it announces, and stores it.
type notingWorker struct {
	fakeWorker
	mu    sync.Mutex
	notes []papyra.ActRequested
}

func (w *notingWorker) Announce(ctx context.Context, r *papyra.Report) error {
	line, err := papyra.SealedReport(papyra.NewIdentity("i"), papyra.SystemReserved, 1, r, time.Now())
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if request, ok := r.Payload.(papyra.ActRequested); ok {
		w.notes = append(w.notes, request)
	}
	a, err := w.store.Appender(ctx)
	if err != nil {
		return err
	}
	var b papyra.Batch
	b.Append(b.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}), line[:len(line)-1])
	_, err = a.Append(ctx, &b)
	return errors.Join(err, a.Close())
}

func (w *notingWorker) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.notes)
}

// serveWorker runs a server until the returned function is called.
func serveWorker(t *testing.T, w *notingWorker) (s *Server, end func()) {
	t.Helper()
	s = NewServer(w.store, Config{NoSocket: true})
	return s, serveAs(t, s, w)
}

// bubble runs a test on a clock that jumps.
func bubble(t *testing.T, do func(t *testing.T, m *memory.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { do(t, memory.New(nil)) })
}

// plantEvents puts so many events into a store.
func plantEvents(m *memory.Memory, n int) {
	for _, line := range testrecord.New(1).Events(n) {
		m.Plant(line)
	}
}

// serveReads runs a server until the test ends, with as many reads, job0 and so on, as
// run at a time.
func serveReads(t *testing.T, m *memory.Memory) *Server {
	t.Helper()
	plantEvents(m, 20_000)
	s, stop := serveWorker(t, &notingWorker{fakeWorker: fakeWorker{m.Open()}})
	t.Cleanup(stop)
	for i := range maxReads {
		x := talkTo(t, s, &request{Verb: VerbInspect, Job: fmt.Sprint("job", i)})
		t.Cleanup(x.close)
		hear(t, x, frameAccepted)
	}
	return s
}

func storeOf(t *testing.T, s *Server) *Store {
	t.Helper()
	through, err := openThrough(t.Context(), &directDoor{s, maxFrame}, VerbInspect, "tester", "", true)
	if err != nil {
		t.Fatal(err)
	}
	return through
}

// talkTo begins an exchange of the test's own and returns what was asked and heard.
func talkTo(t *testing.T, s *Server, q *request) *directExchange {
	t.Helper()
	x, err := (&directDoor{s, maxFrame}).open(t.Context(), q.Verb)
	if err != nil {
		t.Fatal(err)
	}
	q.Op = opStart
	if err := x.send(q); err != nil {
		t.Fatal(err)
	}
	direct, _ := x.(*directExchange)
	return direct
}

// last reports whether nothing comes behind the frame.
func (f *frame) last() bool { return f.Kind == frameResult || f.Kind == frameError }

// hear returns the next frame of a kind.
func hear(t *testing.T, x exchange, kind string) *frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		f, err := x.receive(ctx)
		if err != nil {
			t.Fatalf("wait for %s: %v", kind, err)
		}
		if f.Kind == kind {
			return f
		}
		if f.last() {
			t.Fatalf("the last frame is %+v, want %s", f, kind)
		}
	}
}

const compactArguments = `{"dedupe":true}`

// An act goes on to its end though nobody is there any more, shows signs of life, and is
// told of later.
func TestActOutlivesWhoAsked(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{}
		end := make(chan struct{})
		w.store = &actStore{m.Open(), func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
			if w.count() != 1 {
				t.Errorf("the act begins with %d notes, want 1", w.count())
			}
			<-end
			return &papyra.CompactReport{RecordsBefore: 7}, nil
		}}
		s, stop := serveWorker(t, w)
		defer stop()
		x := talkTo(t, s, &request{Verb: VerbCompact, Job: "job1", Args: json.RawMessage(compactArguments), By: "me"})
		first := hear(t, x, frameAccepted)
		if first.N != 1 {
			t.Errorf("the first frame has number %d", first.N)
		}
		began := time.Now()
		for n := uint64(2); n < 5; n++ {
			if f := hear(t, x, frameProgress); f.N != n {
				t.Errorf("frame %d has number %d", n, f.N)
			}
		}
		if took := time.Since(began); took > 3*heartbeat {
			t.Errorf("three signs of life took %v", took)
		}
		x.close()
		time.Sleep(4 * patience)
		through := storeOf(t, s)
		if st, err := through.Result(t.Context(), "job1"); err != nil || st.State != jobRunning || st.By != "me" {
			t.Errorf("the job is %+v, %v; want it to run", st, err)
		}
		close(end)
		synctest.Wait()
		st, err := through.Result(t.Context(), "job1")
		if err != nil || st.State != jobDone || !strings.Contains(string(st.Result), `"records_before":7`) {
			t.Errorf("the job is %+v, %v; want it done with its result", st, err)
		}
		if _, err := through.Result(t.Context(), "none"); !errors.Is(err, papyra.ErrNotFound) {
			t.Errorf("an unknown job: %v, want ErrNotFound", err)
		}
		if jobs, err := through.Jobs(t.Context()); err != nil || len(jobs) < 2 || jobs[0].Job != "job1" {
			t.Errorf("the jobs are %+v, %v", jobs, err)
		}
		r := w.notes[0]
		if r.Job != "job1" || r.Verb != VerbCompact || string(r.Arguments) != compactArguments || r.By != "me" {
			t.Errorf("written down is %+v", r)
		}
	})
}

// Whoever interrupts an act hears of its end, and by then its step has ended.
func TestInterruptedAct(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{}
		stepped := false
		w.store = &actStore{m.Open(), func(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
			<-ctx.Done()
			time.Sleep(5 * time.Second)
			stepped = true
			return nil, fmt.Errorf("withdrawn: %w", context.Cause(ctx))
		}}
		s, stop := serveWorker(t, w)
		defer stop()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("interrupted")
		time.AfterFunc(2*time.Second, func() { cancel(why) })
		_, err := storeOf(t, s).Compact(ctx, papyra.CompactOptions{Dedupe: true, At: time.Now()})
		if !errors.Is(err, why) || !stepped {
			t.Errorf("got %v with the step ended: %v; want the cause, behind the step", err, stepped)
		}
		// Somebody else ends an act.
		x := talkTo(t, s, &request{Verb: VerbCompact, Job: "job2", Args: json.RawMessage(compactArguments)})
		hear(t, x, frameAccepted)
		st, err := storeOf(t, s).Cancel(t.Context(), "job2")
		if err != nil || st.State != jobCancelled || !strings.Contains(st.Error, "cancelled by tester") {
			t.Errorf("cancelled: %+v, %v", st, err)
		}
		if f := hear(t, x, frameError); f.Error == nil {
			t.Error("who asked does not hear why it ended")
		}
		x.close()
	})
}

// A repeated job never runs again, also not in another process of the sink.
func TestRepeatedJob(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{}
		runs, end := 0, make(chan struct{})
		w.store = &actStore{m.Open(), func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
			runs++
			<-end
			return &papyra.CompactReport{RecordsBefore: 3}, nil
		}}
		s, stop := serveWorker(t, w)
		ask := func(s *Server) *directExchange {
			return talkTo(t, s, &request{Verb: VerbCompact, Job: "job1", Args: json.RawMessage(compactArguments)})
		}
		x, y := ask(s), ask(s)
		hear(t, y, frameAccepted)
		other := talkTo(t, s, &request{Verb: VerbCompact, Job: "job2", Args: json.RawMessage(compactArguments)})
		if f := hear(t, other, frameError); !errors.Is(f.Error.err(), papyra.ErrBusy) {
			t.Errorf("a second act: %v, want ErrBusy", f.Error.err())
		}
		close(end)
		if f := hear(t, y, frameResult); !strings.Contains(string(f.body), `"records_before":3`) {
			t.Errorf("the result is %s", f.body)
		}
		z := ask(s)
		if f := hear(t, z, frameResult); !strings.Contains(string(f.body), `"records_before":3`) {
			t.Errorf("asked for once more it is %s", f.body)
		}
		if wrong := talkTo(t, s, &request{Verb: VerbScan, Job: "job1"}); !errors.Is(hear(t, wrong, frameError).Error.err(), papyra.ErrUsage) {
			t.Error("the job of another verb is no error")
		} else {
			wrong.close()
		}
		stop()
		again, stopAgain := serveWorker(t, w)
		defer stopAgain()
		last := ask(again)
		if f := hear(t, last, frameError); !errors.Is(f.Error.err(), ErrGone) {
			t.Errorf("after a restart: %v, want ErrGone", f.Error.err())
		}
		if st, err := storeOf(t, again).Result(t.Context(), "job1"); err != nil || st.State != jobFailed && st.State != jobGone {
			t.Errorf("after a restart the job is %+v, %v", st, err)
		}
		if runs != 1 || w.count() != 1 {
			t.Errorf("it ran %d times with %d notes, want once", runs, w.count())
		}
		for _, x := range []*directExchange{x, y, z, other, last} {
			x.close()
		}
	})
}

// A read ends when nobody shows a sign of life, and holds nothing up until then.
func TestReadWithoutSignsOfLife(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{fakeWorker: fakeWorker{m.Open()}}
		plantEvents(m, 20_000)
		s, stop := serveWorker(t, w)
		defer stop()
		x := talkTo(t, s, &request{Verb: VerbInspect, Job: "job1"})
		defer x.close()
		hear(t, x, frameAccepted)
		time.Sleep(patience - 2*time.Second)
		if j := s.findJob("job1"); j.hasEnded() || j.parts != firstCredits {
			t.Errorf("after %v it has ended: %v, with %d parts; want it to wait after %d", patience-2*time.Second, j.hasEnded(), j.parts, firstCredits)
		}
		time.Sleep(4 * time.Second)
		if j := s.findJob("job1"); !j.hasEnded() || j.state != jobCancelled {
			t.Errorf("after %v it has ended: %v", patience+2*time.Second, j.hasEnded())
		}
		// With signs of life it goes on, however slow the reader is.
		n := 0
		_, err := storeOf(t, s).Read(t.Context(), papyra.Query{}, func(*papyra.Record, papyra.Place) error {
			if n++; n%5000 == 0 {
				time.Sleep(2 * patience)
			}
			return nil
		})
		if err != nil || n != 20_000 {
			t.Errorf("a slow reader got %d records: %v", n, err)
		}
	})
}

// Without an answer to its plan an act does nothing; with a no too.
func TestPlanWithoutAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		w := &notingWorker{}
		w.store = &actStore{m.Open(), func(_ context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
			if err := o.Approve(&papyra.CompactReport{Mistake: strings.Repeat("x", 3*maxFrame)}); err != nil {
				return nil, err
			}
			return &papyra.CompactReport{}, nil
		}}
		s, stop := serveWorker(t, w)
		defer stop()
		args := json.RawMessage(`{"dedupe":true,"ask":true}`)
		x := talkTo(t, s, &request{Verb: VerbCompact, Job: "job1", Args: args})
		began := time.Now()
		var last *frame
		for last == nil || !last.last() {
			f, err := x.receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last = f
		}
		if err := last.Error.err(); !errors.Is(err, errNotApproved) || time.Since(began) > patience+heartbeat {
			t.Errorf("after %v: %v, want that nobody approved", time.Since(began), err)
		}
		x.close()
		through := storeOf(t, s)
		no := errors.New("no")
		for _, answer := range []error{no, nil} {
			doubt := 0
			_, err := through.Compact(t.Context(), papyra.CompactOptions{Dedupe: true, Approve: func(plan *papyra.CompactReport) error {
				doubt = len(plan.Mistake)
				return answer
			}})
			if !errors.Is(err, answer) || doubt != 3*maxFrame {
				t.Errorf("answered %v: got %v after a plan of %d bytes", answer, err, doubt)
			}
		}
	})
}

// lossyDoor loses the frame of a number, of the first job of a verb.
type lossyDoor struct {
	directDoor
	verb string
	lose uint64
}

func (d *lossyDoor) open(ctx context.Context, verb string) (exchange, error) {
	x, err := d.directDoor.open(ctx, verb)
	direct, _ := x.(*directExchange)
	deliver := direct.from.send
	direct.from.send = func(raw []byte) {
		if f, err := decodeFrame(raw); err == nil && verb == d.verb && f.N == d.lose {
			d.lose = 0
			return
		}
		deliver(raw)
	}
	return direct, err
}

// A lost answer never becomes a result that lacks something: a read fails, and an act is
// asked for again without running again.
func TestLostAnswers(t *testing.T) {
	for n := uint64(1); n <= 12; n++ {
		verb, lose := VerbCompact, n
		if n > 10 {
			verb, lose = VerbHealth, n-10 // who asks for an act asks first who is there
		}
		t.Run(fmt.Sprint("frame ", lose, " of ", verb), func(t *testing.T) {
			bubble(t, func(t *testing.T, m *memory.Memory) {
				w := &notingWorker{}
				runs := 0
				w.store = &actStore{m.Open(), func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
					runs++
					return &papyra.CompactReport{RecordsBefore: 5}, nil
				}}
				plantEvents(m, 6000)
				s, stop := serveWorker(t, w)
				defer stop()
				through := storeOf(t, s)
				through.door = &lossyDoor{directDoor{s, maxFrame}, VerbInspect, lose}
				n := 0
				_, err := through.Read(t.Context(), papyra.Query{}, func(*papyra.Record, papyra.Place) error { n++; return nil })
				if n != 6000 && !errors.Is(err, papyra.ErrIncomplete) {
					t.Errorf("%d records and %v, want 6000 or ErrIncomplete", n, err)
				}
				through.door = &lossyDoor{directDoor{s, maxFrame}, verb, lose}
				r, err := through.Compact(t.Context(), papyra.CompactOptions{Dedupe: true})
				if lose == 1 && verb == VerbCompact {
					return // nobody knows whether it was accepted
				}
				if err != nil || r.RecordsBefore != 5 || runs != 1 {
					t.Errorf("the act: %+v, %v after %d runs, want its result of one run", r, err, runs)
				}
			})
		})
	}
}

// Only so many reads run at a time.
func TestManyReads(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		s := serveReads(t, m)
		x := talkTo(t, s, &request{Verb: VerbInspect, Job: "more"})
		defer x.close()
		if err := hear(t, x, frameError).Error.err(); !errors.Is(err, papyra.ErrUnavailable) {
			t.Errorf("one more: %v, want ErrUnavailable", err)
		}
	})
}
