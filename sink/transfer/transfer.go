// Package transfer copies what one store holds into another, of whatever kind:
// every valid line as it is, each stream in its append order, and proves it by
// reading the target back.
//
// A copy is resumed by doing it again. What a stream of the target holds must be
// nothing, or byte for byte the beginning of the source's stream; so whatever
// ended an earlier copy, and wherever, the next one goes on behind it, and a
// target with anything else in it is refused before a byte is written. The steps
// of one copy:
//
//  1. The target is read: how many records each stream holds, and their SHA-256.
//  2. Unless the target is empty and removes nothing by itself, the source is
//     read: the beginning of each stream must have the same SHA-256, and what
//     follows must fit under the bound of a rotating target.
//  3. The target is opened for writing, and must still hold what it did in 1.
//  4. The source is read in its append order. Of each stream the records that
//     the target has are skipped; the others go into the target in batches. One
//     pass in append order keeps the order of each stream, whatever the target
//     does with several, and needs memory for one batch and a digest for each
//     stream, however large the stores are.
//  5. The target is synced and read once more, while it is still held. Each
//     stream must have the number of records and the SHA-256 of what was read
//     from the source.
//
// What is appended to the source after it was first read may be left out; the
// next copy takes it. Damaged lines belong to no stream: they are counted and
// stay. The reports that a recovery or a compaction of the target appended to it
// are the target's own, and passed over. The copy itself appends no report.
//
// A copy that was killed may leave a torn last line in a target of files. The
// next one begins a new line behind it, as every appender does, and copies the
// record again.
//
// Streams on a server are not held by anybody: what somebody else writes to them
// during a copy, or a batch that arrives there after its sender was given up, is
// found out at the end, as an error.
package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/papyra/papyra"
)

// Step is what a copy is doing, in words for people.
type Step string

// The steps of a copy that take long.
const (
	StepTarget Step = "reading the target"
	StepSource Step = "reading the source"
	StepCopy   Step = "copying"
	StepVerify Step = "verifying"
)

// DefaultBatchBytes is the size of the batches when Options do not say it.
const DefaultBatchBytes = 4 << 20

// Options say how a store is copied. The zero Options copy.
type Options struct {
	// DryRun reads both stores and changes nothing.
	DryRun bool
	// BatchBytes is how many bytes of lines are handed to the target at a time;
	// one line more may come on top. 0 means DefaultBatchBytes.
	BatchBytes int
	// Progress is called now and then with the bytes done in a step, of so many
	// in all, or 0 where that is not known. Nil is allowed.
	Progress func(step Step, done, total int64)
}

// Report is what a copy did, or with DryRun would do. After an error it tells
// how far it came.
type Report struct {
	Source string `json:"source"`
	Target string `json:"target"`
	DryRun bool   `json:"dry_run"`

	Present      int64 `json:"present"` // records that the target had of an earlier copy
	PresentBytes int64 `json:"present_bytes"`
	Copied       int64 `json:"copied"` // records appended now
	CopiedBytes  int64 `json:"copied_bytes"`

	Damaged       int64 `json:"damaged"`        // lines of the source, left where they are
	TargetDamaged int64 `json:"target_damaged"` // lines of the target, torn by an earlier copy
	TargetReports int64 `json:"target_reports"` // that acts on the target appended to it
	Incomplete    bool  `json:"incomplete"`     // a part of the source could not be read

	// Verified says that the target was read back and holds, stream by stream,
	// what was read from the source.
	Verified bool     `json:"verified"`
	Streams  []Stream `json:"streams"` // sorted by system and kind
}

// Stream is one stream of a copy.
type Stream struct {
	System   string `json:"system"`
	Category string `json:"category"`
	Records  int64  `json:"records"` // of the source
	Bytes    int64  `json:"bytes"`   // with their newlines
	Present  int64  `json:"present"` // of them, those that the target had before
	Copied   int64  `json:"copied"`  // of them, those appended now
	// SHA256 is over the source's lines, each with its newline, in lower-case hex.
	SHA256   string `json:"sha256"`
	Verified bool   `json:"verified"` // the target, read back, has the same
}

