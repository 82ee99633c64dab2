package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"

	"github.com/papyra/papyra"
)

// Store is the store of a running sink, which does the work. It is a papyra.Store but
// for the Appender, which the sink has itself: papyra.ErrBusy. Its methods may be
// called concurrently.
//
// What comes back is what the same call on the store would return where nobody holds
// it. When a context ends, a read ends at once, and an act comes to the end of its
// step. A sink that ends meanwhile is ErrGone, one that stays away ErrSilent; both
// are then papyra.ErrIncomplete.
type Store struct {
	door    door
	verb    string // as which records are read
	by      string
	url     string
	health  *Health
	through bool // a door of this host: paths are those of who asks
	closed  atomic.Bool
	problem atomic.Pointer[error] // the last error of what was asked for
}

// lastProblem returns the last error of what was asked for, nil without any.
func (s *Store) lastProblem() error {
	if err := s.problem.Load(); err != nil {
		return *err
	}
	return nil
}

// openThrough asks a sink how it is and returns its store. verb is as which records are
// read.
func openThrough(ctx context.Context, d door, verb, by, url string, through bool) (*Store, error) {
	s := &Store{door: d, verb: verb, by: by, url: url, through: through}
	h, err := s.askHealth(ctx, &healthArgs{})
	if err != nil {
		return nil, err
	}
	s.health = h
	if s.url == "" {
		s.url = h.URL
	}
	return s, nil
}

// Health returns what the sink said of itself when the store was opened.
func (s *Store) Health() *Health { return s.health }

// Ask asks anew.
func (s *Store) Ask(ctx context.Context) (*Health, error) { return s.askHealth(ctx, &healthArgs{}) }

// URL names the store for people and reports.
func (s *Store) URL() string { return s.url }

// Traits returns those of the sink's store.
func (s *Store) Traits() papyra.Traits { return s.health.Traits }

// RejectFile is where the sink puts rejected lines, on its own host.
func (s *Store) RejectFile() string { return s.health.RejectFile }

// Appender fails: the sink appends.
func (s *Store) Appender(context.Context) (papyra.Appender, error) {
	return nil, fmt.Errorf("append to the store of sink %s: %w", s.health.Instance, papyra.ErrBusy)
}

// Close makes every later call fail. The sink goes on.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// ask asks for a verb with arguments.
func (s *Store) ask(ctx context.Context, a *asking, verb string, args any) ([]byte, error) {
	if s.closed.Load() {
		return nil, fmt.Errorf("use the store of a sink: %w", papyra.ErrClosed)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	a.door, a.verb, a.by, a.args = s.door, verb, s.by, raw
	body, err := a.do(ctx)
	if verb != VerbHealth && errors.Is(err, errNotOffered) {
		// A sink that has gone since it was found is no refusal.
		if _, herr := s.askHealth(ctx, &healthArgs{}); herr != nil {
			err = fmt.Errorf("%s: %w", s.url, ErrSilent)
		}
	}
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = context.Cause(ctx)
	case errors.Is(err, ErrSilent) || errors.Is(err, ErrGone) || errors.Is(err, errClosedDoor):
		err = fmt.Errorf("%w: %w", err, papyra.ErrIncomplete)
	}
	if err != nil && !errors.Is(err, errEnough) {
		s.problem.Store(&err)
	}
	return body, err
}

// askFor asks for a verb whose result is one value. It is nil where none came.
func askFor[T any](ctx context.Context, s *Store, a *asking, verb string, args any) (*T, error) {
	body, err := s.ask(ctx, a, verb, args)
	if len(body) == 0 {
		if err == nil {
			err = fmt.Errorf("the sink answered %s with nothing: %w", verb, papyra.ErrIncomplete)
		}
		return nil, err
	}
	r := new(T)
	if jerr := json.Unmarshal(body, r); jerr != nil {
		if err == nil {
			err = fmt.Errorf("read the answer to %s: %w", verb, jerr)
		}
		return nil, err
	}
	return r, err
}

func (s *Store) askHealth(ctx context.Context, args *healthArgs) (*Health, error) {
	return askFor[Health](ctx, s, &asking{}, VerbHealth, args)
}

// Scan lets the sink scan.
func (s *Store) Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	r, err := askFor[papyra.ScanReport](ctx, s, &asking{progress: o.Progress}, VerbScan, &scanArgs{o.Full, o.MaxListed, o.Now})
	s.nameScan(r)
	return r, err
}

// nameScan gives a report, if there is one, the name by which the store was asked for.
func (s *Store) nameScan(r *papyra.ScanReport) {
	if r != nil && r.Backend != "" {
		r.Backend = s.url
	}
}

// Recover lets the sink recover. A quarantine directory is one of the sink's host.
func (s *Store) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	if o.QuarantineDir != "" && s.through {
		abs, err := filepath.Abs(o.QuarantineDir)
		if err != nil {
			return nil, fmt.Errorf("quarantine directory: %w", err)
		}
		o.QuarantineDir = abs
	}
	a := &asking{progress: o.Progress, act: !o.DryRun}
	if o.Approve != nil {
		a.plan = func(body []byte) error {
			var plan papyra.RecoverReport
			if err := json.Unmarshal(body, &plan); err != nil {
				return fmt.Errorf("read the plan: %w", err)
			}
			s.nameRecovery(&plan)
			return o.Approve(&plan)
		}
	}
	r, err := askFor[papyra.RecoverReport](ctx, s, a, VerbRecover, recoverArgsOf(&o))
	if r != nil {
		s.nameRecovery(r)
	}
	return r, err
}

