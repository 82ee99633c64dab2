package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/papyra/papyra"
)

// maxConnections bounds the connections to a sink's socket. Further ones wait.
const maxConnections = 64

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
	serving := &socketServer{Server: s, files: files, open: map[net.Conn]bool{}}
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
func listenBeside(files listener) (l *net.UnixListener, release func(), err error) {
	path, release, err := shortPath(files.Socket())
	if err != nil {
		return nil, nil, err
	}
	if info, serr := os.Lstat(path); serr == nil && info.Mode()&os.ModeSocket != 0 {
		err = os.Remove(path)
	}
	if err == nil {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	}
	if err == nil {
		// Whoever connects before is looked at all the same.
		if err = os.Chmod(path, 0o600); err != nil {
			_ = l.Close()
		}
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	files.GiveOwnerAt(path)
	return l, release, nil
}

// socketServer serves the connections of one socket.
type socketServer struct {
	*Server
	files listener
	done  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
}

func (s *socketServer) accept(l *net.UnixListener) {
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

// serve takes requests until the other end closes the connection.
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
		refuse(from, s.id, "", err)
		return
	}
	from.by = userName(uid)
	for {
		raw, err := readFramed(c, maxRequest)
		if err != nil {
			return
		}
		var q request
		if json.Unmarshal(raw, &q) != nil {
			refuse(from, s.id, "", fmt.Errorf("%w: this is no request", papyra.ErrUsage))
			return
		}
		s.handle(&q, from)
	}
}
