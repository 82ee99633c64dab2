package lines

import (
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
	hole       Line // comes next, if it has a length
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
func (r *Backward) Unread() int64 { return r.pos + int64(r.end-r.start) + r.hole.Length }

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
	if l := r.hole; l.Length > 0 {
		r.hole = Line{}
		return l, nil
	}
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
	for searched := 0; ; {
		body := r.buf[r.start : r.end-newline]
		i := lastNewline(body[:len(body)-searched])
		searched = len(body)
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
			if hole := leadingNUL(l.Bytes); hole > 0 && hole < len(l.Bytes) {
				r.cutHole(&l, int64(hole))
				l.Bytes = l.Bytes[hole:]
			}
		}
		if l.Length+1 > papyra.MaxStoredLine {
			l.NUL, l.Bytes = allNUL(l.Bytes), nil
		}
		r.end = r.start + i + 1
		return l, nil
	}
}

// cutHole leaves of a line what is behind the NUL bytes with which it begins; these
// come next.
func (r *Backward) cutHole(l *Line, length int64) {
	r.hole = Line{Offset: l.Offset, Length: length, NUL: true, Hole: true}
	l.Offset += length
	l.Length -= length
}

// tooLong measures a line without holding it. The unread bytes are its end. Where it
// begins with NUL bytes, what is behind them is read again, and held if it is short
// enough.
func (r *Backward) tooLong(ended bool) (Line, error) {
	newline := 0
	if ended {
		newline = 1
	}
	body := r.buf[r.start : r.end-newline]
	l := Line{Length: int64(len(body)), Ended: ended}
	text := int64(-1) // offset of the first byte that is not NUL
	look := func(b []byte, at int64) {
		if n := leadingNUL(b); n < len(b) {
			text = at + int64(n)
		}
	}
	look(body, r.pos)
	end := r.pos + int64(len(body))
	r.start, r.end = 0, 0
	for l.Offset = 0; r.pos > 0; {
		n := min(int64(len(r.buf)), ChunkSize, r.pos)
		b := r.buf[:n]
		if err := disk.ReadFull(r.disk, r.f, b, r.pos-n); err != nil {
			return Line{}, err
		}
		i := lastNewline(b)
		r.pos -= n
		look(b[i+1:], r.pos+int64(i+1))
		if i >= 0 {
			r.start, r.end = 0, i+1
			l.Offset = r.pos + int64(i+1)
			break
		}
	}
	l.Length = end - l.Offset
	l.NUL = text < 0
	if text <= l.Offset {
		return l, nil
	}
	r.cutHole(&l, text-l.Offset)
	if l.Length+1 > papyra.MaxStoredLine {
		return l, nil
	}
	// The bytes before the line are read again after it.
	r.pos += int64(r.end)
	r.start, r.end = len(r.buf), len(r.buf)
	l.Bytes = r.buf[:l.Length]
	return l, disk.ReadFull(r.disk, r.f, l.Bytes, l.Offset)
}
