package fileset

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/judge"
)

// dropMember takes one file out of the set, after it was noted what it holds.
func (w *writer) dropMember(ctx context.Context, m listedFile) error {
	d := w.ahead.takeDeparture(m)
	if d == nil {
		var err error
		if d, err = w.s.openDeparture(m); err != nil {
			return err
		}
	}
	defer d.closeFile()
	if err := d.note(ctx, randomHex(), false); err != nil {
		return err
	}
	if err := d.rename(); err != nil {
		return err
	}
	w.departures = append(w.departures, d)
	return nil
}

// finishDepartures brings the files that are out of the set to their end. Where
// the active file has no room for their reports, it rotates, and the reports go to
// the new file. After an error it goes on where it was when it is called again.
func (w *writer) finishDepartures(ctx context.Context) error {
	if len(w.departures) == 0 {
		return nil
	}
	size := 0
	for _, d := range w.departures {
		for _, line := range d.reports {
			size += len(line)
		}
	}
	if size > 0 && w.s.rotates() && !w.active.fresh && !w.active.fits(size, w.s.maxBytes) {
		return w.rotate(ctx)
	}
	return w.reportAndUnlink()
}

// reportAndUnlink appends the reports of the files that are out of the set, makes
// them durable, and only then unlinks the files.
func (w *writer) reportAndUnlink() error {
	if err := w.appendDepartureReports(); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	for _, d := range w.departures {
		d.state = departureReported
	}
	for len(w.departures) > 0 {
		d := w.departures[0]
		if err := d.unlink(); err != nil {
			return err
		}
		w.dirDirty = true // without that sync the file may come back after a power cut, and is removed again
		w.stats.DroppedFiles++
		w.stats.DroppedRecords += d.records
		w.stats.DroppedBytes += d.bytes
		w.departures = w.departures[1:]
	}
	return nil
}

// appendDepartureReports appends, in one write, the reports that do not stand in
// the store yet.
func (w *writer) appendDepartureReports() error {
	var data []byte
	for _, d := range w.departures {
		data = append(data, bytes.Join(d.reports, nil)...)
	}
	if len(data) == 0 {
		return nil
	}
	n, err := w.writeData(data)
	for _, d := range w.departures {
		var complete bool
		if n, complete = d.markAppended(n); !complete {
			break
		}
	}
	return err
}

// resumeDrops finishes the rotations that a crash interrupted: each dropping file
// becomes a departure again, in the state that the crash left. The append lock and
// the store's lock are held.
func (s *Store) resumeDrops(ctx context.Context) error {
	if !s.numbered {
		return nil
	}
	_, leftovers, _, err := s.listSet()
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
		if w.isDeparting(s.beside(base)) {
			continue
		}
		d, err := s.resumeDeparture(ctx, base)
		if err != nil {
			return err
		}
		w.departures = append(w.departures, d)
	}
	return w.finishDepartures(ctx)
}

// isDeparting reports whether the file at path is out of the set by our own doing.
func (w *writer) isDeparting(path string) bool {
	return slices.ContainsFunc(w.departures, func(d *departure) bool { return d.path == path })
}

// resumeDeparture returns the departure of a dropping file that somebody has left,
// with the reports that are not in the set yet.
func (s *Store) resumeDeparture(ctx context.Context, base string) (*departure, error) {
	m, err := s.lookAt(base)
	if err != nil {
		return nil, err
	}
	d, err := s.openDeparture(m)
	if err != nil {
		return nil, err
	}
	defer d.closeFile()
	if err := d.note(ctx, base[len(base)-hexDigits:], true); err != nil {
		return nil, err
	}
	missing := map[string]bool{} // of those that stay as they are
	for _, line := range d.reports[:d.staying] {
		missing[string(line)] = true
	}
	written, err := s.findReports(ctx, d.digits, missing)
	if err != nil {
		return nil, err
	}
	// They are appended in order, so that a crash can only have cut off the last.
	reports := d.reports[min(d.staying+written, len(d.reports)):]
	stay := slices.DeleteFunc(d.reports[:d.staying], func(line []byte) bool { return !missing[string(line)] })
	d.reports = slices.Concat(stay, reports)
	d.markRenamed(d.path)
	return d, nil
}

// findReports counts the RemovalReports in the set whose ID ends in digits. From
// missing it removes the lines that it meets on the way.
func (s *Store) findReports(ctx context.Context, digits string, missing map[string]bool) (int, error) {
	sn, err := s.names.openSet(s.disk)
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
			if len(missing) > 0 && l.Ended {
				delete(missing, string(l.Bytes)+"\n")
			}
			if bytes.Contains(l.Bytes, quote) && papyra.ParseInto(&rec, l.Bytes) == nil &&
				rec.Kind == papyra.KindReport && string(rec.Type) == papyra.ReportRemoval {
				count++
			}
		}
	}
	return count, nil
}

// holdsOnlyReports reports whether the active file has no record but reports: then
// the rotation that made it came no further. It reads up to the first other record.
func (s *Store) holdsOnlyReports() (bool, error) {
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
