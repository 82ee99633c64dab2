package admin

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
)

// On a socket each request and each frame stands behind its length, four bytes, the
// highest first. One connection carries one job.

// errClosedDoor: the other end of a socket has closed it.
var errClosedDoor = errors.New("the sink that holds the store has closed the connection")

// writeWithin bounds how long the other end of a socket may take to read.
const writeWithin = 2 * time.Second

// writeFramed writes b behind its length.
func writeFramed(c net.Conn, b []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b)))
	_, err := c.Write(append(out, b...))
	return err
}

// readFramed reads what stands behind its length, at most so many bytes.
func readFramed(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > int64(limit) {
		return nil, fmt.Errorf("a message of %d bytes: at most %d are allowed", n, limit)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

// shortPath returns a path that leads to the same place and fits into the 107 bytes
// that the address of a socket may have, however long the directory's is. It is good
// until release is called.
func shortPath(path string) (short string, release func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path), func() { dir.Close() }, nil
}

// peerUser returns the user at the other end of a socket, of which the kernel vouches.
func peerUser(c net.Conn) (uid int, err error) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return -1, errors.New("not a unix socket")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, cerr); err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}

// userName names a user: "papyra (uid 998)".
func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username + " (uid " + id + ")"
	}
	return "uid " + id
}

// socketDoor leads to the sink that holds a store of files on this host.
type socketDoor struct {
	path string
	owns func(uid int) bool // the user may act for the store
}

func (d *socketDoor) open(ctx context.Context, _ string) (exchange, error) {
	path, release, err := shortPath(d.path)
	if err != nil {
		return nil, err
	}
	defer release()
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	c, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("%w: %s may not use %s: run it as the owner of the store", papyra.ErrDenied, userName(os.Geteuid()), d.path)
	case err != nil:
		return nil, fmt.Errorf("connect to the sink that holds the store: %w: %w", ErrGone, err)
	}
	uid, err := peerUser(c)
	if err == nil && !d.owns(uid) && uid != os.Geteuid() {
		err = fmt.Errorf("%w: %s listens on %s and does not own the store", papyra.ErrDenied, userName(uid), d.path)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	x := &socketExchange{frameQueue: newFrameQueue(), conn: c, done: make(chan struct{})}
	go x.read()
	return x, nil
}

// socketExchange is one job over a connection of its own.
type socketExchange struct {
	*frameQueue
	conn net.Conn
	done chan struct{}
	mu   sync.Mutex // of writing
}

func (x *socketExchange) read() {
	defer close(x.done)
	for {
		raw, err := readFramed(x.conn, maxFrame)
		if err != nil {
			x.fail(fmt.Errorf("%w: %w", errClosedDoor, ErrGone))
			return
		}
		x.deliver(raw)
	}
}

func (x *socketExchange) send(q *request) error {
	raw, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if err := checkLength(len(raw)); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	_ = writeFramed(x.conn, raw) // what reads says why, behind the frames that are there
	return nil
}

func (x *socketExchange) close() {
	x.conn.Close()
	x.fail(errClosedDoor)
	<-x.done
}

// reachable is a store in files, beside which its holder listens.
type reachable interface {
	papyra.Store
	Socket() string
	Owns(uid int) bool
}

// ThroughHolder returns the store of the sink that holds store, where one holds it and
// answers, as a store of the same name; otherwise store itself, whose acts then fail
// with papyra.ErrBusy. verb is as which records are read. What the sink refuses to this
// user its acts refuse with papyra.ErrDenied; reads then look at the files. Closing
// the result closes store.
func ThroughHolder(ctx context.Context, store papyra.Store, verb string) papyra.Store {
	files, ok := store.(reachable)
	if !ok {
		return store
	}
	// Whoever may not look at the lock may see the socket. That of a sink that was
	// killed refuses.
	if info, err := os.Lstat(files.Socket()); err != nil || info.Mode()&os.ModeSocket == 0 {
		return store
	}
	d := &socketDoor{path: files.Socket(), owns: files.Owns}
	through, err := openThrough(ctx, d, verb, "", store.URL(), true)
	if err == nil {
		return &heldStore{Store: through, files: store}
	}
	if errors.Is(err, papyra.ErrDenied) {
		return &deniedStore{Store: store, err: err}
	}
	return store
}

// heldStore is the store of a sink, beside the files that it closes.
type heldStore struct {
	*Store
	files papyra.Store
}

// Close closes both.
func (s *heldStore) Close() error { return errors.Join(s.Store.Close(), s.files.Close()) }

// deniedStore is a store that somebody else may change.
type deniedStore struct {
	papyra.Store
	err error
}

// Recover fails, unless it is a dry run.
func (s *deniedStore) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	if o.DryRun {
		return s.Store.Recover(ctx, o)
	}
	return nil, s.err
}

// Compact fails, unless it is a dry run.
func (s *deniedStore) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	if o.DryRun {
		return s.Store.Compact(ctx, o)
	}
	return nil, s.err
}
