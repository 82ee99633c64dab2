package fileset

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/maintain"
)

// Reserve keeps room free in a file beside the store, .NAME.reserve, which nobody
// reads. An act that is killed leaves it; the next one replaces it.
func (p *pinnedSet) Reserve(bytes int64) (shrink func(to int64), err error) {
	s, path := p.s, p.s.reserve()
	fail := func(err error) error {
		return &papyra.StoreError{Op: "reserve room for reports in", Path: path, Offset: -1, Err: err, Hint: "make room, and run the command again"}
	}
	if err := s.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(err)
	}
	f, err := disk.MakeFile(s.disk, path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, fail(err)
	}
	if err := fillReserve(s.disk, f, bytes); err != nil {
		f.Close()
		_ = s.disk.Remove(path)
		return nil, fail(err)
	}
	return func(to int64) {
		if to > 0 {
			_ = s.disk.Truncate(f, to)
			return
		}
		f.Close()
		_ = s.disk.Remove(path)
	}, nil
}

// fillReserve gives a file so many bytes of the disk. A file system that cannot
// do that at once gets zeros written.
func fillReserve(d disk.Disk, f *os.File, bytes int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, bytes)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	zeros := make([]byte, min(bytes, 64<<10))
	for bytes > 0 {
		n, err := d.Write(f, zeros[:min(bytes, int64(len(zeros)))])
		if err != nil {
			return err
		}
		bytes -= int64(n)
	}
	return nil
}

// Under returns the pinned set under another context.
func (p *pinnedSet) Under(ctx context.Context) maintain.Held {
	other := *p
	other.ctx, other.disk = ctx, disk.Interruptible(ctx, p.s.disk)
	return &other
}

// VisitLeft visits the marked lines of the files that were not replaced.
func (p *pinnedSet) VisitLeft(all maintain.Marks, part maintain.Part, visit func(l maintain.Line)) error {
	m, _ := all.(marks)
	for _, f := range p.files {
		if m[f].first == 0 || m[f].gone {
			continue
		}
		number := m[f].first
		err := p.visitForward(f, m[f], func(l maintain.Line) (bool, error) {
			for !m[f].lines.Contains(uint64(number)) {
				number--
			}
			if m[f].copies.Contains(uint64(number)) == (part == maintain.Copies) {
				visit(l)
			}
			number--
			return false, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
