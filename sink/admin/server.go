package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// Config says how a sink is asked. The zero Config is the default.
type Config struct {
	// TrustRequestInfo takes the login that the broker names in Nats-Request-Info for
	// proven. It is right only where nobody but a service import can send that header,
	// as the configuration of accounts in deploy/nats sees to.
	TrustRequestInfo bool
	// NoSocket leaves the socket beside a store in files away.
	NoSocket bool
	// Logger takes what an operator must know. Default: discard.
	Logger *slog.Logger
}

const (
	// maxReads bounds the jobs that read the store at a time, and maxQuestions those
	// that do not: who asks how the sink is or ends a job never waits for a reader.
	// Further ones are refused.
	maxReads     = 16
	maxQuestions = 64
	// keptReads and keptActs are how many jobs that have ended are remembered.
	keptReads = 32
	keptActs  = 1024
	// keptResult bounds a result that is kept with its job, and keptResults how many
	// are; of others only the end is told.
	keptResult  = 256 << 10
	keptResults = 32
	// announceWithin bounds how long a store may take for the note of a request.
	announceWithin = 30 * time.Second
)

// worker is what the server needs of a sink.
type worker interface {
	Config() sink.Config
	Stats() sink.Stats
	Ready() error
	StoreID() string
	Vitals() sink.Vitals
	PublisherRuns() (runs []sink.PublisherRun, forgotten uint64)
	Expects() []sink.Expected
	Forget(instance string) bool
	Maintainer() papyra.Maintainer
	Announce(ctx context.Context, r *papyra.Report) error
}

// Server answers requests for the store of one sink. It is the sink.Admin of one sink.
type Server struct {
	config Config
	store  papyra.Store
	log    *slog.Logger
	id     string // random

	running sync.WaitGroup // jobs

	loading sync.Mutex      // taken before mu
	gone    map[string]*job // acts of earlier processes, by id; nil before they are read
	// damage is as the store was told last, of full scans and of others.
	damage map[bool]map[papyra.Class]int64

	mu      sync.Mutex
	ctx     context.Context // of the jobs; nil before Serve
	sink    worker          // nil while nothing may begin
	reads   ring
	acts    ring
	results []*job // whose result is kept, oldest first
}

// NewServer returns what answers for a store. The store is the one that the sink is
// made with, and stays the caller's to close.
func NewServer(store papyra.Store, c Config) *Server {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		config: c, store: store, log: c.Logger, id: newID(),
		damage: map[bool]map[papyra.Class]int64{},
		reads:  ring{limit: keptReads}, acts: ring{limit: keptActs},
	}
}

// Serve answers until ctx ends, then lets acts come to the end of their step; see
// [sink.Admin].
func (s *Server) Serve(ctx context.Context, w *sink.Sink) { s.serve(ctx, w) }

