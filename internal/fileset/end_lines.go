package fileset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

// EndLines ends the last line of each file of the set with a newline where it has
// none, and makes that durable. Nothing is cut: a complete record stays one, and
// nothing that is appended later can merge with it. dryRun only counts the files.
func (p *pinnedSet) EndLines(dryRun bool) (ended int64, err error) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	members, _, _, err := s.listSet()
	if err != nil {
		return 0, err
	}
	for _, m := range members {
		done, err := s.endLine(m, dryRun)
		if err != nil {
			return ended, err
		}
		if done {
			ended++
		}
	}
	return ended, nil
}

// endLine is EndLines for one file. The append lock is held.
func (s *Store) endLine(m listedFile, dryRun bool) (ended bool, err error) {
	path := s.beside(m.base)
	if m.number == 0 && s.writer != nil {
		return false, nil // the appender has ended it
	}
	flags := os.O_RDWR | os.O_APPEND | disk.OpenSafely
	if dryRun {
		flags = os.O_RDONLY | disk.OpenSafely
	}
	f, err := s.disk.Open(path, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &papyra.StoreError{Op: "open", Path: path, Offset: -1, Err: err, Hint: hintFor(err)}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	if err := disk.ReadFull(s.disk, f, last[:], info.Size()-1); err != nil {
		return false, &papyra.StoreError{Op: "read", Path: path, Offset: info.Size() - 1, Err: fmt.Errorf("%w: %w", papyra.ErrIncomplete, err)}
	}
	if last[0] == '\n' || dryRun {
		return last[0] != '\n', nil
	}
	if _, err = s.disk.Write(f, newline); err == nil {
		err = s.disk.Sync(f)
	}
	if err != nil {
		return false, &papyra.StoreError{Op: "end the last line", Path: path, Offset: info.Size(), Err: err, Hint: hintFor(err)}
	}
	return true, nil
}
