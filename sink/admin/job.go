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

// The states of a job.
const (
	jobRunning   = "running"
	jobDone      = "done"
	jobFailed    = "failed"
	jobCancelled = "cancelled" // it was told to end, and did not come to its own end
	jobGone      = "gone"      // the sink that had it has ended
)

// JobStatus is what is told of a job. Times are Unix seconds.
type JobStatus struct {
	Job    string  `json:"job"`
	Verb   string  `json:"verb"`
	State  string  `json:"state"` // running, done, failed, cancelled, gone
	By     string  `json:"by"`
	Proven string  `json:"proven,omitempty"`
	Began  float64 `json:"began"`
	Ended  float64 `json:"ended,omitempty"`
	Done   int64   `json:"done,omitempty"`
	Total  int64   `json:"total,omitempty"`
	Error  string  `json:"error,omitempty"`
	// Result is what the verb returned, where it is kept.
	Result json.RawMessage `json:"result,omitempty"`
}

// job is one request at work, or what became of it.
type job struct {
	server *Server
	id     string
	verb   string
	args   json.RawMessage
	by     string // who asked first
	proven string // what vouches for that
	act    bool   // it may change the store, and does not end because its asker is gone
	began  time.Time
	ctx    context.Context
	stop   context.CancelCauseFunc
	ended  chan struct{}

	mu       sync.Mutex
	from     *asker
	n, parts uint64
	credits  int
	renewed  time.Time
	more     chan struct{} // one slot: credits, an answer
	answer   string
	state    string
	finished time.Time
	done     int64
	total    int64
	told     time.Time // when the last frame was sent
	result   []byte
	fault    *fault
}

func newJob(s *Server, q *request, from *asker) *job {
	j := &job{
		server: s, id: q.Job, verb: q.Verb, args: q.Args, act: isAct(q.Verb) && !isDryRun(q.Args),
		by: from.by, proven: from.proven, from: from, began: time.Now(),
		ended: make(chan struct{}), credits: firstCredits, renewed: time.Now(), more: make(chan struct{}, 1), state: jobRunning,
	}
	j.ctx, j.stop = context.WithCancelCause(s.ctx)
	return j
}

// goneJob returns a job that an earlier process of the sink had.
func goneJob(s *Server, r *papyra.ActRequested, at int64) *job {
	j := &job{
		server: s, id: r.Job, verb: r.Verb, args: r.Arguments, act: true, began: time.UnixMicro(at), finished: time.UnixMicro(at), state: jobGone,
		by: r.By, proven: r.Proven, ended: make(chan struct{}), stop: func(error) {},
		fault: faultOf(fmt.Errorf("%w: what the act had done by then stands in the reports of the store, and the next act on the store ends it", ErrGone)),
	}
	close(j.ended)
	return j
}

// begin accepts the job and sends a frame at least every heartbeat until it ends.
func (j *job) begin() {
	j.mu.Lock()
	j.sendFrame(&frame{Kind: frameAccepted, State: jobRunning})
	j.mu.Unlock()
	go func() {
		beat := time.NewTicker(heartbeat / 2)
		defer beat.Stop()
		for {
			select {
			case <-j.ended:
				return
			case <-beat.C:
				j.beat()
			}
		}
	}()
}

// beat sends a sign of life, and ends a read that nobody wants any more.
func (j *job) beat() {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case !j.act && time.Since(j.renewed) > patience:
		j.stop(fmt.Errorf("who asked has shown no sign of life for %v: %w", patience, context.Canceled))
	case !j.act && j.from.isGone():
		j.stop(fmt.Errorf("who asked is gone: %w", context.Canceled))
	}
	if j.state == jobRunning && time.Since(j.told) >= heartbeat/2 {
		state := stateRunning
		if j.ctx.Err() != nil {
			state = stateStopping
		}
		j.sendFrame(&frame{Kind: frameProgress, State: state, Done: j.done, Total: j.total})
	}
}

// sendFrame numbers and sends a frame. The caller holds the lock.
func (j *job) sendFrame(f *frame) {
	j.n++
	f.Job, f.From, f.N = j.id, j.server.id, j.n
	j.told = time.Now()
	j.from.send(f.encode())
}

// progress is a papyra.Progress.
func (j *job) progress(done, total int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done, j.total = done, total
	if time.Since(j.told) >= heartbeat/10 {
		j.sendFrame(&frame{Kind: frameProgress, State: stateRunning, Done: done, Total: total})
	}
}

// renew notes a sign of life of who asked.
func (j *job) renew(credits int, answer string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.renewed = time.Now()
	const most = 16 * firstCredits
	j.credits = min(j.credits+min(max(credits, 0), most), most)
	if answer != "" {
		j.answer = answer
	}
	select {
	case j.more <- struct{}{}:
	default:
	}
}

// attach lets somebody who asks for a job again hear of it from now on.
func (j *job) attach(to *asker) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state == jobRunning {
		j.from = to
		j.renewed = time.Now()
		j.sendFrame(&frame{Kind: frameAccepted, State: jobRunning})
		return
	}
	f := &frame{Job: j.id, From: j.server.id, N: 1, Kind: frameError, Error: j.fault}
	switch {
	case j.fault != nil:
	case len(j.result) == 0 || len(j.result) > to.room-headRoom:
		f.Error = faultOf(fmt.Errorf("the job %s is done; its result is not kept: %w", j.id, ErrGone))
	default:
		f.Kind, f.body = frameResult, j.result
	}
	to.send(f.encode())
}

