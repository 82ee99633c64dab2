package lines

import (
	"bytes"
	"io"
	"os"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

// Backward reads the lines of a file from the last to the first. It is not safe
// for concurrent use.
type Backward struct {
	disk disk.Disk
	f    *os.File
	buf  []byte
	// Unread bytes are buf[start:end]; they begin at offset pos of the file. What
	// is read is filled from the right.
	start, end int
	pos        int64
	long       long
}

// NewBackward returns a reader of the first size bytes of f. What is appended
// later is not read.
func NewBackward(d disk.Disk, f *os.File, size int64) *Backward {
	r := &Backward{disk: d, f: f, buf: make([]byte, min(size, bufferSize))}
	r.start, r.end, r.pos = len(r.buf), len(r.buf), size
	return r
}

// Offset returns where the bytes begin that have been read so far: after an error
// everything before it is unread.
func (r *Backward) Offset() int64 { return r.pos }

// Unread returns how many bytes the lines have that Next has not returned yet.
func (r *Backward) Unread() int64 { return r.pos + int64(r.end-r.start) }

// ReadThrough makes the reader read through another disk from now on.
func (r *Backward) ReadThrough(d disk.Disk) { r.disk = d }

// fill reads more bytes before the unread ones, or returns io.EOF at the beginning.
func (r *Backward) fill() error {
	if r.pos == 0 {
		return io.EOF
	}
	if r.end < len(r.buf) {
		n := r.end - r.start
		copy(r.buf[len(r.buf)-n:], r.buf[r.start:r.end])
		r.start, r.end = len(r.buf)-n, len(r.buf)
	}
	want := min(int64(r.start), ChunkSize, r.pos)
	if err := disk.ReadFull(r.disk, r.f, r.buf[r.start-int(want):r.start], r.pos-want); err != nil {
		return err
	}
	r.start -= int(want)
	r.pos -= want
	return nil
}

// place moves the unread bytes to the end of another buffer.
func (r *Backward) place(buf []byte) {
	n := copy(buf[len(buf)-(r.end-r.start):], r.buf[r.start:r.end])
	r.buf, r.start, r.end = buf, len(buf)-n, len(buf)
}

// release gives the buffer of a long line back, if the reader has one. What is left
// unread is less than a chunk.
func (r *Backward) release() {
	if r.long.taken() {
		was := r.buf
		r.place(r.long.short)
		r.long.put(was)
	}
}

// Next returns the line before the one that it returned last, or io.EOF before
// the first. A file that has become shorter is disk.ErrShrunk.
func (r *Backward) Next() (Line, error) {
	r.release()
	if r.start == r.end {
		if err := r.fill(); err != nil {
			return Line{}, err
		}
	}
	ended := r.buf[r.end-1] == '\n'
	newline := 0
	if ended {
		newline = 1
	}
	for {
		body := r.buf[r.start : r.end-newline]
		i := bytes.LastIndexByte(body, '\n')
		if i < 0 && r.pos > 0 {
			if len(body)+1 > papyra.MaxStoredLine {
				return r.tooLong(ended)
			}
			if len(body)+1 > shortLine && !r.long.taken() {
				r.place(r.long.take(r.buf))
			}
			if err := r.fill(); err != nil {
				return Line{}, err
			}
			continue
		}
		l := Line{Offset: r.pos + int64(i+1), Length: int64(len(body) - i - 1), Bytes: body[i+1:], Ended: ended}
		if l.Length+1 > papyra.MaxStoredLine {
			l.NUL, l.Bytes = allNUL(l.Bytes), nil
		}
		r.end = r.start + i + 1
		return l, nil
	}
}

// tooLong measures a line without holding it. The unread bytes are its end.
func (r *Backward) tooLong(ended bool) (Line, error) {
	newline := 0
	if ended {
		newline = 1
	}
	body := r.buf[r.start : r.end-newline]
	l := Line{Length: int64(len(body)), Ended: ended, NUL: allNUL(body)}
	for r.pos > 0 {
		n := min(int64(len(r.buf)), ChunkSize, r.pos)
		b := r.buf[:n]
		if err := disk.ReadFull(r.disk, r.f, b, r.pos-n); err != nil {
			return Line{}, err
		}
		i := bytes.LastIndexByte(b, '\n')
		l.NUL = l.NUL && allNUL(b[i+1:])
		l.Length += int64(len(b) - i - 1)
		r.pos -= n
		if i >= 0 {
			r.start, r.end = 0, i+1
			l.Offset = r.pos + int64(i+1)
			return l, nil
		}
	}
	r.start, r.end = 0, 0
	return l, nil
}
