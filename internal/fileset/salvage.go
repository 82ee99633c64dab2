package fileset

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// Scan scans what is pinned, and shows the reports to see.
func (p *pinnedSet) Scan(o papyra.ScanOptions, see func(*papyra.Record)) (*papyra.ScanReport, error) {
	sc := p.s.newScan(p.snapshot, o, p.writer)
	sc.see = see
	report, err := sc.scanSet(p.ctx)
	if err == nil && report.Incomplete {
		p.readable, p.odd = false, report.Anomalies
	}
	return report, err
}

// ScanAgain scans the set as it is now.
func (p *pinnedSet) ScanAgain(o papyra.ScanOptions) (*papyra.ScanReport, error) {
	sn, err := p.s.pinSet()
	if err != nil {
		return nil, err
	}
	defer sn.close()
	return p.s.newScan(sn, o, "").scanSet(p.ctx)
}

// salvage is the damage of a pinned set on its way into quarantine.
type salvage struct {
	p       *pinnedSet
	q       *quarantine // nil with DryRun
	advance func(int64)
	removal maintain.Removal

	places  map[*pinnedFile]maintain.Removal // how much each file loses
	damaged []*pinnedFile                    // to be rewritten
	found   bool                             // anything at all
	endless bool                             // the active file's last line has no newline, and goes
}

// Salvage copies all damage into a quarantine act and makes that durable.
func (p *pinnedSet) Salvage(id string, o papyra.RecoverOptions, advance func(int64)) (maintain.Salvage, error) {
	sv := &salvage{p: p, advance: advance}
	if o.DryRun {
		return sv, sv.eachDamage(func(string, *os.File, damagedPlace) error { return nil })
	}
	q, err := p.s.newQuarantine(o.QuarantineDir, id, o.Now)
	if err != nil {
		return nil, err
	}
	err = sv.eachDamage(func(file string, f *os.File, pl damagedPlace) error { return q.savePlace(p.ctx, file, f, pl) })
	if err == nil && sv.removal.Damaged > 0 {
		err = q.completeAct()
	}
	if err != nil || sv.removal.Damaged == 0 {
		q.abandon()
		return sv, err
	}
	sv.q = q
	return sv, nil
}

// Removal returns what goes.
func (sv *salvage) Removal() *maintain.Removal { return &sv.removal }

// Quarantine returns the directory of the act as text.
func (sv *salvage) Quarantine() string { return escape.EncodeName(sv.q.dir) }

// Close closes the files of the act.
func (sv *salvage) Close() {
	if sv.q != nil {
		sv.q.close()
	}
}

// Prepare writes the new file that will replace the first damaged one.
func (sv *salvage) Prepare() (err error) {
	if len(sv.damaged) > 0 {
		sv.p.prepared, err = sv.withoutDamage(sv.damaged[0])
	}
	return err
}

// Move rewrites the damaged files without what the quarantine holds, and removes
// the leftovers.
func (sv *salvage) Move() (moved maintain.Removal, err error) {
	for _, f := range sv.damaged {
		placed, err := sv.rewriteDamaged(f)
		if errors.Is(err, errGone) && sv.p.s.maxFiles > 0 {
			continue // rotated away meanwhile, and reported by the rotation
		}
		if placed {
			moved.Damaged += sv.places[f].Damaged
			moved.DamagedBytes += sv.places[f].DamagedBytes
		}
		if err != nil {
			return moved, err
		}
	}
	return moved, sv.removeLeftovers(&moved)
}

// visitor is called with a damaged place in a file, which is open as f. file is its
// name as text.
type visitor func(file string, f *os.File, p damagedPlace) error

// eachDamage calls visit for each damaged place of the pinned set, file by file
// and in order of offset, and then for each leftover. It counts them.
func (sv *salvage) eachDamage(visit visitor) error {
	counted := func(file string, f *os.File, p damagedPlace) error {
		if err := visit(file, f, p); err != nil {
			return err
		}
		if !p.healed {
			sv.removal.Damaged++
			sv.removal.DamagedBytes += p.length
		}
		return nil
	}
	sv.places = map[*pinnedFile]maintain.Removal{}
	for _, f := range sv.p.files {
		before := sv.removal
		if err := sv.visitFile(f, counted); err != nil {
			return err
		}
		sv.places[f] = maintain.Removal{Damaged: sv.removal.Damaged - before.Damaged, DamagedBytes: sv.removal.DamagedBytes - before.DamagedBytes}
	}
	leftovers := sv.leftovers()
	if sv.p.writer != "" {
		leftovers = nil // somebody may be working on them
	}
	if f := sv.p.active(); f != nil && (sv.found || len(leftovers) > 0) {
		if err := sv.visitMissingNewline(f, counted); err != nil {
			return err
		}
	}
	for _, left := range leftovers {
		if err := sv.visitLeftover(left, counted); err != nil {
			return err
		}
	}
	return nil
}

