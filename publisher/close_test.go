package publisher

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"go.uber.org/goleak"
)

func TestCloseSendsEverythingAndSaysSo(t *testing.T) {
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	running := goleak.IgnoreCurrent()
	p := connect(t, s.ClientURL(), Config{})
	const n = 20_000
	for range n {
		p.Started(someActor)
	}
	closeWithin(t, p, 20*time.Second)
	goleak.VerifyNone(t, running)
	got := p.Stats()
	balanced(t, got)
	if got.Events.Confirmed != n || got.Events.BufferBytes != 0 || got.Reports.Confirmed != got.Reports.Accepted {
		t.Errorf("got %+v and %+v, want all confirmed and no memory held", got.Events, got.Reports)
	}
	await(t, "the final report arrives", func() bool {
		reports := r.allReports()
		return len(reports) > 0 && reports[len(reports)-1].Final
	})
	final := r.allReports()[len(r.allReports())-1].Categories["events"]
	if final.Accepted != n || final.Confirmed != n || final.Buffered != 0 || final.Unconfirmed != 0 || final.Dropped != nil {
		t.Errorf("got final report %+v, want %d accepted and confirmed", final, n)
	}
	if missing := r.missing(papyra.KindEvent, n); len(missing) > 0 {
		t.Errorf("%d records did not arrive, the first is %d", len(missing), missing[0])
	}
}

func TestRecordsAfterCloseAreRefused(t *testing.T) {
	s := embeddedFor(t)
	newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{})
	p.Started(someActor)
	closeWithin(t, p, 10*time.Second)
	before := p.Stats()
	p.Started(someActor)
	p.Crashed(someActor, panickingError{})
	p.DeadLetter(papyra.DeadLetter{})
	p.Audit(papyra.Audit{})
	after := p.Stats()
	before.Events.Refused, before.DeadLetters.Refused, before.Audits.Refused = 2, 1, 1
	if after != before {
		t.Errorf("got %+v\nwant %+v", after, before)
	}
}

func TestCloseWhileOthersRecord(t *testing.T) {
	s := embeddedFor(t)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{})
	var calls [8]uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range calls {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					p.Started(someActor)
					calls[g]++
				}
			}
		})
	}
	await(t, "records flow", func() bool { return p.Stats().Events.Confirmed > 10_000 })
	closed := make(chan error, 4)
	for range cap(closed) { // also at once and more than once
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			closed <- p.Close(ctx)
		}()
	}
	for range cap(closed) {
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	await(t, "calls are refused", func() bool { return p.Stats().Events.Refused > 0 })
	close(stop)
	wg.Wait()
	total := uint64(0)
	for _, n := range calls {
		total += n
	}
	got := p.Stats()
	balanced(t, got)
	if got.Events.Accepted+got.Events.Refused != total {
		t.Errorf("got %d accepted and %d refused, want %d calls", got.Events.Accepted, got.Events.Refused, total)
	}
	await(t, "what is confirmed arrives", func() bool {
		return uint64(r.got(papyra.KindEvent)) == got.Events.Confirmed
	})
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("a later Close: %v", err)
	}
}

// What was never handed over is dropped as closed at the deadline.
func TestCloseWithoutBrokerKeepsItsDeadline(t *testing.T) {
	p := connect(t, "nats://127.0.0.1:1", Config{})
	for i := range 1000 {
		p.Started(someActor)
		if i == 500 {
			p.Event(unkeepable)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := p.Close(ctx)
	took := time.Since(begin)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1001 records left behind") {
		t.Errorf("got error %v, want one that names 1000 records and a report, and wraps DeadlineExceeded", err)
	}
	if took < 200*time.Millisecond || took > 2*time.Second {
		t.Errorf("Close took %v, want about its deadline of 300ms", took)
	}
	got := p.Stats()
	balanced(t, got)
	if got.Events.DroppedClosed != 1000 || got.Events.DroppedEncode != 1 || got.Events.Unconfirmed != 0 || got.Events.Buffered != 0 {
		t.Errorf("got %+v, want 1000 dropped as closed", got.Events)
	}
}

func TestCloseOfAnEmptyRunDoesNotWait(t *testing.T) {
	p := connect(t, "nats://127.0.0.1:1", Config{})
	begin := time.Now()
	closeWithin(t, p, 20*time.Second)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Close of an empty run took %v", took)
	}
}

// If nobody listens when Close begins, Close waits for a sink.
func TestCloseWaitsForASink(t *testing.T) {
	s := embeddedFor(t)
	p := connect(t, s.ClientURL(), Config{})
	p.Started(someActor)
	await(t, "nobody is found to listen", func() bool { return p.Stats().Events.Hold == HoldUnheard })
	done := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		done <- p.Close(ctx)
	}()
	await(t, "intake has ended", func() bool { p.Started(someActor); return p.Stats().Events.Refused > 0 })
	r := newReceiver(t, s.ClientURL())
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	accepted := p.Stats().Events.Accepted
	await(t, "everything arrives", func() bool { return len(r.missing(papyra.KindEvent, accepted)) == 0 })
}

// A second Close with less time stops waiting. The first one goes on.
func TestSecondCloseKeepsItsOwnDeadline(t *testing.T) {
	p := connect(t, "nats://127.0.0.1:1", Config{})
	p.Started(someActor)
	first := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { first <- p.Close(ctx) }()
	await(t, "the first Close has begun", func() bool {
		select {
		case <-p.closing:
			return true
		default:
			return false
		}
	})
	short, cancelShort := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancelShort()
	if err := p.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second Close: got %v, want DeadlineExceeded", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("first Close: got %v, want Canceled", err)
	}
}
