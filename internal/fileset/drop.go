package fileset

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// dropped is a file that has left the set as .NAME.dropping-<hex> and is
// unlinked as soon as its reports are durable. The ID of these ends in the same
// digits, by which a later process knows them.
type dropped struct {
	path           string
	reports        [][]byte // lines that are not appended yet, those that stay first
	kept           int      // of them, how many are reports that stay as they are
	records, bytes int64
}

// manyRuns is how many runs the carried reports of one dropped file may name
// before it is looked up which of them have anything left in the store.
const manyRuns = 1024

// keptShare is which part of a file the reports may take that stay as they are.
const keptShare = 4

// drop takes one file out of the set, after what it holds was noted.
func (w *writer) drop(ctx context.Context, m listed) error {
	s := w.s
	l := w.ahead.take(m)
	if l == nil {
		var err error
		if l, err = s.leave(m); err != nil {
			return err
		}
	}
	defer l.f.Close()
	d, err := s.readDropped(ctx, l, randomHex(), false)
	if err != nil {
		return err
	}
	if err := s.move(s.beside(m.base), d.path); err != nil {
		return err
	}
	w.drops = append(w.drops, d)
	return nil
}

// readDropped reads the rest of a file that is to go, or is about to, and makes
// its reports. Nothing is changed. A part that cannot be read is an error once;
// the next time, or if there will be none, it counts as damaged, so that the bound
// holds all the same.
func (s *Store) readDropped(ctx context.Context, l *leaving, digits string, last bool) (*dropped, error) {
	if err := l.read(disk.Interruptible(ctx, s.disk), 0); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if bad := [2]uint64{l.dev, l.ino}; !last && s.unread != bad {
			s.unread = bad
			return nil, &papyra.StoreError{Op: "read before it is dropped", Path: s.beside(l.base), Offset: l.lines.Offset(), Err: err, Hint: "the next time this counts as damage; check the disk"}
		}
		l.damage(l.unread())
	}
	f, carried, removal := l.file, &l.carried, &l.removal
	gone, err := s.prune(ctx, carried, f)
	if err != nil {
		return nil, err
	}
	for _, rec := range append(gone, carried.Limit(s.maxBytes/keptShare)...) {
		removal.Add(rec)
	}
	d := &dropped{path: s.dropping(digits), records: removal.Records(), bytes: f.size, reports: carried.Kept()}
	d.kept = len(d.reports)
	for _, line := range d.reports {
		d.bytes -= int64(len(line)) // they stay
	}
	now := s.now()
	act := s.rotations().Act(papyra.ActRotate, digits, now)
	removed, err := removal.Reports(act, now)
	if err != nil {
		return nil, err
	}
	told, err := carried.Reports(act, now)
	d.reports = slices.Concat(d.reports, removed, told)
	return d, err
}

// rotations is the signer of the store's rotations.
func (s *Store) rotations() *maintain.Signer {
	if s.signer == nil {
		s.signer = maintain.NewSigner()
	}
	return s.signer
}

// prune makes carried forget the runs of which nothing is left but in f. It
// reads the set, and so does it only when there are many, and then not before
// there are twice as many as remained.
func (s *Store) prune(ctx context.Context, carried *maintain.Carried, f *file) (gone []*papyra.Record, err error) {
	if carried.Runs() <= max(s.pruned, manyRuns) {
		return nil, nil
	}
	sn, err := s.names.open(s.disk)
	if err != nil {
		return nil, err
	}
	defer sn.close()
	alive := map[string]bool{}
	for _, other := range sn.files {
		if other.dev == f.dev && other.ino == f.ino {
			continue
		}
		if err := s.runs(ctx, other, alive); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, nil // who cannot be read may be of any run: all are kept
		}
	}
	gone = carried.Prune(func(run string) bool { return alive[run] })
	s.pruned = 2 * carried.Runs()
	return gone, nil
}

// runs adds the runs of a file's records.
func (s *Store) runs(ctx context.Context, f *file, alive map[string]bool) error {
	var (
		rec papyra.Record
		r   = lines.NewForward(disk.Interruptible(ctx, s.disk), f.f, f.size)
	)
	for n := 1; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if verdict, _ := judgeLine(&rec, &l, false); verdict == judge.Valid && rec.HasIdentity() && !alive[string(rec.Run)] {
			alive[string(rec.Run)] = true
		}
	}
}