// Run copies what from holds into to. The two must not be the same store. The
// report is nil only if nothing could be found out. Errors to test for:
// papyra.ErrNotFound, the source does not exist; papyra.ErrUsage, the target
// holds something else than the beginning of a copy; papyra.ErrConfig, the bound
// of the target would remove what is copied; papyra.ErrBusy, somebody else holds
// the target; papyra.ErrIncomplete, a part of the target could not be read. The
// cause of ctx, once it is done: the batch at hand is finished, what was copied
// stays, and the same call goes on. A part of the source that cannot be read is
// no error, but in the report.
func Run(ctx context.Context, from, to papyra.Store, o Options) (*Report, error) {
	if o.BatchBytes <= 0 {
		o.BatchBytes = DefaultBatchBytes
	}
	c := &copying{
		from: from, to: to, options: o,
		report: &Report{Source: from.URL(), Target: to.URL(), DryRun: o.DryRun, Streams: []Stream{}},
	}
	// A source that does not exist is found out before the target is made.
	if _, err := from.Read(ctx, papyra.Query{Limit: 1}, ignore); err != nil && !errors.Is(err, papyra.ErrIncomplete) {
		return nil, fmt.Errorf("read the source %s: %w", from.URL(), err)
	}
	held, err := c.inspect(ctx, StepTarget)
	if err != nil {
		return nil, err
	}
	if err := c.checkDamage(ctx, held); err != nil {
		return nil, err
	}
	c.held = held
	c.report.TargetDamaged, c.report.TargetReports = held.damaged, held.own
	if o.DryRun || len(held.streams) > 0 || to.Traits().MaxBytes > 0 {
		if err := c.makePlan(ctx); err != nil {
			return c.end(err)
		}
	}
	if o.DryRun {
		return c.end(nil)
	}
	return c.end(c.fill(ctx))
}

func ignore(*papyra.Record, papyra.Place) error { return nil }

// copying is one copy.
type copying struct {
	from, to papyra.Store
	options  Options
	report   *Report

	held  *contents // what the target holds at the beginning
	acts  actSet    // of the source; nil while the target has none
	plan  *contents // what the source holds; nil if it was not read before
	done  *contents // what was read from the source to be copied
	found *contents // what the target holds at the end
}

// fill does the steps that change the target.
func (c *copying) fill(ctx context.Context) (err error) {
	appender, err := c.to.Appender(ctx)
	if err != nil {
		return fmt.Errorf("open the target %s: %w", c.to.URL(), err)
	}
	defer func() {
		// Whatever happened, what was copied is synced, so that it can be resumed.
		if cerr := appender.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("close the target %s: %w", c.to.URL(), cerr))
		}
	}()
	now, err := c.inspect(ctx, StepTarget)
	if err != nil {
		return err
	}
	if !now.equal(c.held) {
		return fmt.Errorf("open the target %s: it was changed since it was first read, stop whoever writes to it: %w", c.to.URL(), papyra.ErrBusy)
	}
	if err := c.copy(ctx, appender); err != nil {
		return err
	}
	if err := appender.Sync(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("sync the target %s: %w", c.to.URL(), err)
	}
	if c.found, err = c.inspect(ctx, StepVerify); err != nil {
		return err
	}
	return c.verify()
}

// verify compares what the target holds now with what was read from the source.
func (c *copying) verify() error {
	for _, s := range c.done.sorted() {
		want, got := c.done.streams[s], c.found.streams[s]
		if !want.equal(got) {
			return fmt.Errorf("verify the target %s: of stream %s it holds %d records, SHA-256 %s, and %d records, SHA-256 %s, were read from the source: find out who else writes to it, and begin anew with an empty target",
				c.to.URL(), s, got.count(), got.hex(), want.records, want.hex())
		}
	}
	for _, s := range c.found.sorted() {
		if c.done.streams[s] == nil {
			return fmt.Errorf("verify the target %s: it holds stream %s, which was not copied: find out who else writes to it", c.to.URL(), s)
		}
	}
	c.report.Verified = true
	return nil
}

// end completes the report.
func (c *copying) end(err error) (*Report, error) {
	r := c.report
	source := c.done
	if source == nil {
		source = c.plan
	}
	if source == nil {
		return r, err
	}
	for _, t := range c.held.streams {
		r.Present += t.records
		r.PresentBytes += t.bytes
	}
	if r.DryRun {
		r.Copied, r.CopiedBytes = source.records-r.Present, source.bytes-r.PresentBytes
	}
	for _, s := range source.sorted() {
		t := source.streams[s]
		if t.records == 0 {
			continue // it began after the source was first read
		}
		row := Stream{
			System: s.System, Category: s.Kind.Category(), Records: t.records, Bytes: t.bytes,
			Present: c.held.streams[s].count(), Copied: t.appended, SHA256: t.hex(),
			Verified: c.found != nil && t.equal(c.found.streams[s]),
		}
		if r.DryRun {
			row.Copied = row.Records - row.Present
		}
		r.Streams = append(r.Streams, row)
	}
	return r, err
}

func (c *copying) progress(step Step, done, total int64) {
	if c.options.Progress != nil {
		c.options.Progress(step, done, total)
	}
}