func (s *Server) serve(ctx context.Context, w worker) {
	jobs, end := context.WithCancelCause(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.ctx, s.sink = jobs, w
	s.mu.Unlock()
	closeSocket := s.serveSocket()
	<-ctx.Done()
	s.mu.Lock()
	s.sink = nil // nothing begins any more
	s.mu.Unlock()
	end(errStopping)
	s.running.Wait()
	closeSocket()
}

// errStopping is why jobs end with their sink.
var errStopping = fmt.Errorf("the sink is stopping: %w", context.Canceled)

// asker is who asked for a job.
type asker struct {
	by     string
	proven string // papyra.ProvenSocket, papyra.ProvenBroker or ""
	// send hands over a frame. It does not block for longer than a moment, and is safe
	// for concurrent use.
	send func(frame []byte)
	room int           // largest frame that send takes
	verb string        // the only one that may be asked for; "" is any
	gone chan struct{} // closed when nobody is there any more; nil where that is not known
}

// isGone reports whether nobody is there any more.
func (a *asker) isGone() bool {
	select {
	case <-a.gone:
		return true
	default:
		return false
	}
}

// handle takes one request. It never waits for work.
func (s *Server) handle(q *request, from *asker) {
	if !checkID(q.Job) || q.Op == opStart && from.verb != "" && q.Verb != from.verb {
		s.refuse(from, "", fmt.Errorf("%w: this is no request", papyra.ErrUsage))
		return
	}
	if q.To != "" && q.To != s.id {
		if q.Op != opStart {
			s.refuse(from, q.Job, ErrGone)
		}
		return
	}
	if q.Op != opStart {
		s.steer(q, from)
		return
	}
	if from.proven == "" {
		from.by = clip(q.By, maxText)
	}
	j, news, err := s.admit(q, from)
	switch {
	case err != nil:
		s.refuse(from, q.Job, err)
	case news:
		go func() {
			defer s.running.Done()
			s.run(j)
		}()
	default:
		j.attach(from)
	}
}

// refuse answers with an error and nothing else.
func (s *Server) refuse(to *asker, job string, err error) {
	f := &frame{Job: job, From: s.id, N: 1, Kind: frameError, Error: faultOf(err)}
	to.send(f.encode())
}

// admit enters a job, or finds it if it is known. news says that it is to run; the
// caller then calls running.Done after it.
func (s *Server) admit(q *request, from *asker) (j *job, news bool, err error) {
	v := verbTable()[q.Verb]
	if v == nil {
		return nil, false, fmt.Errorf("%w: this sink does not know the verb %q", papyra.ErrUsage, clip(q.Verb, 64))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.findJob(q.Job); known != nil {
		if known.verb != q.Verb {
			return nil, false, fmt.Errorf("%w: the job %s is one of another verb", papyra.ErrUsage, q.Job)
		}
		return known, false, nil
	}
	if s.sink == nil {
		return nil, false, fmt.Errorf("the sink is starting or stopping: %w", papyra.ErrUnavailable)
	}
	jobs := &s.reads
	if isAct(q.Verb) && !isDryRun(q.Args) {
		jobs = &s.acts
		if other := jobs.runningJob(); other != nil && worksOnStore(q.Verb) {
			return nil, false, fmt.Errorf("%s, asked for by %s, is at work on the store: %w", other.verb, other.by, papyra.ErrBusy)
		}
	} else {
		most := maxReads
		if isQuestion(q.Verb) {
			most = maxQuestions
		}
		if jobs.countRunning(isQuestion(q.Verb)) >= most {
			return nil, false, fmt.Errorf("the sink answers %d requests already: ask again later: %w", most, papyra.ErrUnavailable)
		}
	}
	j = newJob(s, q, from)
	jobs.addJob(j)
	s.running.Add(1)
	return j, true, nil
}

// isDryRun reports whether the arguments of an act ask for a dry run.
func isDryRun(args json.RawMessage) bool {
	var a struct {
		DryRun bool `json:"dry_run"`
	}
	return json.Unmarshal(args, &a) == nil && a.DryRun
}

// findJob returns the job of an id, nil if none is known. The caller holds the lock.
func (s *Server) findJob(id string) *job {
	if j := s.acts.byID[id]; j != nil {
		return j
	}
	return s.reads.byID[id]
}

// steer passes on what whoever asked says of a job that runs.
func (s *Server) steer(q *request, from *asker) {
	s.mu.Lock()
	j := s.findJob(q.Job)
	s.mu.Unlock()
	switch {
	case j == nil:
		s.refuse(from, q.Job, ErrGone)
	case from.verb != "" && from.verb != j.verb:
		s.refuse(from, q.Job, fmt.Errorf("%w: the job is one of %s", papyra.ErrDenied, j.verb))
	case q.Op == opMore:
		j.renew(q.Credits, q.Answer)
	case q.Op == opEnd && !j.act:
		j.stop(fmt.Errorf("nobody wants more: %w", context.Canceled))
	case q.Op == opCancel:
		j.stop(fmt.Errorf("cancelled by who asked for it: %w", context.Canceled))
	}
}

// run does a job and keeps what became of it.
func (s *Server) run(j *job) {
	j.begin()
	s.mu.Lock()
	w := s.sink
	s.mu.Unlock()
	var result []byte
	err := fmt.Errorf("the sink is stopping: %w", papyra.ErrUnavailable)
	if w != nil {
		result, err = s.work(j, w)
	}
	j.end(result, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(result) > keptResult {
		j.forgetResult()
		return
	}
	s.results = append(s.results, j)
	if len(s.results) > keptResults {
		s.results[0].forgetResult()
		s.results = s.results[1:]
	}
}

// work does what a job asks for. An act is written down in the store before.
func (s *Server) work(j *job, w worker) ([]byte, error) {
	ctx := j.ctx
	if j.act {
		if gone, err := s.goneJob(ctx, j.id); err != nil {
			return nil, err
		} else if gone != nil {
			return nil, gone.fault.err()
		}
		if err := s.announce(ctx, j, w); err != nil {
			return nil, err
		}
		s.log.Info("an act on the store was asked for", "verb", j.verb, "by", j.by, "proven", j.proven, "job", j.id)
	}
	value, err := verbTable()[j.verb](&work{Server: s, sink: w, job: j}, ctx)
	if j.act {
		s.log.Info("the act on the store has ended", "verb", j.verb, "job", j.id, "error", err)
	}
	if err != nil && value == nil {
		return nil, err
	}
	result, merr := json.Marshal(value)
	if err == nil {
		err = merr
	}
	return result, err
}

// announce writes into the store who asked for an act.
func (s *Server) announce(ctx context.Context, j *job, w worker) error {
	ctx, cancel := context.WithTimeout(ctx, announceWithin)
	defer cancel()
	args := j.args
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	return w.Announce(ctx, &papyra.Report{Name: papyra.ReportActRequested, Payload: papyra.ActRequested{
		Job: j.id, Verb: j.verb, Arguments: args, By: j.by, Proven: j.proven,
	}})
}

// goneJob returns the job of an act that an earlier process of the sink had, nil for
// another id. What the store tells of them is read when it is first asked for: that may
// take as long as reading the whole store, which an act does too. A store that cannot be
// read at all may know of the job, which then must not run.
func (s *Server) goneJob(ctx context.Context, id string) (*job, error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	gone := s.gone
	if gone == nil {
		gone = map[string]*job{}
		_, err := s.store.Read(ctx, papyra.Query{
			Kinds: []papyra.Kind{papyra.KindReport}, Systems: []string{papyra.SystemReserved}, Types: []string{papyra.ReportActRequested},
			Limit: 2 * keptActs,
		}, func(rec *papyra.Record, _ papyra.Place) error {
			var r papyra.ActRequested
			if json.Unmarshal(rec.Payload, &r) == nil && checkID(r.Job) && rec.HasIdentity() {
				gone[r.Job] = goneJob(s, &r, rec.Time)
			}
			return nil
		})
		switch {
		case err == nil, errors.Is(err, papyra.ErrNotFound):
			s.gone = gone
		case errors.Is(err, papyra.ErrIncomplete) && ctx.Err() == nil:
			// A recovery is perhaps what makes it whole.
			s.log.Warn("the acts that were asked for before cannot all be read: one of them that is asked for again would run again", "error", err)
		default:
			return nil, fmt.Errorf("look for acts that were asked for before: %w", err)
		}
	}
	return gone[id], nil
}