// finishDrops appends the reports of what was dropped, makes them durable, and
// unlinks it. After an error it goes on where it was when it is called again.
func (w *writer) finishDrops(ctx context.Context) error {
	if len(w.drops) == 0 {
		return nil
	}
	var data []byte
	for _, d := range w.drops {
		data = append(data, bytes.Join(d.reports, nil)...)
	}
	if len(data) > 0 {
		if w.s.rotates() && !w.active.fresh && !w.active.fits(len(data), w.s.maxBytes) {
			return w.rotate(ctx) // which comes back here, with an empty file
		}
		n, err := w.writeData(data)
		w.appended(n)
		if err != nil {
			return err
		}
	}
	if err := w.sync(); err != nil {
		return err
	}
	for len(w.drops) > 0 {
		d := w.drops[0]
		if err := w.s.disk.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &papyra.StoreError{Op: "remove what was dropped", Path: d.path, Offset: -1, Err: err, Hint: "its records are no longer part of the store; remove it"}
		}
		w.dirDirty = true // without that sync it may come back after a power cut, and is removed again
		w.stats.DroppedFiles++
		w.stats.DroppedRecords += d.records
		w.stats.DroppedBytes += d.bytes
		w.drops = w.drops[1:]
	}
	return nil
}

// appended forgets the reports that stand within the first n bytes of what was
// written.
func (w *writer) appended(n int) {
	for _, d := range w.drops {
		for len(d.reports) > 0 && len(d.reports[0]) <= n {
			n -= len(d.reports[0])
			d.reports = d.reports[1:]
		}
		if len(d.reports) > 0 {
			return
		}
	}
}

// resumeDrops finishes the rotations that a crash interrupted. The append lock
// and the store's lock are held.
func (s *Store) resumeDrops(ctx context.Context) error {
	if !s.numbered {
		return nil
	}
	_, leftovers, _, err := s.list()
	if errors.Is(err, papyra.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var found []string
	for _, left := range leftovers {
		if s.isDropping(left.base) {
			found = append(found, left.base)
		}
	}
	if len(found) == 0 {
		return nil
	}
	if err := s.openWriter(); err != nil {
		return err
	}
	w := s.writer
	for _, base := range found {
		if w.drops != nil && w.isDropped(s.beside(base)) {
			continue
		}
		d, err := s.resumeDrop(ctx, base)
		if err != nil {
			return err
		}
		w.drops = append(w.drops, d)
	}
	return w.finishDrops(ctx)
}

// onlyReports reports whether the active file has no record yet but reports: the
// rotation that made it came no further. It reads up to the first
// other one.
func (s *Store) onlyReports() (bool, error) {
	var (
		rec papyra.Record
		r   = lines.NewForward(s.disk, s.writer.active.f, s.writer.active.size)
	)
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, &papyra.StoreError{Op: "read", Path: s.path(), Offset: r.Offset(), Err: err}
		}
		if verdict, _ := judgeLine(&rec, &l, true); verdict == judge.Valid && rec.Kind != papyra.KindReport {
			return false, nil
		}
	}
}

func (w *writer) isDropped(path string) bool {
	for _, d := range w.drops {
		if d.path == path {
			return true
		}
	}
	return false
}

func (s *Store) resumeDrop(ctx context.Context, base string) (*dropped, error) {
	digits := base[len(base)-hexDigits:]
	m, err := s.lookAt(base)
	if err != nil {
		return nil, err
	}
	l, err := s.leave(m)
	if err != nil {
		return nil, err
	}
	defer l.f.Close()
	d, err := s.readDropped(ctx, l, digits, true)
	if err != nil {
		return nil, err
	}
	kept := map[string]bool{}
	for _, line := range d.reports[:d.kept] {
		kept[string(line)] = true
	}
	n, err := s.reportsOf(ctx, digits, kept)
	if err != nil {
		return nil, err
	}
	// They are appended in order, so that a crash can only have cut off the last.
	reports := d.reports[min(d.kept+n, len(d.reports)):]
	stay := slices.DeleteFunc(d.reports[:d.kept], func(line []byte) bool { return !kept[string(line)] })
	d.reports = slices.Concat(stay, reports)
	return d, nil
}

// reportsOf counts the RemovalReports in the set whose ID ends in digits. What
// it meets of the kept lines on the way, it removes from these.
func (s *Store) reportsOf(ctx context.Context, digits string, kept map[string]bool) (int, error) {
	sn, err := s.names.open(s.disk)
	if err != nil {
		return 0, err
	}
	defer sn.close()
	var (
		rec   papyra.Record
		count int
		quote = []byte("-" + digits + `"`)
	)
	for i := len(sn.files) - 1; i >= 0 && count == 0; i-- { // they lie in one file, probably the newest
		f := sn.files[i]
		r := lines.NewForward(disk.Interruptible(ctx, s.disk), f.f, f.size)
		for n := 1; ; n++ {
			if n%1024 == 0 && ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			l, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return 0, &papyra.StoreError{Op: "read", Path: s.beside(f.base), Offset: r.Offset(), Err: err}
			}
			if len(kept) > 0 && l.Ended {
				delete(kept, string(l.Bytes)+"\n")
			}
			if bytes.Contains(l.Bytes, quote) && papyra.ParseInto(&rec, l.Bytes) == nil &&
				rec.Kind == papyra.KindReport && string(rec.Type) == papyra.ReportRemoval {
				count++
			}
		}
	}
	return count, nil
}
