package sink

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/throttle"
	"github.com/papyra/papyra/sink/rejects"
)

const (
	// maxRejectFile bounds the reject file. A file that would grow beyond it is
	// renamed to ".1" and replaces an older file of that name.
	maxRejectFile = 16 << 20
	// maxRejectBuffer bounds the bytes that wait to be written to the file. Beyond
	// it rejects are only counted.
	maxRejectBuffer = 8 << 20
	// maxRejectRaw bounds the raw bytes of one reject. The file keeps only the
	// beginning of a longer line, and "length" says how long the line was. Only a
	// broker with a raised max_payload can deliver such a line.
	maxRejectRaw = papyra.MaxLine
)

// rejectFile keeps rejected lines and logs about them, so that an operator can
// see what a sender did wrong. Nothing that happens to it stops the sink: what
// cannot be kept is counted. addReject does no I/O; run writes and logs. The lock
// is never held during I/O, and no other lock is taken under it.
type rejectFile struct {
	path   string // "" keeps nothing and only logs
	logger *slog.Logger
	limit  int64

	// giveOwner gives a file that was just made its owner; nil leaves it to the maker.
	giveOwner func(made *os.File)

	wake chan struct{}

	mu       sync.Mutex
	kept     keepBudget
	buf      []byte
	lines    uint64      // in buf
	last     rejectEvent // the newest one; it is not logged yet while n is not 0
	notKept  uint64
	replaced uint64

	// Only run's goroutine uses these.
	spare      []byte
	file       *os.File
	size       int64
	torn       bool // the file ends within a line
	failureLog throttle.Single
	rejectLog  throttle.Single
}

// ownerGiver is a store in files. What a sink makes beside it, perhaps as root, gets
// the owner of the store.
type ownerGiver interface {
	GiveOwner(made *os.File)
}

// rejectEvent is what the log says of rejects: their number and the newest one of
// which it is known what is wrong.
type rejectEvent struct {
	n       uint64
	subject string
	reject  reject // without its bytes
	length  int
}

func newRejectFile(path string, logger *slog.Logger) *rejectFile {
	return &rejectFile{
		path: path, logger: logger, limit: maxRejectFile, wake: make(chan struct{}, 1),
		failureLog: throttle.Single{Every: logEvery}, rejectLog: throttle.Single{Every: logEvery},
	}
}

// reject is a rejected line.
type reject struct {
	reason papyra.RejectReason
	detail string // what is wrong, for people; "" where it is not kept
	raw    []byte
}

// reserveRoom returns how many of the first n rejected lines of a message of a system
// are to be kept, which addRejects is then given.
func (r *rejectFile) reserveRoom(now time.Time, system string, n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept.take(now, system, n)
}

