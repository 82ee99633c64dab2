package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/papyra/papyra"
)

const (
	// answerWithin bounds how long a sink may take to accept a request.
	answerWithin = 5 * time.Second
	// silence is how long a sink may say nothing of a job that it has accepted. It
	// says something every heartbeat.
	silence = 10 * time.Second
	// askAgainFor is how long who asked for an act tries to hear of it again, when the
	// answers stay away.
	askAgainFor = 15 * time.Second
	askPause    = 500 * time.Millisecond
	// queuedFrames is the room for frames that nobody has looked at yet.
	queuedFrames = 64
)

// door leads to one sink.
type door interface {
	// open begins an exchange about a job of a verb.
	open(ctx context.Context, verb string) (exchange, error)
}

// exchange carries the requests and frames of one job. Its methods may be called
// concurrently, but for receive.
type exchange interface {
	send(q *request) error
	// receive returns the next frame. It waits until ctx ends, whose cause it then
	// returns.
	receive(ctx context.Context) (*frame, error)
	close()
}

// frameQueue takes frames from a door and hands them out. Signs of life get half of the
// room and are left out beyond it; for the others, which credits bound, there is always
// some.
type frameQueue struct {
	frames chan *frame
	failed chan struct{}

	once sync.Once
	err  error // valid when failed is closed
}

func newFrameQueue() *frameQueue {
	return &frameQueue{frames: make(chan *frame, queuedFrames), failed: make(chan struct{})}
}

// deliver takes the bytes of a frame, which stay the queue's.
func (q *frameQueue) deliver(raw []byte) {
	f, err := decodeFrame(raw)
	if err != nil {
		q.fail(err)
		return
	}
	if f.Kind == frameProgress && f.State != stateApprove && len(q.frames) > queuedFrames/2 {
		return
	}
	select {
	case q.frames <- f:
	case <-q.failed:
	}
}

// fail ends the queue: what it holds is still handed out.
func (q *frameQueue) fail(err error) {
	q.once.Do(func() {
		q.err = err
		close(q.failed)
	})
}