func (s *Store) nameRecovery(r *papyra.RecoverReport) {
	r.Backend = s.url
	s.nameScan(r.Before)
	s.nameScan(r.After)
}

// Compact lets the sink compact.
func (s *Store) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	a := &asking{progress: o.Progress, act: !o.DryRun}
	if o.Approve != nil {
		a.plan = func(body []byte) error {
			var plan papyra.CompactReport
			if err := json.Unmarshal(body, &plan); err != nil {
				return fmt.Errorf("read the plan: %w", err)
			}
			plan.Backend = s.url
			return o.Approve(&plan)
		}
	}
	r, err := askFor[papyra.CompactReport](ctx, s, a, VerbCompact, compactArgsOf(&o))
	if r != nil {
		r.Backend = s.url
	}
	return r, err
}

// Read lets the sink read; see [papyra.Store].
func (s *Store) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in, out := io.Pipe()
	var end readResult
	var asked error
	done := make(chan struct{})
	go func() {
		defer close(done)
		var body []byte
		body, asked = s.ask(ctx, &asking{parts: func(part []byte) error {
			_, err := out.Write(part)
			return err
		}}, s.verb, queryArgsOf(q))
		if len(body) > 0 {
			if err := json.Unmarshal(body, &end); err != nil && asked == nil {
				asked = fmt.Errorf("read the answer to %s: %w", s.verb, err)
			}
		}
		_ = out.Close() // never fails
	}()
	err = yieldRecords(newRecordReader(in), yield)
	cancel(errEnough)
	_ = in.Close() // never fails
	<-done
	var own *yieldError
	switch {
	case errors.As(err, &own):
		return end.Damaged, own.err
	case errors.Is(err, io.EOF):
		return end.Damaged, asked
	case asked != nil && errors.Is(err, io.ErrUnexpectedEOF):
		return end.Damaged, asked
	}
	return end.Damaged, err
}

// errEnough ends an exchange of which no more is wanted.
var errEnough = errors.New("enough")

// yieldRecords hands records on until one fails; io.EOF is the end of all.
func yieldRecords(r *recordReader, yield func(*papyra.Record, papyra.Place) error) error {
	for {
		rec, place, err := r.next()
		if err != nil {
			return err
		}
		if err := yield(rec, place); err != nil {
			return &yieldError{err}
		}
	}
}

// yieldError is the error of a reader, which may be io.EOF too.
type yieldError struct{ err error }

func (e *yieldError) Error() string { return e.err.Error() }

// Rejects writes the reject files of the sink to w, the older one first.
func (s *Store) Rejects(ctx context.Context, w io.Writer) error {
	_, err := s.ask(ctx, &asking{parts: func(part []byte) error {
		_, err := w.Write(part)
		return err
	}}, VerbRejects, struct{}{})
	return err
}

// Warnings returns those of the sink's store.
func (s *Store) Warnings(ctx context.Context, r papyra.Retention) ([]string, error) {
	h, err := s.askHealth(ctx, &healthArgs{Warnings: true, Retention: keepOf(r)})
	if err != nil {
		return nil, err
	}
	return h.Warnings, h.WarningsErr.err()
}

// Groups returns the consumer groups on the sink's store.
func (s *Store) Groups(ctx context.Context) ([]papyra.ConsumerGroup, error) {
	h, err := s.askHealth(ctx, &healthArgs{Groups: true})
	if err != nil {
		return nil, err
	}
	return h.Groups, h.GroupsErr.err()
}

// Examine returns what the sink sees of its store.
func (s *Store) Examine(ctx context.Context) []papyra.Check {
	h, err := s.askHealth(ctx, &healthArgs{Checks: true})
	if err != nil {
		return []papyra.Check{{Name: "sink", Status: papyra.StatusFail, Finding: err.Error(), Hint: "see to the sink that holds the store"}}
	}
	return h.Checks
}

// Stats asks for the sink's numbers, with the runs of publishers that it has heard of.
func (s *Store) Stats(ctx context.Context) (*Stats, error) {
	return askFor[Stats](ctx, s, &asking{}, VerbStats, &statsArgs{Publishers: true})
}

// Jobs returns the jobs that the sink has and had.
func (s *Store) Jobs(ctx context.Context) ([]JobStatus, error) {
	list, err := askFor[jobList](ctx, s, &asking{}, VerbJobs, struct{}{})
	if err != nil {
		return nil, err
	}
	return list.Jobs, nil
}

// Result returns what became of a job.
func (s *Store) Result(ctx context.Context, id string) (*JobStatus, error) {
	return askFor[JobStatus](ctx, s, &asking{}, VerbResult, &jobArgs{id})
}

// Cancel ends the job of somebody else and returns what became of it.
func (s *Store) Cancel(ctx context.Context, id string) (*JobStatus, error) {
	return askFor[JobStatus](ctx, s, &asking{}, VerbCancel, &jobArgs{id})
}

var _ papyra.Store = (*Store)(nil)
