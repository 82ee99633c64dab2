package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/version"
)

// work is one job and what it works with.
type work struct {
	*Server
	sink worker
	job  *job
}

// verbTable returns what does each verb: it returns the result, also beside an error
// where there is one.
func verbTable() map[string]func(*work, context.Context) (any, error) {
	return map[string]func(*work, context.Context) (any, error){
		VerbHealth: (*work).health, VerbStats: (*work).stats, VerbScan: (*work).scan, VerbRejects: (*work).rejects,
		VerbInspect: (*work).read, VerbSummary: (*work).read, VerbAccount: (*work).read,
		VerbJobs: (*work).listJobs, VerbResult: (*work).showResult, VerbCancel: (*work).cancelJob,
		VerbRecover: (*work).recover, VerbCompact: (*work).compact, VerbForget: (*work).forget,
	}
}

// arguments reads the arguments of a job.
func arguments[T any](w *work) (*T, error) {
	var a T
	if len(w.job.args) > 0 {
		if err := json.Unmarshal(w.job.args, &a); err != nil {
			return nil, fmt.Errorf("%w: the arguments cannot be read: %w", papyra.ErrUsage, err)
		}
	}
	return &a, nil
}

func (w *work) scan(ctx context.Context) (any, error) {
	a, err := arguments[scanArgs](w)
	if err != nil {
		return nil, err
	}
	r, err := w.sink.Maintainer().Scan(ctx, papyra.ScanOptions{Full: a.Full, MaxListed: min(a.MaxListed, maxListed), Now: a.Now, Progress: w.job.progress})
	if err == nil {
		w.noteDamage(ctx, a.Full, r)
	}
	return orNil(r, err)
}

// maxListed bounds the anomalies that a scan lists for somebody, in the sink's memory.
const maxListed = 10_000

// maxReported bounds the places that a CorruptionDetected names.
const maxReported = 16

// noteDamage writes into the store that a scan found damage, unless the last one found
// as much, of those that looked as closely.
func (w *work) noteDamage(ctx context.Context, full bool, r *papyra.ScanReport) {
	w.loading.Lock()
	defer w.loading.Unlock()
	if maps.Equal(w.damage[full], r.AnomalyCounts) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, announceWithin)
	defer cancel()
	if !r.Clean() {
		err := w.sink.Announce(ctx, &papyra.Report{Name: papyra.ReportCorruptionDetected, Payload: papyra.CorruptionDetected{
			Counts: r.AnomalyCounts, First: r.Anomalies[:min(len(r.Anomalies), maxReported)],
		}})
		if err != nil {
			w.log.Warn("the damage that a scan found cannot be written down in the store", "error", err)
			return
		}
	}
	w.damage[full] = r.AnomalyCounts
}

func (w *work) recover(ctx context.Context) (any, error) {
	a, err := arguments[recoverArgs](w)
	if err != nil {
		return nil, err
	}
	o := a.options()
	if o.QuarantineDir != "" && !filepath.IsAbs(o.QuarantineDir) {
		return nil, fmt.Errorf("%w: the quarantine directory %q is none of the sink's host: give an absolute path", papyra.ErrUsage, o.QuarantineDir)
	}
	o.Progress = w.job.progress
	if a.Ask {
		o.Approve = func(plan *papyra.RecoverReport) error { return w.job.approve(ctx, plan) }
	}
	return orNil(w.sink.Maintainer().Recover(ctx, o))
}

func (w *work) compact(ctx context.Context) (any, error) {
	a, err := arguments[compactArgs](w)
	if err != nil {
		return nil, err
	}
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	o.Progress = w.job.progress
	if a.Ask {
		o.Approve = func(plan *papyra.CompactReport) error { return w.job.approve(ctx, plan) }
	}
	return orNil(w.sink.Maintainer().Compact(ctx, o))
}

// orNil makes a nil of a nil pointer.
func orNil[T any](r *T, err error) (any, error) {
	if r == nil {
		return nil, err
	}
	return r, err
}

// readResult is the end of a read.
type readResult struct {
	Damaged int64 `json:"damaged"`
}

func (w *work) read(ctx context.Context) (any, error) {
	a, err := arguments[queryArgs](w)
	if err != nil {
		return nil, err
	}
	q, err := a.query()
	if err != nil {
		return nil, err
	}
	out := &partWriter{ctx: ctx, job: w.job, room: w.job.room()}
	damaged, err := w.store.Read(ctx, q, func(rec *papyra.Record, place papyra.Place) error {
		out.buf = appendRecord(out.buf, rec, place)
		return out.sendFull()
	})
	if serr := out.sendRest(); err == nil {
		err = serr
	}
	return &readResult{damaged}, err
}

// partWriter cuts what a read yields into parts.
type partWriter struct {
	ctx  context.Context
	job  *job
	room int
	buf  []byte
}

// sendFull sends what fills a part.
func (p *partWriter) sendFull() error {
	sent := 0
	for len(p.buf)-sent >= p.room {
		if err := p.job.part(p.ctx, p.buf[sent:sent+p.room]); err != nil {
			return err
		}
		sent += p.room
	}
	p.buf = append(p.buf[:0], p.buf[sent:]...)
	return nil
}