// addRejects takes the rejected lines of a message: their number n, and the first
// ones, of which it keeps so many as kept says. It copies their bytes.
func (r *rejectFile) addRejects(now time.Time, subject string, first []reject, kept, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := first[max(kept, 1)-1]
	r.last = rejectEvent{r.last.n + uint64(n), subject, reject{reason: newest.reason, detail: newest.detail}, len(newest.raw)}
	if r.path != "" {
		for i := range first[:kept] {
			r.encodeReject(now, subject, &first[i])
		}
		r.notKept += uint64(n - kept)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

const (
	// maxKept bounds the rejected lines that are kept of one message, and maxKeptRate
	// those of one second: the first ones show what a sender does wrong. Others are
	// counted, as not kept too, because whoever sends them must not take the time of
	// the rest.
	maxKept     = 16
	maxKeptRate = 1024
)

// keepBudget is what may still be kept of the rejected lines of this second. A system
// gets no more than half of what the others leave.
type keepBudget struct {
	second int64
	taken  int
	bySys  map[string]int
}

// take returns how many of n lines of a system may be kept.
func (k *keepBudget) take(now time.Time, system string, n int) int {
	if s := now.Unix(); s != k.second || k.bySys == nil {
		k.second, k.taken = s, 0
		if k.bySys == nil {
			k.bySys = map[string]int{}
		}
		clear(k.bySys)
	}
	own := k.bySys[system]
	n = min(n, max((maxKeptRate-(k.taken-own))/2-own, 0))
	if n > 0 {
		k.bySys[system] = own + n
		k.taken += n
	}
	return n
}

// encodeReject appends a line of the file to what waits. The caller holds the lock.
func (r *rejectFile) encodeReject(now time.Time, subject string, bad *reject) {
	line := rejects.Reject{
		Time: now, Subject: subject, Reason: bad.reason, Detail: bad.detail,
		Length: len(bad.raw), Raw: bad.raw[:min(len(bad.raw), maxRejectRaw)],
	}
	if len(r.buf)+line.Size() > maxRejectBuffer {
		r.notKept++
		return
	}
	r.buf = line.AppendLine(r.buf)
	r.lines++
}

// keptCounts returns how many rejects were not kept, and how many older files
// were replaced.
func (r *rejectFile) keptCounts() (notKept, replaced uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notKept, r.replaced
}

// run writes until stop is closed, then what is left.
func (r *rejectFile) run(stop <-chan struct{}) {
	defer r.closeFile()
	for {
		select {
		case <-r.wake:
			r.flushLines()
		case <-stop:
			r.flushLines()
			return
		}
	}
}

// flushLines logs the newest reject and writes what waits.
func (r *rejectFile) flushLines() {
	r.mu.Lock()
	data, lines := r.buf, r.lines
	r.buf, r.lines = r.spare[:0], 0
	last := r.last
	r.last.n = 0
	r.mu.Unlock()
	r.spare = data
	r.logNewest(last)
	if len(data) == 0 {
		return
	}
	if err := r.writeLines(data); err != nil {
		r.closeFile() // the next write opens it anew
		r.mu.Lock()
		r.notKept += lines
		r.mu.Unlock()
		if n, ok := r.failureLog.Allow(); ok {
			r.logger.Error("rejected lines cannot be kept: make room at the reject file or name another",
				"path", r.path, "lines", lines, "suppressed", n, "error", err)
		}
	}
}

// logNewest logs the newest reject and how many were suppressed before it.
func (r *rejectFile) logNewest(e rejectEvent) {
	if e.n == 0 {
		return
	}
	n, ok := r.rejectLog.AllowMany(e.n)
	if !ok {
		return
	}
	r.logger.Warn("rejected a line", "reason", string(e.reject.reason), "detail", e.reject.detail, "subject", e.subject, "length", e.length,
		"suppressed", n, "kept_in", r.path)
}

func (r *rejectFile) writeLines(data []byte) error {
	if err := r.makeRoom(int64(len(data))); err != nil {
		return err
	}
	if r.torn {
		// A fragment that a crash or a full disk left must not merge with the
		// next line.
		data = append([]byte{'\n'}, data...)
	}
	n, err := r.file.Write(data)
	r.size += int64(n)
	if n > 0 {
		r.torn = data[n-1] != '\n'
	}
	return err
}

// makeRoom opens the file, and replaces it when it has no room for n bytes more.
// The full file is renamed to ".1".
func (r *rejectFile) makeRoom(n int64) error {
	if r.file != nil && !r.inPlace() {
		r.closeFile()
	}
	if r.file == nil {
		if err := r.openFile(); err != nil {
			return err
		}
	}
	if r.size == 0 || r.size+n <= r.limit {
		return nil
	}
	r.closeFile()
	_, err := os.Lstat(r.path + ".1")
	older := err == nil
	if err := os.Rename(r.path, r.path+".1"); err != nil {
		return fmt.Errorf("put the full reject file aside: %w", err)
	}
	if older {
		r.mu.Lock()
		r.replaced++
		r.mu.Unlock()
	}
	return r.openFile()
}

// inPlace reports whether the open file is still the one at the path.
func (r *rejectFile) inPlace() bool {
	open, err1 := r.file.Stat()
	there, err2 := os.Lstat(r.path)
	return err1 == nil && err2 == nil && os.SameFile(open, there)
}

// openFile opens the file, makes it if it does not exist, and looks at its end.
func (r *rejectFile) openFile() error {
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return fmt.Errorf("make the reject file's directory: %w", err)
	}
	// Not through a symlink, and not waiting for the reader of a FIFO.
	const flags = os.O_RDWR | os.O_APPEND | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(r.path, flags, 0)
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.OpenFile(r.path, flags|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil && r.giveOwner != nil {
			r.giveOwner(f)
		}
	}
	if err != nil {
		return fmt.Errorf("open the reject file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err == nil && info.Sys().(*syscall.Stat_t).Nlink > 1 {
		// Whoever put it there may mean the file that has the other name.
		err = errors.New("the file has another name too, a hard link: remove this one")
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("open the reject file: %w", err)
	}
	r.file, r.size, r.torn = f, info.Size(), false
	if r.size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], r.size-1); err != nil && !errors.Is(err, io.EOF) {
			r.closeFile()
			return fmt.Errorf("read the reject file's end: %w", err)
		}
		r.torn = last[0] != '\n'
	}
	return nil
}

func (r *rejectFile) closeFile() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}
