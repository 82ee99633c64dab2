package fileset

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/papyra/papyra"
)

const (
	chunk = 256 << 10 // bytes of one read
	// bufferSize holds a chunk behind the longest line that is held.
	bufferSize = chunk + papyra.MaxLine
)

// line is one line of a file.
type line struct {
	off    int64
	length int64  // without the newline
	bytes  []byte // valid until the next call; nil if the line is longer than papyra.MaxLine
	ended  bool   // by a newline; only the last line of a file may not be
	nul    bool   // of a line too long to hold: it is nothing but NUL bytes
}

// size is the length with the newline.
func (l *line) size() int64 {
	if l.ended {
		return l.length + 1
	}
	return l.length
}

func (l *line) end() int64 { return l.off + l.size() }

// forward reads the lines of a pinned file from the first to the last, at most
// papyra.MaxLine bytes of each.
type forward struct {
	disk  Disk
	f     *os.File
	limit int64 // nothing behind it is read
	soft  int64 // behind it reads are small: only a line's end is wanted

	buf        []byte
	start, end int   // unread bytes are buf[start:end]
	pos        int64 // offset of buf[start]
}

func newForward(d Disk, f *os.File, limit int64) *forward {
	r := &forward{disk: d}
	r.reset(f, 0, limit, limit)
	return r
}

// reset begins at an offset, which must be the first byte of a line unless
// skipRest follows.
func (r *forward) reset(f *os.File, from, soft, limit int64) {
	if need := min(limit-from, bufferSize); int64(len(r.buf)) < need {
		r.buf = make([]byte, need)
	}
	r.f, r.pos, r.soft, r.limit = f, from, soft, limit
	r.start, r.end = 0, 0
}

// fill reads more behind the unread bytes. It returns io.EOF at the limit, and
// also where the file has become shorter than it was.
func (r *forward) fill() error {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, r.end-r.start
	}
	at := r.pos + int64(r.end)
	if at >= r.limit {
		return io.EOF
	}
	want := min(int64(len(r.buf)-r.end), chunk, r.limit-at)
	if at < r.soft {
		want = min(want, r.soft-at)
	} else {
		want = min(want, chunk/8)
	}
	n, err := r.disk.ReadAt(r.f, r.buf[r.end:r.end+int(want)], at)
	r.end += n
	if n > 0 {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.EOF
	}
	return err
}

// next returns the next line, or io.EOF behind the last.
func (r *forward) next() (line, error) {
	searched := 0
	for {
		unread := r.buf[r.start:r.end]
		if i := bytes.IndexByte(unread[searched:], '\n'); i >= 0 {
			n := searched + i
			l := line{off: r.pos, length: int64(n), bytes: unread[:n:n], ended: true}
			r.start += n + 1
			r.pos += int64(n) + 1
			if n+1 > papyra.MaxLine {
				l.nul, l.bytes = allNUL(l.bytes), nil
			}
			return l, nil
		}
		if searched = len(unread); searched >= papyra.MaxLine {
			return r.tooLong()
		}
		switch err := r.fill(); {
		case err == nil:
		case errors.Is(err, io.EOF) && searched > 0:
			l := line{off: r.pos, length: int64(searched), bytes: r.buf[r.start:r.end:r.end]}
			r.start = r.end
			r.pos += l.length
			return l, nil
		default:
			return line{}, err
		}
	}
}

// tooLong measures a line without holding it.
func (r *forward) tooLong() (line, error) {
	l := line{off: r.pos, nul: true}
	for {
		unread := r.buf[r.start:r.end]
		i := bytes.IndexByte(unread, '\n')
		l.ended = i >= 0
		if !l.ended {
			i = len(unread)
		}
		l.nul = l.nul && allNUL(unread[:i])
		l.length += int64(i)
		r.start += i
		r.pos += int64(i)
		if l.ended {
			r.start++
			r.pos++
			return l, nil
		}
		r.soft = max(r.soft, min(r.pos+chunk, r.limit)) // a long way to go: read on in large steps
		switch err := r.fill(); {
		case errors.Is(err, io.EOF):
			return l, nil
		case err != nil:
			return line{}, err
		}
	}
}

// held returns what is read already of the lines to come, up to the soft end. It
// is valid until the next call.
func (r *forward) held() []byte {
	n := min(int64(r.end-r.start), max(r.soft-r.pos, 0))
	return r.buf[r.start : r.start+int(n)]
}

// skip skips so many of the bytes that are held.
func (r *forward) skip(n int) {
	r.start += n
	r.pos += int64(n)
}

// skipRest skips up to and with the next newline. It returns io.EOF if there is
// none before the soft end.
func (r *forward) skipRest() error {
	for {
		unread := r.buf[r.start:r.end]
		if i := bytes.IndexByte(unread, '\n'); i >= 0 {
			r.start += i + 1
			r.pos += int64(i) + 1
			return nil
		}
		r.start = r.end
		r.pos += int64(len(unread))
		if r.pos >= r.soft {
			return io.EOF
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

func allNUL(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

var zeros [4096]byte
