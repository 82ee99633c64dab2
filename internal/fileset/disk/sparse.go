package disk

import (
	"bytes"
	"os"
)

// holeSize is how many NUL bytes in a row become a hole: the size of a page.
const holeSize = 4096

var holeBytes [holeSize]byte

// SparseWriter writes a new file, which is empty and was opened with O_APPEND, through a
// disk. Long runs of NUL bytes take no room in it. The end of the file is right only
// after Flush. It is not safe for concurrent use.
type SparseWriter struct {
	Disk Disk
	File *os.File

	size  int64 // of the file
	zeros int64 // NUL bytes that come behind it
}

// Write writes b.
func (w *SparseWriter) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		rest := b[done:]
		if n := leadingZeros(rest); n > 0 {
			w.zeros += int64(n)
			done += n
			continue
		}
		if err := w.Flush(); err != nil {
			return done, err
		}
		n, err := Writer{w.Disk, w.File}.Write(rest[:beforeHole(rest)])
		w.size += int64(n)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Flush brings the file to its end.
func (w *SparseWriter) Flush() error {
	if w.zeros >= holeSize {
		if err := w.Disk.Truncate(w.File, w.size+w.zeros); err != nil {
			return err
		}
		w.size, w.zeros = w.size+w.zeros, 0
	}
	for w.zeros > 0 {
		n, err := Writer{w.Disk, w.File}.Write(holeBytes[:w.zeros])
		w.size += int64(n)
		w.zeros -= int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// leadingZeros returns with how many NUL bytes b begins.
func leadingZeros(b []byte) int {
	n := 0
	for len(b)-n >= holeSize && bytes.Equal(b[n:n+holeSize], holeBytes[:]) {
		n += holeSize
	}
	for n < len(b) && b[n] == 0 {
		n++
	}
	return n
}

// beforeHole returns how much of b, which begins with another byte, is to be written
// before the next run of NUL bytes that is surely long enough.
func beforeHole(b []byte) int {
	for at := holeSize; at+holeSize <= len(b); at += holeSize {
		if b[at] == 0 && bytes.Equal(b[at:at+holeSize], holeBytes[:]) {
			for b[at-1] == 0 {
				at--
			}
			return at
		}
	}
	return len(b)
}
