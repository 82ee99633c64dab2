package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/papyra/papyra"
)

// ErrShrunk is the error of a read before the size that a file had when it was
// opened.
var ErrShrunk = errors.New("the file became shorter while it was read")

// ReadFull fills b from offset off of f. The error is [ErrShrunk] if f has fewer
// bytes.
func ReadFull(d Disk, f *os.File, b []byte, off int64) error {
	n, err := d.ReadAt(f, b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return ErrShrunk
	}
	return err
}

// copySize is the size of the buffer of a copy.
const copySize = 1 << 20

// Writer writes at the end of a file, or at its position, through a disk.
type Writer struct {
	Disk Disk
	File *os.File
}

// Write writes b in one call. A short write that says nothing is io.ErrShortWrite.
func (w Writer) Write(b []byte) (int, error) {
	n, err := w.Disk.Write(w.File, b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Reader reads a file from its beginning through a disk, whatever the position of
// the descriptor.
type Reader struct {
	Disk Disk
	File *os.File

	off int64
}

// Read reads on.
func (r *Reader) Read(b []byte) (int, error) {
	n, err := r.Disk.ReadAt(r.File, b, r.off)
	r.off += int64(n)
	return n, err
}

// CopyRange copies the bytes [from, to) of f to w as they are. It ends with the
// cause of ctx once ctx has ended, and with [ErrShrunk] if f has fewer bytes.
func CopyRange(ctx context.Context, d Disk, w io.Writer, f *os.File, from, to int64) error {
	if from >= to {
		return nil
	}
	buf := make([]byte, min(copySize, to-from))
	for from < to {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := buf[:min(int64(len(buf)), to-from)]
		n, err := d.ReadAt(f, b, from)
		if n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = ErrShrunk
			}
			return &papyra.StoreError{Op: "read", Path: f.Name(), Offset: from + int64(n), Err: err}
		}
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		from += int64(n)
	}
	return nil
}
