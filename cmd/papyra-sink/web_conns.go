package main

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// webListener bounds the open connections, so that a flood of clients leaves the
// sink the descriptors that it needs. Nobody waits for a place: a new connection
// takes the one of an old connection, so that a probe is answered however many
// clients hold a connection and say nothing. First goes the connection that has
// been idle for longest, then the one whose request began first.
type webListener struct {
	net.Listener
	limit int

	mu   sync.Mutex // nothing is closed and no other lock is taken under it
	open map[*webConn]struct{}
}

// webConn is a connection that webListener has accepted. The listener's lock guards
// idle and since.
type webConn struct {
	net.Conn
	listener *webListener
	idle     bool      // between two requests
	since    time.Time // for so long idle or, otherwise, busy with one request
}

func newWebListener(l net.Listener, limit int) *webListener {
	return &webListener{Listener: l, limit: limit, open: map[*webConn]struct{}{}}
}

// maxWebConns returns how many connections may be open at one time: 64, and fewer
// where the process may have only a few descriptors.
func maxWebConns() int {
	const most, least = 64, 4
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return least
	}
	return int(max(min(limit.Cur/8, most), least)) //nolint:gosec // bounded
}

// Accept waits for a connection, and closes an old one if there are too many.
func (l *webListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.closeOldest(1) // the server tries again after a moment
		}
		return nil, err
	}
	l.closeOldest(l.limit)
	w := &webConn{Conn: c, listener: l, since: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[w] = struct{}{}
	return w, nil
}

// closeOldest closes one connection if there are at least n.
func (l *webListener) closeOldest(n int) {
	var oldest *webConn
	l.mu.Lock()
	if len(l.open) >= n {
		for w := range l.open {
			if oldest == nil || w.goesBefore(oldest) {
				oldest = w
			}
		}
		delete(l.open, oldest)
	}
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Conn.Close() // its server notices that
	}
}

// goesBefore reports whether w is to be closed before other.
func (w *webConn) goesBefore(other *webConn) bool {
	if w.idle != other.idle {
		return w.idle
	}
	return w.since.Before(other.since)
}

// noteState follows what the HTTP server says of a connection. A connection that has
// not said anything yet counts as busy since it was accepted.
func (l *webListener) noteState(c net.Conn, state http.ConnState) {
	w, ok := c.(*webConn)
	if !ok || state == http.StateNew {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if idle := state == http.StateIdle; idle || w.idle {
		w.idle, w.since = idle, time.Now()
	}
}

// Close closes the connection and frees its place.
func (w *webConn) Close() error {
	w.listener.mu.Lock()
	delete(w.listener.open, w)
	w.listener.mu.Unlock()
	return w.Conn.Close()
}
