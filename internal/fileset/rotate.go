package fileset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset/disk"
)

// rotates reports whether the bound applies to what is written now. Only an
// appender rotates: a tool may have been told no limits, or other ones. So its act
// appends reports without a bound and leaves the rotation to the next appender.
func (s *Store) rotates() bool { return s.maxFiles > 0 && s.appender != nil }

// makeRoom rotates if the active file has no room for a line of so many bytes, and
// returns how many bytes the next write may have. A line for which no file has room
// gets a file of its own. Behind the reports of a rotation there is always room for
// one line: otherwise, under a bound smaller than the report, a rotation would only
// ever lead to the next one.
func (w *writer) makeRoom(ctx context.Context, line int) (int, error) {
	s := w.s
	if !s.rotates() {
		return maxWrite, nil
	}
	if err := w.finishDepartures(ctx); err != nil {
		return 0, err
	}
	if !w.active.fresh && !w.active.fits(line, s.maxBytes) {
		if err := w.rotate(ctx); err != nil {
			return 0, err
		}
	}
	return int(min(maxWrite, max(s.maxBytes-w.active.size-int64(w.active.lead()), 0))), nil
}

// rotate gives the active file its number and begins a new one. docs/format.md says
// in full what a crash leaves; in short:
//
//	step                                                 a crash before the next step leaves
//	1. the active file ends in a newline and is synced   nothing new
//	2. each file that the bound has no place for is      a hole, and a file that the next holder of
//	   noted and renamed to .NAME.dropping-<hex>         the lock reports and unlinks
//	3. the others shift to make place; the directory     a hole elsewhere, which the next rotation fills
//	   is synced
//	4. the active file gets the lowest number            no active file; the next open makes one
//	5. a new active file is made                         an empty active file
//	6. the reports of what goes are appended to it and   a part of the reports; the next holder of the
//	   synced, the directory too                         lock appends the others
//	7. the files that go are unlinked                    reported files, which the next holder unlinks
//
// So a crash leaves a valid set, at most with a hole, in which no record is missing
// or twice. An error leaves such a state too, and the next append goes on from
// there. Step 2 and steps 6 and 7 are those of a [departure].
func (w *writer) rotate(ctx context.Context) error {
	if err := w.heal(); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	if err := w.giveNumber(ctx); err != nil {
		return err
	}
	if err := w.beginFile(); err != nil {
		return err
	}
	return w.reportAndUnlink()
}

// planRotation lists the set and plans what a rotation does to the files with a
// number. It returns these files too.
func (s *Store) planRotation() (arrangement, map[int]listedFile, error) {
	members, _, odd, err := s.listSet()
	if err != nil {
		return arrangement{}, nil, err
	}
	var (
		byNumber = map[int]listedFile{}
		numbers  []int
		taken    = map[int]bool{}
	)
	for i := len(members) - 1; i >= 0; i-- {
		if m := members[i]; m.number > 0 {
			byNumber[m.number] = m
			numbers = append(numbers, m.number)
		}
	}
	for _, o := range odd {
		if n, ok := s.numberOf(escape.DecodeName(o.File)); ok {
			taken[n] = true
		}
	}
	plan := arrange(numbers, taken, s.maxFiles)
	if plan.place == 0 {
		return plan, nil, &papyra.StoreError{Op: "rotate", Path: s.path(), Offset: -1, Err: papyra.ErrConfig, Hint: odd[0].File + " stands in the place of a file: " + odd[0].Detail + "; remove it"}
	}
	return plan, byNumber, nil
}

// giveNumber does steps 2 to 4.
func (w *writer) giveNumber(ctx context.Context) error {
	s := w.s
	plan, byNumber, err := s.planRotation()
	if err != nil {
		return err
	}
	for _, n := range plan.drop {
		if err := w.dropMember(ctx, byNumber[n]); err != nil {
			return err
		}
	}
	w.ahead.startAnew()
	for _, sh := range plan.shifts {
		if err := s.moveFile(s.member(sh.from), s.member(sh.to)); err != nil {
			return err
		}
	}
	if len(plan.drop)+len(plan.shifts) > 0 {
		if err := disk.SyncDirectory(s.disk, s.dir); err != nil {
			return err
		}
	}
	if err := s.moveFile(s.path(), s.member(plan.place)); err != nil {
		return err
	}
	w.active.numbered, w.dirDirty = true, true
	return nil
}

// moveFile renames a file of the set to a name that is free.
func (s *Store) moveFile(from, to string) error {
	err := s.disk.Move(from, to)
	if errors.Is(err, unix.EEXIST) {
		return &papyra.StoreError{Op: "rotate", Path: from, Offset: -1, Err: err, Hint: to + " has just appeared; find out who made it"}
	}
	if err != nil {
		return &papyra.StoreError{Op: "rotate", Path: from, Offset: -1, Err: err, Hint: cmp.Or(hintFor(err), "its directory must be writable")}
	}
	return nil
}

// beginFile makes the new active file, after the one that is still open got its
// number. The new one has the mode of the old one, and its owner, access control list
// and attributes where we may give them: whoever could read the old one can read the
// new one.
func (w *writer) beginFile() error {
	s := w.s
	fail := func(err error) error {
		return &papyra.StoreError{Op: "make", Path: s.path(), Offset: -1, Err: err, Hint: hintFor(err)}
	}
	info, err := w.active.f.Stat()
	if err != nil {
		return fail(err)
	}
	f, err := disk.MakeFile(s.disk, s.path(), os.O_RDWR|os.O_APPEND, info.Mode().Perm())
	if err != nil {
		return fail(err)
	}
	_ = keepOwner(f, info)
	if keepAttributes(f, w.active.f) == nil {
		_ = f.Chmod(info.Mode().Perm()) // after the list, whose mask it sets
	}
	next, err := s.newActiveFile(f)
	if err != nil {
		f.Close()
		_ = s.disk.Remove(s.path()) // empty
		return err
	}
	next.fresh = true
	w.goOnIn(next)
	w.dirDirty = true
	w.stats.Rotations++
	return nil
}

// checkBound refuses limits under which no set can rotate. Its error wraps
// papyra.ErrConfig.
func checkBound(c *Config) error {
	switch {
	case c.MaxFiles == 0 && c.MaxBytes == 0:
		return nil
	case c.MaxFiles == 1:
		return fmt.Errorf("max_files=1 would throw away the whole file at each rotation: give 2 or more, or use json: for one file without a bound: %w", papyra.ErrConfig)
	case c.MaxFiles < 1:
		return fmt.Errorf("max_files=%d: give 2 or more: %w", c.MaxFiles, papyra.ErrConfig)
	case c.MaxBytes < 1:
		return fmt.Errorf("max_bytes=%d: give a positive size: %w", c.MaxBytes, papyra.ErrConfig)
	case !c.Numbered:
		return fmt.Errorf("only a numbered set rotates: %w", papyra.ErrConfig)
	}
	return nil
}
