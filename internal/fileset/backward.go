package fileset

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/papyra/papyra"
)

// backward reads the lines of a pinned file from the last to the first.
type backward struct {
	disk Disk
	f    *os.File
	buf  []byte
	// Unread bytes are buf[start:end]; they begin at offset pos of the file. What
	// is read is filled from the right.
	start, end int
	pos        int64
}

func newBackward(d Disk, f *os.File, size int64) *backward {
	r := &backward{disk: d, f: f, buf: make([]byte, min(size, bufferSize))}
	r.start, r.end, r.pos = len(r.buf), len(r.buf), size
	return r
}

// fill reads more before the unread bytes.
func (r *backward) fill() error {
	if r.pos == 0 {
		return io.EOF
	}
	if r.end < len(r.buf) {
		n := r.end - r.start
		copy(r.buf[len(r.buf)-n:], r.buf[r.start:r.end])
		r.start, r.end = len(r.buf)-n, len(r.buf)
	}
	want := min(int64(r.start), chunk, r.pos)
	if err := r.read(r.buf[r.start-int(want):r.start], r.pos-want); err != nil {
		return err
	}
	r.start -= int(want)
	r.pos -= want
	return nil
}

func (r *backward) read(b []byte, off int64) error {
	n, err := r.disk.ReadAt(r.f, b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errShrunk
	}
	return err
}

var errShrunk = errors.New("the file became shorter while it was read")

// next returns the line before, or io.EOF before the first.
func (r *backward) next() (line, error) {
	if r.start == r.end {
		if err := r.fill(); err != nil {
			return line{}, err
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
			if len(body)+1 > papyra.MaxLine {
				return r.tooLong(ended)
			}
			if err := r.fill(); err != nil {
				return line{}, err
			}
			continue
		}
		l := line{off: r.pos + int64(i+1), length: int64(len(body) - i - 1), bytes: body[i+1:], ended: ended}
		if l.length+1 > papyra.MaxLine {
			l.nul, l.bytes = allNUL(l.bytes), nil
		}
		r.end = r.start + i + 1
		return l, nil
	}
}

// tooLong measures a line without holding it: the unread bytes are its end.
func (r *backward) tooLong(ended bool) (line, error) {
	newline := 0
	if ended {
		newline = 1
	}
	body := r.buf[r.start : r.end-newline]
	l := line{length: int64(len(body)), ended: ended, nul: allNUL(body)}
	for r.pos > 0 {
		n := min(int64(len(r.buf)), chunk, r.pos)
		b := r.buf[:n]
		if err := r.read(b, r.pos-n); err != nil {
			return line{}, err
		}
		i := bytes.LastIndexByte(b, '\n')
		l.nul = l.nul && allNUL(b[i+1:])
		l.length += int64(len(b) - i - 1)
		r.pos -= n
		if i >= 0 {
			r.start, r.end = 0, i+1
			l.off = r.pos + int64(i+1)
			return l, nil
		}
	}
	r.start, r.end = 0, 0
	return l, nil
}
