package fileset

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
)

// QuarantineActs returns the acts of a quarantine directory that hold pieces of this
// store's files, by the files' names; see [papyra.QuarantineReader].
func (s *Store) QuarantineActs(ctx context.Context, dir string) ([]papyra.QuarantineAct, error) {
	ctx, end, err := s.life.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	above, err := s.openQuarantines(dir, false)
	switch {
	case errors.Is(err, fs.ErrNotExist) && dir == "":
		return nil, s.checkExists()
	case errors.Is(err, fs.ErrNotExist):
		return nil, &papyra.StoreError{Op: "open quarantine", Path: dir, Offset: -1, Err: papyra.ErrNotFound, Hint: "check the path"}
	case err != nil:
		return nil, err
	}
	defer above.Close()
	names, err := above.Names()
	if err != nil {
		return nil, &papyra.StoreError{Op: "list quarantine", Path: above.Path(), Offset: -1, Err: err}
	}
	var acts []papyra.QuarantineAct
	for _, name := range names {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		act, ours, err := s.readAct(above, name)
		if err != nil {
			return nil, err
		}
		if ours {
			acts = append(acts, *act)
		}
	}
	return acts, nil
}

// checkExists returns papyra.ErrNotFound if nothing of the store exists.
func (s *Store) checkExists() error {
	sn, err := s.pinSet()
	if err == nil {
		sn.close()
	}
	return err
}

// readAct says what an act holds. It is not ours if it is no act, or has pieces of
// another store's files.
func (s *Store) readAct(above *disk.Directory, name string) (act *papyra.QuarantineAct, ours bool, err error) {
	path := filepath.Join(above.Path(), name)
	dir, err := above.Directory(name)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, false, nil // something else lies there
	}
	if err != nil {
		return nil, false, actError(path, err)
	}
	defer dir.Close()
	act = &papyra.QuarantineAct{ID: escape.EncodeName(name), Place: escape.EncodeName(path), Counts: map[papyra.Class]int64{}}
	index, err := dir.Open(quarantineIndex, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		b, err := dir.Open(quarantineBytes, os.O_RDONLY, 0)
		if err == nil {
			b.Close()
		}
		return act, err == nil, nil
	}
	if err != nil {
		return nil, false, actError(path, err)
	}
	defer index.Close()
	act.Complete, ours = true, true
	err = eachSaved(s.disk, index, func(e *Saved) error {
		act.Pieces++
		act.Bytes += e.Length
		act.Counts[e.Class]++
		ours = ours && s.owns(e.File)
		return nil
	})
	if err != nil {
		return nil, false, actError(path, err)
	}
	return act, ours, nil
}

// owns reports whether a file of this name, as text, may be one of the store's: a
// member, or a leftover.
func (n names) owns(file string) bool {
	base := escape.DecodeName(file)
	_, numbered := n.numberOf(base)
	return base == n.name || numbered && n.numbered || n.isTemporary(base) || n.isDropping(base) || n.isForeignRest(base)
}

func actError(path string, err error) error {
	return &papyra.StoreError{Op: "read quarantine", Path: path, Offset: -1, Err: err, Hint: hintFor(err)}
}

// QuarantinePieces visits the pieces of an act; see [papyra.QuarantineReader].
func (s *Store) QuarantinePieces(ctx context.Context, dir, act string, yield func(*papyra.QuarantinePiece) error) error {
	ctx, end, err := s.life.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	d := disk.Interruptible(ctx, s.disk)
	index, saved, err := s.openAct(dir, act)
	if err != nil {
		return err
	}
	defer index.Close()
	defer saved.Close()
	sum, buf := sha256.New(), make([]byte, lines.ChunkSize)
	at := int64(0)
	return eachSaved(d, index, func(e *Saved) error {
		content := func() io.Reader { return io.NewSectionReader(readerAt{d, saved}, at, e.Length) }
		if err := checkSum(sum, buf, content(), e); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &papyra.StoreError{Op: "read quarantine", Path: saved.Name(), Offset: at, Err: fmt.Errorf("%w: %w", papyra.ErrIncomplete, err)}
		}
		p := papyra.QuarantinePiece{Content: content()}
		p.Class, p.File, p.Offset, p.Length = e.Class, e.File, e.Offset, e.Length
		at += e.Length
		return yield(&p)
	})
}

// openAct opens the two files of a complete act.
func (s *Store) openAct(dir, act string) (index, saved *os.File, err error) {
	path := filepath.Join(cmp.Or(dir, s.saved()), act)
	none := &papyra.StoreError{Op: "open quarantine", Path: path, Offset: -1, Err: papyra.ErrNotFound, Hint: "papyra-ctl quarantine list names the acts that are complete"}
	name := escape.DecodeName(act)
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return nil, nil, none
	}
	above, err := s.openQuarantines(dir, false)
	if err == nil {
		defer above.Close()
		var in *disk.Directory
		if in, err = above.Directory(name); err == nil {
			defer in.Close()
			if index, err = in.Open(quarantineIndex, os.O_RDONLY, 0); err == nil {
				if saved, err = in.Open(quarantineBytes, os.O_RDONLY, 0); err != nil {
					index.Close()
				}
			}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, none
	}
	if err != nil {
		return nil, nil, actError(path, err)
	}
	return index, saved, nil
}

// readerAt reads a file through a disk.
type readerAt struct {
	d disk.Disk
	f *os.File
}

func (r readerAt) ReadAt(b []byte, off int64) (int, error) { return r.d.ReadAt(r.f, b, off) }

// eachSaved calls visit for each line of an index in order.
func eachSaved(d disk.Disk, index *os.File, visit func(*Saved) error) error {
	r := bufio.NewReaderSize(&disk.Reader{Disk: d, File: index}, lines.ChunkSize)
	for {
		line, err := r.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read index: %w", err)
		}
		var e Saved
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return fmt.Errorf("read index: %w", err)
		}
		if err := visit(&e); err != nil {
			return err
		}
	}
}
