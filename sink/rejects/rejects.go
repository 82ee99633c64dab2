// Package rejects writes and reads the lines of a reject file, in which a sink keeps
// what it did not take, with the reason:
//
//	{"time":1700000000.123456,"subject":"papyra.v1.records.orders.events","reason":"missing_field","detail":"missing_field payload","length":91,"raw":"eyJraW5k…"}
//
// The file is not larger than 16 MiB; a full one becomes PATH.1 and replaces the one
// before.
package rejects

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/papyra/papyra"
)

// Reject is one line that a sink did not take.
type Reject struct {
	Time    time.Time // when the sink got it, in microseconds
	Subject string
	Reason  papyra.RejectReason
	Detail  string // what is wrong, for people; a file of an older sink has none
	Length  int    // of the line, in bytes
	Raw     []byte // the line, or the beginning of one that is longer than a sink keeps
}

// Size returns about how many bytes AppendLine appends, and at least these of Raw.
func (r *Reject) Size() int { return base64.StdEncoding.EncodedLen(len(r.Raw)) }

// AppendLine appends the line of the file, with its newline. A byte that is not UTF-8
// becomes U+FFFD, but for those of Raw.
func (r *Reject) AppendLine(dst []byte) []byte {
	micros := r.Time.UnixMicro()
	dst = fmt.Appendf(dst, `{"time":%d.%06d,"subject":`, micros/1e6, micros%1e6)
	dst = append(appendText(dst, r.Subject), `,"reason":"`...)
	dst = append(append(dst, r.Reason...), '"')
	if r.Detail != "" {
		dst = appendText(append(dst, `,"detail":`...), r.Detail)
	}
	dst = append(strconv.AppendInt(append(dst, `,"length":`...), int64(r.Length), 10), `,"raw":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, r.Raw), '"', '}', '\n')
}

func appendText(dst []byte, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		quoted = []byte(`""`)
	}
	return append(dst, quoted...)
}

// maxStored bounds a line of a file, beyond any that a sink writes.
const maxStored = 4 << 20

// Read yields the rejects of the file at path, oldest first: those of PATH.1 before
// its own. It returns how many lines were passed over because they are none, such as
// what a crash has cut off. An error of yield ends it. With neither file the error
// wraps papyra.ErrNotFound; a file of which nothing can be read is an error that wraps
// papyra.ErrIncomplete, and the other one is read first.
func Read(ctx context.Context, path string, yield func(*Reject) error) (damaged int64, err error) {
	missing := 0
	var unread error
	for _, name := range []string{path + ".1", path} {
		n, ferr := readFile(ctx, name, yield)
		damaged += n
		var bad *unreadError
		switch {
		case errors.Is(ferr, fs.ErrNotExist):
			missing++
		case errors.As(ferr, &bad):
			unread = fmt.Errorf("%w: %w", papyra.ErrIncomplete, bad.err)
		case ferr != nil:
			return damaged, ferr
		}
	}
	if missing == 2 {
		return 0, fmt.Errorf("%w: no reject file %s", papyra.ErrNotFound, path)
	}
	return damaged, unread
}

// unreadError is an error of the file, and not of whoever reads.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return e.err.Error() }
func (e *unreadError) Unwrap() error { return e.err }

func readFile(ctx context.Context, path string, yield func(*Reject) error) (damaged int64, err error) {
	// Not through a symlink, and not waiting for the writer of a FIFO.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, &unreadError{err}
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, &unreadError{fmt.Errorf("%s is not a regular file", path)}
	}
	lines := bufio.NewReaderSize(f, 64<<10)
	var line []byte
	for {
		line, err = readLine(lines, line[:0])
		if ctx.Err() != nil {
			return damaged, ctx.Err()
		}
		if len(line) > 0 {
			if r, ok := parse(line); !ok {
				damaged++
			} else if yerr := yield(r); yerr != nil {
				return damaged, yerr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return damaged, nil
		case err != nil:
			return damaged, &unreadError{err}
		}
	}
}

// readLine appends the next line to dst, without its newline. Of one that is longer
// than any line of a sink only the beginning is kept.
func readLine(r *bufio.Reader, dst []byte) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(dst) < maxStored {
			dst = append(dst, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(dst, []byte("\n")), err
		}
	}
}

// parse reads one line.
func parse(line []byte) (*Reject, bool) {
	var members map[string]json.RawMessage // of a struct they would match in any case
	if json.Unmarshal(line, &members) != nil {
		return nil, false
	}
	var seconds float64
	r := &Reject{}
	for name, into := range map[string]any{
		"time": &seconds, "subject": &r.Subject, "reason": &r.Reason, "length": &r.Length, "raw": &r.Raw,
	} {
		if json.Unmarshal(members[name], into) != nil {
			return nil, false
		}
	}
	if detail, ok := members["detail"]; ok && json.Unmarshal(detail, &r.Detail) != nil {
		return nil, false
	}
	if !(seconds >= 0 && seconds < 1<<38) {
		return nil, false
	}
	r.Time = time.UnixMicro(int64(math.Round(seconds * 1e6))).UTC()
	return r, true
}