// visitFile visits the damaged places of one file.
func (sv *salvage) visitFile(f *pinnedFile, visit visitor) error {
	var rec papyra.Record
	found := false
	err := sv.p.visitForward(f, nil, func(l maintain.Line) (bool, error) {
		at := &sv.p.line.Line
		sv.advance(at.Size())
		verdict, damage := l.Judge(&rec, true)
		if verdict != judge.Damaged || l.Unfinished() {
			return false, nil
		}
		found = true
		for _, p := range damagedPlaces(f.text, at, damage) {
			if err := visit(f.text, f.f, p); err != nil {
				return false, err
			}
			sv.endless = f.number == 0 && at.Open() && p.off == at.Offset && p.length == at.Length
		}
		return false, nil
	})
	if found {
		sv.found = true
		sv.damaged = append(sv.damaged, f)
	}
	return err
}

// visitMissingNewline visits the end of the active file if its last line stays and
// has no newline. The newline is written before the act's reports.
func (sv *salvage) visitMissingNewline(f *pinnedFile, visit visitor) error {
	if f.size == 0 || sv.endless {
		return nil
	}
	var last [1]byte
	if err := disk.ReadFull(sv.p.s.disk, f.f, last[:], f.size-1); err != nil {
		return sv.p.cannotRead(f, f.size-1, err)
	}
	if last[0] == '\n' {
		return nil
	}
	return visit(f.text, f.f, damagedPlace{off: f.size, newline: true, healed: true, anomaly: papyra.Anomaly{Class: papyra.ClassTruncated}})
}

// leftovers returns the leftovers that are to be moved away. The file that a
// rotation was about to drop is none of them: who takes the lock finishes that
// rotation first.
func (sv *salvage) leftovers() (out []leftover) {
	s := sv.p.s
	for _, left := range sv.p.snapshot.leftovers {
		if !s.numbered || !s.isDropping(left.base) {
			out = append(out, left)
		}
	}
	return out
}

// visitLeftover visits all bytes of a leftover.
func (sv *salvage) visitLeftover(left leftover, visit visitor) error {
	path := sv.p.s.beside(left.base)
	f, err := sv.p.s.disk.Open(path, os.O_RDONLY|disk.OpenSafely, 0)
	if err != nil {
		return &papyra.StoreError{Op: "open leftover", Path: path, Offset: -1, Err: err, Hint: "nothing was changed"}
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != left.size) {
		err = errors.New("it has changed meanwhile")
	}
	if err != nil {
		return &papyra.StoreError{Op: "open leftover", Path: path, Offset: -1, Err: err, Hint: "nothing was changed; try again"}
	}
	return visit(escape.EncodeName(left.base), f, damagedPlace{length: left.size, anomaly: papyra.Anomaly{Class: papyra.ClassLeftover}})
}

// rewriteDamaged replaces a file by one without the damaged places.
func (sv *salvage) rewriteDamaged(f *pinnedFile) (placed bool, err error) {
	rp := sv.p.takePrepared(f)
	if rp == nil {
		if rp, err = sv.withoutDamage(f); err != nil {
			return false, err
		}
	}
	_, placed, err = rp.place(sv.p.ctx)
	return placed, err
}

// withoutDamage writes a new file without the damaged places of a pinned one. It reads
// these from the index of the quarantine.
func (sv *salvage) withoutDamage(f *pinnedFile) (*replacement, error) {
	s := sv.p.s
	tail := f.size
	if f.number == 0 && sv.endless {
		tail++ // the newline that ended the fragment afterwards goes with it
	}
	return s.prepareFile(f, tail, func(w io.Writer) error {
		w = &countingWriter{w: w, advance: sv.advance}
		at := int64(0)
		err := sv.q.eachEntry(func(e *Saved) error {
			if e.File != f.text || e.Offset == f.size {
				return nil // a newline at the end is copied with what follows it
			}
			if err := disk.CopyRange(sv.p.ctx, s.disk, w, f.f, at, e.Offset); err != nil {
				return err
			}
			at = e.Offset + e.Length
			if e.InsertedNewlines > 0 {
				_, err := w.Write(newline)
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
		return disk.CopyRange(sv.p.ctx, s.disk, w, f.f, at, f.size)
	})
}

// countingWriter calls advance with the bytes that it has written.
type countingWriter struct {
	w       io.Writer
	advance func(int64)
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.advance(int64(n))
	return n, err
}

// removeLeftovers removes the leftovers, which are in quarantine now.
func (sv *salvage) removeLeftovers(moved *maintain.Removal) error {
	s, leftovers := sv.p.s, sv.leftovers()
	if len(leftovers) == 0 {
		return nil
	}
	for _, left := range leftovers {
		path := s.beside(left.base)
		if err := s.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &papyra.StoreError{Op: "remove leftover", Path: path, Offset: -1, Err: err, Hint: "it is in quarantine already; remove it"}
		}
		moved.Damaged++
		moved.DamagedBytes += left.size
	}
	return disk.SyncDirectory(s.disk, s.dir)
}