// sendRest sends what is left.
func (p *partWriter) sendRest() error {
	if err := p.sendFull(); err != nil || len(p.buf) == 0 {
		return err
	}
	return p.job.part(p.ctx, p.buf)
}

// rejects yields the reject files, the older one first.
func (w *work) rejects(ctx context.Context) (any, error) {
	path := w.sink.Config().RejectFile
	if path == "" {
		return &readResult{}, nil
	}
	out := &partWriter{ctx: ctx, job: w.job, room: w.job.room()}
	for _, name := range []string{path + ".1", path} {
		if err := out.copyFile(name); err != nil {
			return nil, err
		}
	}
	return &readResult{}, out.sendRest()
}

// copyFile sends a file, if there is one.
func (p *partWriter) copyFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &papyra.StoreError{Op: "open rejects", Path: path, Offset: -1, Err: err}
	}
	defer f.Close()
	chunk := make([]byte, 64<<10)
	for {
		n, err := f.Read(chunk)
		p.buf = append(p.buf, chunk[:n]...)
		if serr := p.sendFull(); serr != nil {
			return serr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &papyra.StoreError{Op: "read rejects", Path: path, Offset: -1, Err: err}
		}
	}
}

// Health is what a sink says of itself and its store.
type Health struct {
	Group      string        `json:"group"`
	Instance   string        `json:"instance"`
	Store      string        `json:"store"` // its id
	Host       string        `json:"host"`
	Version    string        `json:"version"`
	URL        string        `json:"url"` // of the store
	Traits     papyra.Traits `json:"traits"`
	RejectFile string        `json:"reject_file,omitempty"`
	State      string        `json:"state"`
	NotReady   string        `json:"not_ready,omitempty"` // why the sink cannot do its work
	// Expects are the other sinks of the group that ought to be there.
	Expects []Expected `json:"expects"`

	Checks      []papyra.Check         `json:"checks,omitempty"`
	Groups      []papyra.ConsumerGroup `json:"groups,omitempty"`
	GroupsErr   *fault                 `json:"groups_error,omitempty"`
	Warnings    []string               `json:"warnings,omitempty"`
	WarningsErr *fault                 `json:"warnings_error,omitempty"`
}

func (w *work) health(ctx context.Context) (any, error) {
	a, err := arguments[healthArgs](w)
	if err != nil {
		return nil, err
	}
	c := w.sink.Config()
	host, _ := os.Hostname()
	h := &Health{
		Group: c.Group, Instance: c.Instance, Store: w.sink.StoreID(), Host: host, Version: version.Get().String(),
		URL: w.store.URL(), Traits: w.store.Traits(), RejectFile: c.RejectFile, State: w.sink.Stats().State,
		Expects: expectedOf(w.sink.Expects()),
	}
	if err := w.sink.Ready(); err != nil {
		h.NotReady = err.Error()
	}
	if a.Checks {
		h.Checks = w.store.Examine(ctx)
	}
	if a.Groups {
		groups, err := w.store.Groups(ctx)
		h.Groups, h.GroupsErr = groups, faultOf(err)
	}
	if a.Warnings {
		r, err := retentionOf(a.Retention)
		if err != nil {
			return nil, err
		}
		warnings, err := w.store.Warnings(ctx, r)
		h.Warnings, h.WarningsErr = warnings, faultOf(err)
	}
	return h, nil
}

// jobList is the result of VerbJobs.
type jobList struct {
	Jobs []JobStatus `json:"jobs"`
}

func (w *work) listJobs(context.Context) (any, error) {
	w.mu.Lock()
	jobs := append(slices.Clone(w.acts.order), w.reads.order...)
	w.mu.Unlock()
	list := &jobList{Jobs: []JobStatus{}}
	for _, j := range jobs {
		if j != w.job {
			list.Jobs = append(list.Jobs, j.status(false))
		}
	}
	return list, nil
}

// namedJob returns the job that the arguments name.
func (w *work) namedJob() (*job, error) {
	a, err := arguments[jobArgs](w)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	j := w.findJob(a.Job)
	w.mu.Unlock()
	if j == nil {
		if j, err = w.goneJob(w.job.ctx, a.Job); err != nil {
			return nil, err
		}
	}
	if j != nil && j != w.job {
		return j, nil
	}
	return nil, fmt.Errorf("the sink knows no job %q: %w", clip(a.Job, 64), papyra.ErrNotFound)
}

func (w *work) showResult(context.Context) (any, error) {
	j, err := w.namedJob()
	if err != nil {
		return nil, err
	}
	return j.status(true), nil
}

func (w *work) cancelJob(ctx context.Context) (any, error) {
	j, err := w.namedJob()
	if err != nil {
		return nil, err
	}
	j.stop(fmt.Errorf("cancelled by %s: %w", w.job.by, context.Canceled))
	w.job.mu.Lock()
	w.job.sendFrame(&frame{Kind: frameProgress, State: stateStopping})
	w.job.mu.Unlock()
	select {
	case <-j.ended:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return j.status(true), nil
}
