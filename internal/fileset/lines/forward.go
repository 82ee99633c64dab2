package lines

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
)

// Forward reads the lines of a file from the first to the last. It is not safe for
// concurrent use.
//
// It reads up to two ends. Behind the soft end only the end of a line is wanted
// that began before it, so that reads are small; behind the limit nothing is read.
type Forward struct {
	disk  disk.Disk
	f     *os.File
	limit int64
	soft  int64

	buf        []byte
	start, end int   // unread bytes are buf[start:end]
	pos        int64 // offset of buf[start]
	long       long
}

// NewForward returns a reader of the first limit bytes of f. What is appended
// later is not read.
func NewForward(d disk.Disk, f *os.File, limit int64) *Forward {
	r := &Forward{disk: d}
	r.Reset(f, 0, limit, limit)
	return r
}

// Share makes the reader use the buffers of several readers for long lines. It must
// be called before the first line is read.
func (r *Forward) Share(b *LongBuffers) { r.long.shared = b }

// Release gives the buffer of a long line back, if the reader has one. It ends the
// use of the line that Next returned last.
func (r *Forward) Release() {
	if !r.long.taken() {
		return
	}
	// What was read behind a line is less than a chunk; behind a hole it may be a line
	// that needs the buffer.
	unread := r.buf[r.start:r.end]
	own := r.long.short
	if len(unread) > len(own) {
		return
	}
	n := copy(own, unread)
	r.long.put(r.buf)
	r.buf, r.start, r.end = own, 0, n
}

// Reset begins at the offset from of f, with a soft end and a limit. There must
// begin a line unless SkipRest follows. The buffer is used again.
func (r *Forward) Reset(f *os.File, from, soft, limit int64) {
	r.start, r.end = 0, 0
	r.Release()
	if need := min(limit-from, bufferSize); int64(len(r.buf)) < need {
		r.buf = make([]byte, need)
	}
	r.f, r.pos, r.soft, r.limit = f, from, soft, limit
	r.start, r.end = 0, 0
}

// Offset returns where the next line begins. After an error everything from there
// on is unread.
func (r *Forward) Offset() int64 { return r.pos }

// fill reads more bytes behind the unread ones. It returns io.EOF at the limit, and
// disk.ErrShrunk where the file ends before it.
func (r *Forward) fill() error {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, r.end-r.start
	}
	at := r.pos + int64(r.end)
	if at >= r.limit {
		return io.EOF
	}
	want := min(int64(len(r.buf)-r.end), ChunkSize, r.limit-at)
	if at < r.soft {
		want = min(want, r.soft-at)
	} else {
		want = min(want, ChunkSize/8)
	}
	n, err := r.disk.ReadAt(r.f, r.buf[r.end:r.end+int(want)], at)
	r.end += n
	if n > 0 {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return disk.ErrShrunk
	}
	return err
}

// Next returns the next line, or io.EOF behind the last. A file that has become
// shorter than the limit is disk.ErrShrunk: what is left of a line that was cut in
// two is no line.
func (r *Forward) Next() (Line, error) {
	r.Release()
	searched := 0
	for {
		unread := r.buf[r.start:r.end]
		if i := bytes.IndexByte(unread[searched:], '\n'); i >= 0 {
			n := searched + i
			if n+1 > papyra.MaxStoredLine && unread[0] == 0 {
				if hole := leadingNUL(unread[:n]); hole < n {
					r.start += hole
					r.pos += int64(hole)
					return Line{Offset: r.pos - int64(hole), Length: int64(hole), NUL: true, Hole: true}, nil
				}
			}
			l := Line{Offset: r.pos, Length: int64(n), Bytes: unread[:n:n], Ended: true}
			r.start += n + 1
			r.pos += int64(n) + 1
			if n+1 > papyra.MaxStoredLine {
				l.NUL, l.Bytes = allNUL(l.Bytes), nil
			}
			return l, nil
		}
		if searched = len(unread); searched >= papyra.MaxStoredLine {
			return r.tooLong()
		}
		if searched >= shortLine && !r.long.taken() {
			buf := r.long.take(r.buf)
			r.buf, r.start, r.end = buf, 0, copy(buf, unread)
		}
		switch err := r.fill(); {
		case err == nil:
		case errors.Is(err, io.EOF) && searched > 0:
			l := Line{Offset: r.pos, Length: int64(searched), Bytes: r.buf[r.start:r.end:r.end]}
			r.start = r.end
			r.pos += l.Length
			return l, nil
		default:
			return Line{}, err
		}
	}
}

// tooLong measures a line without holding it, or the hole with which it begins.
func (r *Forward) tooLong() (Line, error) {
	soft := r.soft
	defer func() { r.soft = soft }()
	l := Line{Offset: r.pos, NUL: true}
	for {
		unread := r.buf[r.start:r.end]
		if l.NUL {
			// As long as there are only NUL bytes, what follows may be a line of its own.
			if hole := leadingNUL(unread); hole < len(unread) && unread[hole] != '\n' && l.Length+int64(hole) > 0 {
				l.Length += int64(hole)
				r.start += hole
				r.pos += int64(hole)
				l.Hole = true
				return l, nil
			}
		}
		i := bytes.IndexByte(unread, '\n')
		l.Ended = i >= 0
		if !l.Ended {
			i = len(unread)
		}
		l.NUL = l.NUL && allNUL(unread[:i])
		l.Length += int64(i)
		r.start += i
		r.pos += int64(i)
		if l.Ended {
			r.start++
			r.pos++
			return l, nil
		}
		r.soft = max(r.soft, min(r.pos+ChunkSize, r.limit)) // a long way to go: read on in large steps
		switch err := r.fill(); {
		case errors.Is(err, io.EOF):
			return l, nil
		case err != nil:
			return Line{}, err
		}
	}
}

// Buffered returns the bytes of the lines to come that are read already, up to the
// soft end. They are valid until the next call.
func (r *Forward) Buffered() []byte {
	n := min(int64(r.end-r.start), max(r.soft-r.pos, 0))
	return r.buf[r.start : r.start+int(n)]
}

// Skip skips so many of the bytes that Buffered returns. They must be whole lines.
func (r *Forward) Skip(n int) {
	r.start += n
	r.pos += int64(n)
}

// SkipRest skips the rest of a line with its newline. It returns io.EOF if the
// line does not end before the soft end.
func (r *Forward) SkipRest() error {
	r.Release()
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
