package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
)

const (
	// maxConnections bounds the connections to a sink's socket. Further ones wait.
	maxConnections = 64
	// silentFor is how long a connection may bring no whole request. Who asks shows a
	// sign of life every few seconds.
	silentFor = patience + renewal
)

// listener is a store in files, beside which a sink listens.
type listener interface {
	Socket() string
	Owns(uid int) bool
	GiveOwnerAt(path string)
}

// serveSocket listens beside a store in files until end is called, which returns when
// nobody is served any more. The lock of the store is held: what lies in the socket's
// place is of a sink that was killed.
func (s *Server) serveSocket() (end func()) {
	files, ok := s.store.(listener)
	if !ok || s.config.NoSocket {
		return func() {}
	}
	l, release, err := listenBeside(files)
	if err != nil {
		s.log.Warn("the sink cannot be asked through a socket beside its store: whoever wants to change the store has to stop it, or to ask over NATS",
			"socket", files.Socket(), "error", err)
		return func() {}
	}
	serving := &socketServer{Server: s, files: files, silentFor: silentFor, open: map[net.Conn]bool{}}
	serving.done.Add(1)
	go serving.accept(l)
	return func() {
		_ = l.Close() // it unlinks the socket
		release()
		serving.closeAll()
		serving.done.Wait()
	}
}

// listenBeside binds the socket. release is called when it is closed.
func listenBeside(files listener) (l net.Listener, release func(), err error) {
	path, release, err := shortPath(files.Socket())
	if err != nil {
		return nil, nil, err
	}
	if info, serr := os.Lstat(path); serr == nil && info.Mode()&os.ModeSocket != 0 {
		err = os.Remove(path)
	}
	if err == nil {
		l, err = listenPrivate(path)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	files.GiveOwnerAt(path)
	return l, release, nil
}

// listenPrivate binds a socket of mode 0600. The socket has the mode before it gets a
// name: what somebody else puts in the place of that name is never touched.
func listenPrivate(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var merr error
		err := raw.Control(func(fd uintptr) { merr = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, merr)
	}}
	return config.Listen(context.Background(), "unix", path)
}

// socketServer serves the connections of one socket.
type socketServer struct {
	*Server
	files     listener
	silentFor time.Duration
	done      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
}

func (s *socketServer) accept(l net.Listener) {
	defer s.done.Done()
	free := make(chan struct{}, maxConnections)
	for {
		free <- struct{}{}
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("the socket of the sink cannot be served for the moment", "error", err)
			time.Sleep(heartbeat) // as while there is no free descriptor
			<-free
			continue
		}
		if !s.enter(c) {
			c.Close()
			return
		}
		go func() {
			defer s.done.Done()
			s.serve(c)
			s.leave(c)
			<-free
		}()
	}
}

// enter notes a connection, and reports whether it is to be served.
func (s *socketServer) enter(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.open[c] = true
	s.done.Add(1)
	return true
}

func (s *socketServer) leave(c net.Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// closeAll ends every connection.
func (s *socketServer) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
}

// serve takes requests until the other end closes the connection, or is silent.
func (s *socketServer) serve(c net.Conn) {
	from := &asker{proven: papyra.ProvenSocket, room: maxFrame, gone: make(chan struct{})}
	var mu sync.Mutex
	from.send = func(frame []byte) {
		mu.Lock()
		defer mu.Unlock()
		if writeFramed(c, frame) != nil {
			c.Close() // which ends the reading below
		}
	}
	defer close(from.gone)
	uid, err := peerUser(c)
	if err == nil && !s.files.Owns(uid) && uid != os.Geteuid() {
		err = fmt.Errorf("%w: %s does not own the store", papyra.ErrDenied, userName(uid))
	}
	if err != nil {
		s.refuse(from, "", err)
		return
	}
	from.by = userName(uid)
	for {
		var raw []byte
		err := c.SetReadDeadline(time.Now().Add(s.silentFor))
		if err == nil {
			raw, err = readFramed(c, maxRequest)
		}
		if err != nil {
			return
		}
		var q request
		if json.Unmarshal(raw, &q) != nil {
			s.refuse(from, "", fmt.Errorf("%w: this is no request", papyra.ErrUsage))
			return
		}
		s.handle(&q, from)
	}
}
