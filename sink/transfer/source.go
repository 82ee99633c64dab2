package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/papyra/papyra"
)

// readSource reads the source in append order. A part that cannot be read is
// noted in the report.
func (c *copying) readSource(ctx context.Context, step Step, into *contents, yield func(*papyra.Record, *tally) error) error {
	total := int64(0)
	if c.plan != nil {
		total = c.plan.bytes
	}
	var stopped error
	damaged, err := c.from.Read(ctx, everything, func(rec *papyra.Record, _ papyra.Place) error {
		t := into.of(rec)
		if stopped = yield(rec, t); stopped == nil && into.records%progressRecords == 0 {
			c.progress(step, into.bytes, total)
		}
		return stopped
	})
	if stopped != nil {
		return stopped
	}
	c.report.Damaged, c.report.Incomplete = damaged, errors.Is(err, papyra.ErrIncomplete)
	if err != nil && !c.report.Incomplete {
		return fmt.Errorf("read the source %s: %w", c.from.URL(), err)
	}
	return nil
}

// makePlan reads the source and refuses a target that holds anything but the
// beginnings of its streams, or that has not the room for the rest.
func (c *copying) makePlan(ctx context.Context) error {
	room, err := c.newPacking(ctx)
	if err != nil {
		return err
	}
	plan := newContents()
	err = c.readSource(ctx, StepSource, plan, func(rec *papyra.Record, t *tally) error {
		plan.add(rec)
		if c.acts != nil && isAct(rec) {
			c.acts.add(rec)
		}
		switch held := c.held.streams[t.stream]; {
		case t.records < held.count():
		case held != nil && t.records == held.records:
			if !t.equal(held) {
				return c.foreign(t.stream, held.records)
			}
		case room != nil:
			room.add(int64(len(rec.Line)) + 1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.plan = plan
	for _, s := range c.held.sorted() {
		if n := c.held.streams[s].records; plan.streams[s].count() < n {
			return c.foreign(s, n)
		}
	}
	if room != nil && room.drops() {
		return fmt.Errorf("copy into %s: its bound of %d files of %d bytes would remove what is copied, it takes %d files: give larger max_files or max_bytes: %w",
			c.to.URL(), room.maxFiles, room.maxBytes, room.files, papyra.ErrConfig)
	}
	return nil
}

// copy appends to the target what it does not hold of each stream.
func (c *copying) copy(ctx context.Context, appender papyra.Appender) error {
	c.done = newContents()
	w := &writer{c: c, appender: appender}
	w.batch.Grow(c.options.BatchBytes)
	err := c.readSource(ctx, StepCopy, c.done, func(rec *papyra.Record, t *tally) error {
		if c.plan != nil && t.records == c.plan.streams[t.stream].count() {
			return nil // appended to the source meanwhile
		}
		c.done.add(rec)
		held := c.held.streams[t.stream]
		if t.records > held.count() {
			return w.add(ctx, rec, t)
		}
		if t.records == held.records && !t.equal(held) {
			return c.changed(t.stream)
		}
		return nil
	})
	if err == nil {
		err = w.flush(ctx)
	}
	if err != nil || c.plan == nil {
		return err
	}
	for _, s := range c.plan.sorted() {
		if !c.plan.streams[s].equal(c.done.streams[s]) {
			return c.changed(s)
		}
	}
	return nil
}

func (c *copying) changed(s papyra.Stream) error {
	return fmt.Errorf("copy stream %s of %s: it was changed meanwhile by a compaction, a recovery or a rotation: run the copy again when the source is at rest, with an empty target if this one is then refused",
		s, c.from.URL())
}

// writer collects records and hands them to the target.
type writer struct {
	c        *copying
	appender papyra.Appender
	batch    papyra.Batch
	tallies  []*tally // of the batch's lines
}

// maxBatchLines bounds a batch of very short lines.
const maxBatchLines = 1 << 16

func (w *writer) add(ctx context.Context, rec *papyra.Record, t *tally) error {
	w.batch.Append(w.batch.StreamIndex(t.stream), rec.Line)
	w.tallies = append(w.tallies, t)
	if len(w.batch.Bytes()) < w.c.options.BatchBytes && w.batch.Len() < maxBatchLines {
		return nil
	}
	return w.flush(ctx)
}

// flush hands the batch over. An interruption waits for it: whether a batch that
// was abandoned is stored would not be known.
func (w *writer) flush(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.batch.Len() == 0 {
		return nil
	}
	stored, err := w.appender.Append(context.WithoutCancel(ctx), &w.batch)
	for _, t := range w.tallies[:stored] {
		t.appended++
	}
	w.c.report.Copied += int64(stored)
	w.c.report.CopiedBytes += int64(w.batch.End(stored))
	if err != nil {
		return fmt.Errorf("append to the target %s: %w", w.c.to.URL(), err)
	}
	w.batch.Reset()
	w.tallies = w.tallies[:0]
	return nil
}