func (q *frameQueue) receive(ctx context.Context) (*frame, error) {
	select {
	case f := <-q.frames:
		return f, nil
	default:
	}
	select {
	case f := <-q.frames:
		return f, nil
	case <-q.failed:
		select {
		case f := <-q.frames:
			return f, nil
		default:
			return nil, q.err
		}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// asking is one job from the side of who asks.
type asking struct {
	door     door
	verb     string
	job      string
	by       string
	args     json.RawMessage
	act      bool                    // it may change the store
	progress papyra.Progress         // nil is allowed
	parts    func(body []byte) error // takes the parts of a read; nil: they begin a body
	plan     func(body []byte) error // looks at a plan

	from     string // the sink that answers; to an act no other one may
	lastPart uint64
	body     []byte // the parts of a body so far
	accepted bool
	refusal  error // of plan
}

// errLost: parts did not arrive.
var errLost = errors.New("answers were lost on the way")

// do asks and returns the body of the result, beside an error the one that came with
// it. When ctx ends a read ends at once, and an act at the end of its step.
func (a *asking) do(ctx context.Context) (body []byte, err error) {
	a.job = newID()
	if a.act {
		// By mistake two sinks may have one name: one of them acts.
		if a.from, err = a.whoAnswers(ctx); err != nil {
			return nil, err
		}
	}
	var again time.Time
	for {
		body, err = a.talk(ctx)
		if a.accepted && errors.Is(err, errNotOffered) {
			err = fmt.Errorf("%w: nobody listens any more", ErrSilent)
		}
		if !a.act || !a.accepted || !mayAskAgain(err) {
			return body, err
		}
		// Core NATS may lose an answer, and a broker be away for a while. The same job
		// never runs twice, so that it may be asked for again.
		if again.IsZero() {
			again = time.Now().Add(askAgainFor)
		}
		if time.Now().After(again) {
			return nil, fmt.Errorf("%w: nothing has been heard of the job %s for %v: %w", ErrGone, a.job, askAgainFor, papyra.ErrIncomplete)
		}
		time.Sleep(askPause)
		if from, err := a.whoAnswers(context.WithoutCancel(ctx)); err == nil && from != a.from {
			return nil, fmt.Errorf("%w: another process answers in its place: what the act had done by then stands in the reports of the store, and the next act on the store ends it", ErrGone)
		}
	}
}

// whoAnswers returns the sink that the door leads to.
func (a *asking) whoAnswers(ctx context.Context) (from string, err error) {
	q := &asking{door: a.door, verb: VerbHealth, by: a.by}
	_, err = q.do(ctx)
	if q.from != "" && ctx.Err() == nil {
		return q.from, nil // an answer was lost at most
	}
	return "", err
}

// mayAskAgain reports whether an error says only that answers stay away.
func mayAskAgain(err error) bool {
	return errors.Is(err, ErrSilent) || errors.Is(err, errLost) || errors.Is(err, errClosedDoor)
}

// talk has one exchange about the job.
func (a *asking) talk(ctx context.Context) ([]byte, error) {
	a.body, a.lastPart = nil, 0
	x, err := a.door.open(ctx, a.verb)
	if err != nil {
		return nil, err
	}
	defer x.close()
	if err := x.send(&request{Op: opStart, Verb: a.verb, Job: a.job, By: a.by, Args: a.args, To: a.from}); err != nil {
		return nil, err
	}
	listening := ctx
	if a.act {
		listening = context.WithoutCancel(ctx)
	}
	told := make(chan struct{})
	stopTelling := context.AfterFunc(ctx, func() {
		defer close(told)
		op := opEnd
		if a.act {
			op = opCancel
		}
		_ = x.send(&request{Op: op, Job: a.job}) // without it the read ends for want of renewals
	})
	defer func() {
		if !stopTelling() {
			<-told
		}
	}()
	endRenewals := a.renew(x)
	defer endRenewals()
	for within := answerWithin; ; within = silence {
		waiting, cancel := context.WithTimeoutCause(listening, within, ErrSilent)
		f, err := x.receive(waiting)
		cancel()
		if err != nil {
			return nil, err
		}
		if a.from != "" && f.From != "" && f.From != a.from {
			continue // another sink of the same name
		}
		if f.Job != a.job && f.Job != "" {
			continue
		}
		done, err := a.take(x, f)
		switch {
		case err == nil && !done:
		case a.refusal != nil:
			return nil, a.refusal
		default:
			return a.body, err
		}
	}
}

// renew shows signs of life until the returned function is called.
func (a *asking) renew(x exchange) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(renewal)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_ = x.send(&request{Op: opMore, Job: a.job}) // the silence that follows tells
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// take looks at one frame. done says that it is the last.
func (a *asking) take(x exchange, f *frame) (done bool, err error) {
	if (f.Kind == frameResult || f.State == stateApprove) && f.Part != a.lastPart {
		return false, fmt.Errorf("%w: %d parts of %d came: %w", errLost, a.lastPart, f.Part, papyra.ErrIncomplete)
	}
	switch f.Kind {
	case frameAccepted:
		a.accepted, a.from = true, f.From
	case frameProgress:
		if f.State == stateApprove {
			return false, a.answer(x, f)
		}
		if a.progress != nil && f.Done > 0 {
			a.progress(f.Done, f.Total)
		}
	case framePart:
		if f.Part != a.lastPart+1 {
			return false, fmt.Errorf("%w: part %d came behind %d: %w", errLost, f.Part, a.lastPart, papyra.ErrIncomplete)
		}
		a.lastPart = f.Part
		if a.parts != nil {
			err = a.parts(f.body)
		} else {
			a.body = append(a.body, f.body...)
		}
		if err == nil {
			err = x.send(&request{Op: opMore, Job: a.job, Credits: 1, To: a.from})
		}
		return false, err
	case frameResult:
		a.from, a.body = f.From, append(a.body, f.body...)
		return true, nil
	case frameError:
		a.body = append(a.body, f.body...)
		if f.Error == nil {
			return true, errors.New("the sink failed and does not say why")
		}
		return true, f.Error.err()
	}
	return false, nil
}

// answer shows a plan to who asked, and sends the answer.
func (a *asking) answer(x exchange, f *frame) error {
	a.body = append(a.body, f.body...)
	plan := a.body
	a.body = nil
	answer := answerYes
	if a.plan != nil {
		if err := a.plan(plan); err != nil {
			a.refusal, answer = err, answerNo
		}
	}
	return x.send(&request{Op: opMore, Job: a.job, Answer: answer, To: a.from})
}