// part sends a piece of what the job yields. It waits for a credit.
func (j *job) part(ctx context.Context, body []byte) error {
	for {
		j.mu.Lock()
		if j.credits > 0 {
			j.credits--
			j.parts++
			j.sendFrame(&frame{Kind: framePart, Part: j.parts, body: body})
			j.mu.Unlock()
			return nil
		}
		j.mu.Unlock()
		select {
		case <-j.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// room returns how many bytes of a body one frame takes.
func (j *job) room() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return max(min(j.from.room, maxFrame)-headRoom, 1)
}

// allButLast sends a body that is too long for one frame as parts, but for the end,
// which it returns.
func (j *job) allButLast(ctx context.Context, body []byte) ([]byte, error) {
	for room := j.room(); len(body) > room; {
		if err := j.part(ctx, body[:room]); err != nil {
			return nil, err
		}
		body = body[room:]
	}
	return body, nil
}

// approve shows a plan to who asked, and returns an error unless the answer is yes.
// Without an answer in time nothing is done.
func (j *job) approve(ctx context.Context, plan any) error {
	body, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if body, err = j.allButLast(waiting, body); err != nil {
		return fmt.Errorf("nobody has approved the plan: %w", errNotApproved)
	}
	j.mu.Lock()
	j.sendFrame(&frame{Kind: frameProgress, State: stateApprove, Part: j.parts, body: body})
	j.mu.Unlock()
	for {
		j.mu.Lock()
		answer := j.answer
		j.mu.Unlock()
		switch answer {
		case answerYes:
			return nil
		case answerNo:
			return fmt.Errorf("the plan was refused: %w", errNotApproved)
		}
		select {
		case <-j.more:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("nobody has approved the plan: %w", errNotApproved)
		}
	}
}

// end sends the last frame and keeps what became of the job.
func (j *job) end(result []byte, err error) {
	cancelled := j.ctx.Err() != nil
	if why := context.Cause(j.ctx); err != nil && cancelled && !errors.Is(err, why) {
		err = fmt.Errorf("%w: %w", why, err)
	}
	last, taken := result, true
	if len(result) > 0 {
		// A result that nobody takes is not waited for long, and by a sink that stops not
		// at all.
		waiting, cancel := context.WithTimeout(j.server.ctx, patience)
		var perr error
		last, perr = j.allButLast(waiting, result)
		if perr == nil && err != nil && !j.fits(last, err) {
			last, perr = nil, j.part(waiting, last)
		}
		taken = perr == nil
		cancel()
	}
	j.stop(nil)
	j.mu.Lock()
	j.finished, j.result, j.fault, j.state = time.Now(), result, faultOf(err), jobDone
	f := &frame{Kind: frameResult, Part: j.parts, body: last}
	if err != nil {
		j.state = jobFailed
		if cancelled {
			j.state = jobCancelled
		}
		f.Kind, f.Error = frameError, j.fault
	}
	// Whoever hears of the end may ask for the next act at once.
	close(j.ended)
	if taken {
		j.sendFrame(f)
	}
	j.mu.Unlock()
}

// fits reports whether there is room for the end of a body beside an error.
func (j *job) fits(last []byte, err error) bool {
	const numbers = 64
	f := &frame{Job: j.id, From: j.server.id, Kind: frameError, Error: faultOf(err), body: last}
	return len(f.encode())+numbers <= j.room()+headRoom
}

// forgetResult gives back the memory of a result.
func (j *job) forgetResult() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.result = nil
}

// status returns what is told of the job.
func (j *job) status(withResult bool) JobStatus {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := JobStatus{
		Job: j.id, Verb: j.verb, State: j.state, By: j.by, Proven: j.proven, Began: unixSeconds(j.began),
		Done: j.done, Total: j.total,
	}
	if !j.finished.IsZero() {
		st.Ended = unixSeconds(j.finished)
	}
	if j.fault != nil {
		st.Error = j.fault.Text
	}
	if withResult && len(j.result) > 0 {
		st.Result = j.result
	}
	return st
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// ring remembers jobs: those that run, and the newest of those that have ended. It has
// no lock: the server that owns it has one.
type ring struct {
	limit int
	byID  map[string]*job
	order []*job
}

// addJob enters a job and forgets the oldest that has ended, if there are too many.
func (r *ring) addJob(j *job) {
	if r.byID == nil {
		r.byID = map[string]*job{}
	}
	r.byID[j.id] = j
	r.order = append(r.order, j)
	for i := 0; len(r.order) > r.limit && i < len(r.order); i++ {
		if old := r.order[i]; old.hasEnded() {
			delete(r.byID, old.id)
			r.order = append(r.order[:i:i], r.order[i+1:]...)
			i--
		}
	}
}

// hasEnded reports whether a job has ended.
func (j *job) hasEnded() bool {
	select {
	case <-j.ended:
		return true
	default:
		return false
	}
}

// countRunning returns how many jobs run, of those that are questions or of the others.
func (r *ring) countRunning(questions bool) (n int) {
	for _, j := range r.order {
		if isQuestion(j.verb) == questions && !j.hasEnded() {
			n++
		}
	}
	return n
}

// runningJob returns an act that runs and works on the store, nil if none does.
func (r *ring) runningJob() *job {
	for _, j := range r.order {
		if !j.hasEnded() && worksOnStore(j.verb) {
			return j
		}
	}
	return nil
}
