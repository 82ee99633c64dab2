package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
)

const (
	// appendBytes is about how many bytes each Append of the upkeep gets.
	appendBytes = 256 << 10
	// rotations is the number of measured rotations that drop a file.
	rotations = 4
)

// upkeep is a store that is appended to while it is compacted or rotated.
type upkeep struct {
	store  sink.Backend
	out    sink.Appender
	lines  batchFeed
	pauses pauses
}

// batchFeed makes batches of records without end.
type batchFeed struct {
	id    *papyra.Identity
	enc   papyra.Encoder
	batch papyra.Batch
	line  []byte
	made  int
}

// nextBatch returns a batch of about so many bytes. It is valid until the next
// call.
func (f *batchFeed) nextBatch(bytes int) (*papyra.Batch, error) {
	f.batch.Reset()
	stream := f.batch.StreamIndex(papyra.Stream{System: benchSystem, Kind: papyra.KindEvent})
	for len(f.batch.Bytes()) < bytes {
		ev, fields := nthEvent(f.made)
		if err := f.enc.Event(f.id, benchSystem, &ev, fields[:], moment); err != nil {
			return nil, err
		}
		f.made++
		f.line = f.enc.AppendLine(f.line[:0], uint64(f.made))
		f.batch.Append(stream, f.line[:len(f.line)-1])
	}
	return &f.batch, nil
}

// pauses is how long appends took. The time between them, in which the records are
// made, is in no rate.
type pauses struct {
	records int
	in      time.Duration // of all Appends together
	longest time.Duration
}

func (p *pauses) rate() float64 {
	return float64(p.records) / max(p.in, time.Microsecond).Seconds()
}

// openUpkeep makes a store and fills it to a size. Its pauses are then those of
// appends with nothing beside them.
func openUpkeep(ctx context.Context, url string, size int64) (_ *upkeep, err error) {
	u := &upkeep{}
	if u.lines.id, err = papyra.NewIdentityRun(benchNode, clientRun); err != nil {
		return nil, err
	}
	if u.store, err = backend.Open(url); err != nil {
		return nil, err
	}
	if u.out, err = u.store.Appender(ctx); err != nil {
		return nil, errors.Join(err, u.store.Close())
	}
	for written := int64(0); written < size; {
		if err := u.appendOnce(ctx); err != nil {
			return nil, errors.Join(err, u.closeStore())
		}
		written += appendBytes
	}
	return u, u.out.Sync(ctx)
}

// closeStore closes the store with its appender.
func (u *upkeep) closeStore() error { return u.store.Close() }

// appendOnce appends one batch.
func (u *upkeep) appendOnce(ctx context.Context) error {
	b, err := u.lines.nextBatch(appendBytes)
	if err != nil {
		return err
	}
	n := b.Len()
	began := time.Now()
	stored, err := u.out.Append(ctx, b)
	took := time.Since(began)
	if err != nil || stored != n {
		return fmt.Errorf("append: %d of %d stored: %w", stored, n, err)
	}
	u.pauses.records += n
	u.pauses.in += took
	u.pauses.longest = max(u.pauses.longest, took)
	return nil
}

// appendUntil appends as fast as it can until done returns true, and returns the
// pauses of these appends.
func (u *upkeep) appendUntil(ctx context.Context, done func() bool) (pauses, error) {
	u.pauses = pauses{}
	for !done() {
		if err := u.appendOnce(ctx); err != nil {
			return pauses{}, err
		}
	}
	return u.pauses, nil
}

// verifyClean returns an error if the store is damaged.
func (u *upkeep) verifyClean(ctx context.Context) error {
	r, err := u.store.Scan(ctx, papyra.ScanOptions{})
	if err == nil && !r.Clean() {
		err = fmt.Errorf("the store is damaged: %v", r.AnomalyCounts)
	}
	return err
}

