package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/papyra/papyra"
)

// everything asks for every stored record, each copy of a duplicate too.
var everything = papyra.Query{Duplicates: true}

// inspect reads the target. One that does not exist holds nothing.
func (c *copying) inspect(ctx context.Context, step Step) (*contents, error) {
	found, err := c.readTarget(ctx, step)
	if err != nil || found.acts == 0 || c.acts != nil {
		return found, err
	}
	// Its reports of acts are copies, or tell of acts on itself: only the source
	// knows.
	c.acts = actSet{}
	_, err = c.from.Read(ctx, papyra.Query{
		Kinds: []papyra.Kind{papyra.KindReport}, Systems: []string{papyra.SystemReserved}, Duplicates: true,
	}, func(rec *papyra.Record, _ papyra.Place) error {
		if isAct(rec) {
			c.acts.add(rec)
		}
		return nil
	})
	if err != nil && !errors.Is(err, papyra.ErrIncomplete) {
		return nil, fmt.Errorf("read the source %s: %w", c.from.URL(), err)
	}
	return c.readTarget(ctx, step)
}

func (c *copying) readTarget(ctx context.Context, step Step) (*contents, error) {
	found := newContents()
	total := int64(0)
	if c.done != nil {
		total = c.done.bytes
	}
	damaged, err := c.to.Read(ctx, everything, func(rec *papyra.Record, place papyra.Place) error {
		found.end = place.Offset + int64(len(rec.Line)) + 1
		if isAct(rec) {
			if c.acts != nil && !c.acts.has(rec) {
				found.own++
				return nil
			}
			found.acts++
		}
		if found.add(rec); found.records%progressRecords == 0 {
			c.progress(step, found.bytes, total)
		}
		return nil
	})
	found.damaged = damaged
	if errors.Is(err, papyra.ErrNotFound) {
		return newContents(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the target %s: %w", c.to.URL(), err)
	}
	return found, nil
}

// progressRecords is after how many records progress is told.
const progressRecords = 1024

// torn are the classes of damage that a copy leaves in its target when it is
// killed or the power goes.
var torn = []papyra.Class{papyra.ClassTruncated, papyra.ClassNULRun, papyra.ClassLeftover}

// checkDamage refuses a target with damage that no copy leaves: it may be a file
// that never was a store.
func (c *copying) checkDamage(ctx context.Context, held *contents) error {
	if held.damaged == 0 {
		return nil
	}
	report, err := c.to.Scan(ctx, papyra.ScanOptions{MaxListed: 1})
	if err != nil {
		return fmt.Errorf("scan the target %s: %w", c.to.URL(), err)
	}
	for class, n := range report.AnomalyCounts {
		if n > 0 && !slices.Contains(torn, class) {
			return fmt.Errorf("copy into %s: it holds damage that an interrupted copy does not leave (%s): name an empty target, or recover this one first: %w",
				c.to.URL(), class, papyra.ErrUsage)
		}
	}
	return nil
}

// foreign is the refusal of a target.
func (c *copying) foreign(s papyra.Stream, n int64) error {
	return fmt.Errorf("copy into %s: what it holds of stream %s (%d records) is not the beginning of that stream in %s: name a target that is empty or was begun by the same copy: %w",
		c.to.URL(), s, n, c.from.URL(), papyra.ErrUsage)
}

// packing follows how an appender fills the files of a bounded set: a line that
// does not fit behind the others begins a new file.
type packing struct {
	maxBytes int64
	maxFiles int
	files    int
	size     int64 // of the file that is appended to
	rotated  bool
}

func (p *packing) add(size int64) {
	if p.size > 0 && p.size+size > p.maxBytes {
		p.files++
		p.size = 0
		p.rotated = true
	}
	p.size += size
}

// drops reports whether a rotation finds no place.
func (p *packing) drops() bool { return p.rotated && p.files > p.maxFiles }

// newPacking returns the packing of the target as it is, or nil if nothing
// bounds it.
func (c *copying) newPacking(ctx context.Context) (*packing, error) {
	limit := c.to.Traits()
	if limit.MaxBytes == 0 {
		return nil, nil
	}
	p := &packing{maxBytes: limit.MaxBytes, maxFiles: limit.MaxFiles, files: 1}
	report, err := c.to.Scan(ctx, papyra.ScanOptions{MaxListed: 1})
	if errors.Is(err, papyra.ErrNotFound) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("scan the target %s: %w", c.to.URL(), err)
	}
	p.files = max(1, int(report.Files))
	// Where what is no record lies is not known. A file that is taken for fuller
	// than it is only needs a new one sooner.
	p.size = c.held.end + max(report.Bytes-c.held.bytes, 0)
	return p, nil
}
