package shelf

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/papyra/papyra"
)

// places is the file of a quarantined act that says where each line was.
const places = "places.ndjson"

// Recover moves damaged lines and unfinished books into a directory of the act's
// own: of each book the damaged lines, each with its newline, and an index of
// papyra.Anomaly lines. After a crash, lines may lie both there and in the
// shelf; the next recovery moves them again.
func (s *Shelf) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	ctx, end, err := s.beginAct(ctx, o.DryRun)
	if err != nil {
		return nil, err
	}
	defer end()
	before, err := s.scan(ctx, papyra.ScanOptions{Full: true, Now: o.Now, Progress: o.Progress}, !o.DryRun)
	if err != nil {
		return nil, err
	}
	a := newAct(time.Now())
	r := &recovery{s: s, removal: newRemoval(), changes: &changes{s: s}}
	defer r.changes.drop()
	if err := r.find(ctx, !o.DryRun); err != nil {
		return nil, err
	}
	report := &papyra.RecoverReport{
		Backend: s.URL(), DryRun: o.DryRun, Before: before, Moved: r.removal.damaged, MovedBytes: r.removal.damagedBytes,
	}
	if report.Moved > 0 {
		report.Mistake = papyra.RecoverMistake(before)
	}
	if o.DryRun {
		return report, nil
	}
	if report.Moved == 0 {
		report.After = before
		return report, nil
	}
	if o.Approve != nil {
		if err := o.Approve(report); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil { // from here on the act is carried out
		return nil, context.Cause(ctx)
	}
	report.Act = a.id
	if o.QuarantineDir == "" {
		o.QuarantineDir = s.path("quarantine")
	}
	report.Quarantine = filepath.Join(o.QuarantineDir, a.id)
	if err := r.save(report.Quarantine); err != nil {
		return nil, err
	}
	if err := r.replace(); err != nil {
		return nil, err
	}
	if _, err := s.carryOut(a, r.removal.reports(papyra.ActRecover, a.id), r.changes, papyra.ReportRecoveryPerformed, &papyra.RecoveryPerformed{
		ID: a.id, Moved: report.Moved, MovedBytes: report.MovedBytes, Quarantine: report.Quarantine, Counts: before.AnomalyCounts,
		ActEnd: papyra.ActEnd{End: papyra.EndDone},
	}); err != nil {
		return nil, err
	}
	report.After, err = s.scan(ctx, papyra.ScanOptions{Full: true, Now: o.Now}, true)
	return report, err
}

// recovery is what one finds and moves.
type recovery struct {
	reader
	s       *Shelf
	damaged []damagedBook
	parts   []string
	removal *removal
	changes *changes
}

type damagedBook struct {
	name  string
	moved []byte
	stays [][]byte
	index []papyra.Anomaly
}

func (r *recovery) find(ctx context.Context, mine bool) (err error) {
	books, err := r.s.list()
	if err != nil {
		return err
	}
	for _, name := range books {
		list, err := r.s.entries(ctx, name)
		if errors.Is(err, errNotAFile) {
			continue // it stays: the scan has named it
		}
		if err != nil {
			return err
		}
		if b := r.sort(name, list); len(b.moved) > 0 {
			r.damaged = append(r.damaged, b)
			r.removal.damaged += int64(len(b.index))
			r.removal.damagedBytes += int64(len(b.moved))
		}
	}
	parts, left, err := r.s.leftovers(mine)
	if err != nil {
		return err
	}
	if left {
		r.parts = parts
	}
	for _, name := range r.parts {
		info, err := os.Lstat(r.s.path(name))
		if err != nil {
			return failed("look at", r.s.path(name), err)
		}
		r.removal.damaged++
		r.removal.damagedBytes += info.Size()
	}
	return nil
}

// sort parts the damaged lines of a book from the others.
func (r *recovery) sort(name string, list []entry) damagedBook {
	b := damagedBook{name: name}
	var rec papyra.Record
	for _, e := range list {
		_, damage := r.judge(&rec, e.text)
		if damage == nil {
			b.stays = append(b.stays, e.raw)
			continue
		}
		b.moved = append(b.moved, e.raw...)
		b.index = append(b.index, papyra.Anomaly{
			Class: damage.Class, File: name, Line: e.number, Offset: e.offset, Length: int64(len(e.text)), Detail: damage.Detail,
		})
	}
	return b
}

// save makes the quarantine of the act, durably.
func (r *recovery) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return failed("make", dir, err)
	}
	var index []byte
	for _, b := range r.damaged {
		for i := range b.index {
			line, err := json.Marshal(&b.index[i])
			if err != nil {
				return err
			}
			index = append(append(index, line...), '\n')
		}
		if err := saveFile(dir, b.name, b.moved); err != nil {
			return err
		}
	}
	for _, name := range r.parts {
		data, err := os.ReadFile(r.s.path(name))
		if err != nil {
			return failed("read", r.s.path(name), err)
		}
		if err := saveFile(dir, name, data); err != nil {
			return err
		}
	}
	if err := saveFile(dir, places, index); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)), syncDir(filepath.Dir(filepath.Dir(dir))))
}

func saveFile(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return failed("save", path, err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return failed("save", path, err)
	}
	return nil
}

// replace prepares the books without their damage, and the end of what was never
// finished.
func (r *recovery) replace() error {
	for _, b := range r.damaged {
		if err := r.changes.prepare(b.name, b.stays); err != nil {
			return err
		}
	}
	for _, name := range r.parts {
		if err := r.changes.prepare(name, nil); err != nil {
			return err
		}
	}
	return nil
}