// measureUpkeep prints how long appends wait while a store is compacted and
// while it is rotated.
func measureUpkeep(ctx context.Context, c config, out io.Writer) error {
	work, err := os.MkdirTemp(c.dir, "papyra-bench-")
	if err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer os.RemoveAll(work)
	fmt.Fprintf(out, "Compaction to half of the records, with an appender at full speed beside it in batches of %d KiB.\n\n", appendBytes>>10)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "MiB\tappended meanwhile\ttime\tpause\tlongest append\talone\trecords/s appended\talone\t ")
	for _, row := range []struct{ name, url string }{
		{"json", "json:" + backend.EscapePath(filepath.Join(work, "json.ndjson"))},
		{"rotating", "rotating:" + backend.EscapePath(filepath.Join(work, "rotating.ndjson")) + fmt.Sprintf("?max_bytes=%d&max_files=1000", max(c.store/8, 1)<<20)},
	} {
		showProgress("compacting: %s", row.name)
		r, err := measureCompaction(ctx, row.url, int64(c.store)<<20)
		showProgress("")
		if err != nil {
			return fmt.Errorf("compact %s: %w", row.name, err)
		}
		fmt.Fprintf(t, "%d\t%d MiB\t%s\t%s\t%s\t%s\t%s\t%s\t   %s\n", r.size>>20, r.meanwhile>>20, shortDuration(r.took), shortDuration(r.pause),
			shortDuration(r.during.longest), shortDuration(r.alone.longest), thousands(r.during.rate()), thousands(r.alone.rate()), row.name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	showProgress("rotating")
	defer showProgress("")
	return measureRotation(ctx, c, filepath.Join(work, "bounded.ndjson"), out)
}

// compacted is what was measured of one compaction.
type compacted struct {
	size, meanwhile int64
	took, pause     time.Duration
	alone, during   pauses
}

// measureCompaction compacts a store of a size while it is appended to.
func measureCompaction(ctx context.Context, url string, size int64) (c compacted, err error) {
	u, err := openUpkeep(ctx, url, size)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, u.closeStore()) }()
	c.alone = u.pauses
	half := int64(u.lines.made / 2)
	before := u.lines.made
	type result struct {
		report *papyra.CompactReport
		err    error
	}
	ended := make(chan result, 1)
	began := time.Now()
	go func() {
		r, err := u.store.Compact(ctx, papyra.CompactOptions{At: time.Now(), Retention: papyra.Retention{General: papyra.Limits{Records: half}}})
		c.took = time.Since(began)
		ended <- result{r, err}
	}()
	var r *result
	c.during, err = u.appendUntil(ctx, func() bool {
		select {
		case got := <-ended:
			r = &got
			return true
		default:
			return false
		}
	})
	if r == nil {
		got := <-ended
		r = &got
	}
	if err = errors.Join(err, r.err); err != nil {
		return c, err
	}
	if got, want := r.report.RecordsBefore-r.report.RecordsAfter, int64(before)-half; got < want {
		return c, fmt.Errorf("%d records were removed instead of %d", got, want)
	}
	c.pause = time.Duration(r.report.Pause)
	c.size = r.report.BytesBefore
	c.meanwhile = int64(c.during.records) * (size / int64(before))
	return c, u.verifyClean(ctx)
}

// measureRotation prints how long appends take that rotate a full set of files.
func measureRotation(ctx context.Context, c config, path string, out io.Writer) (err error) {
	bound := int64(max(c.store/4, 1)) << 20
	u, err := openUpkeep(ctx, "rotating:"+backend.EscapePath(path)+fmt.Sprintf("?max_bytes=%d&max_files=3", bound), 3*bound)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.closeStore()) }()
	var with, without pauses
	for seen := u.out.Stats().DroppedFiles; seen < u.out.Stats().DroppedFiles+1; {
		u.pauses = pauses{}
		if err := u.appendOnce(ctx); err != nil {
			return err
		}
		to := &without
		if now := u.out.Stats().DroppedFiles; now != seen {
			seen, to = now, &with
		}
		to.records++ // here it counts appends
		to.in += u.pauses.in
		to.longest = max(to.longest, u.pauses.longest)
		if with.records == rotations {
			break
		}
	}
	fmt.Fprintf(out, "\nRotation of a full set of 3 files of %d MiB, appended to at full speed in batches of %d KiB.\n\n", bound>>20, appendBytes>>10)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "appends\tmean\tlongest\t ")
	for _, row := range []struct {
		name string
		p    pauses
	}{{"append that does not rotate", without}, {"append that rotates, and drops the oldest file", with}} {
		fmt.Fprintf(t, "%d\t%s\t%s\t   %s\n", row.p.records, shortDuration(row.p.in/time.Duration(max(row.p.records, 1))), shortDuration(row.p.longest), row.name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return u.verifyClean(ctx)
}
