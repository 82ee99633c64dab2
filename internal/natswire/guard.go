package natswire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// MaxMessage is the largest message that a server can be configured to take; with
	// a little room, a longer one ends the connection.
	MaxMessage = 64<<20 + 64<<10
	// maxLine bounds a line of a message or of an error: subjects and counts. A
	// server's own bound for such lines is 4 KiB by default.
	maxLine = 16 << 10
	// maxInfo bounds what a server says of itself: some 20 bytes for each other server
	// of its cluster.
	maxInfo = 256 << 10
	// maxErrors bounds the errors of a server within a second, in bytes and 64 more for
	// each: nats.go keeps them until they are handled. Each message of a window that is
	// refused is one.
	maxErrors = 1 << 20
)

// Violation is what ends a connection whose server does not keep to the protocol.
type Violation struct{ what string }

// Error says what the server did.
func (v *Violation) Error() string { return "the NATS server broke the protocol: " + v.what }

// ServerError is an error of the server for which nats.go would close the connection
// for good.
type ServerError struct{ text string }

// Error returns the server's words.
func (e *ServerError) Error() string { return "the NATS server reports: " + e.text }

// IsServers reports whether err is what a server said or did, for which a guard has
// ended the connection.
func IsServers(err error) bool {
	var broken *Violation
	var told *ServerError
	return errors.As(err, &broken) || errors.As(err, &told)
}

// guard is a connection that passes on what its server sends while that keeps to the
// protocol and to the bounds. It is for one reader, as nats.go is.
type guard struct {
	net.Conn
	keep    int  // messages with more bytes are left out
	tls     bool // for the words of an error
	servers *knownServers

	ready       []byte // may pass; comes first
	prefix      []byte // was read before; comes next
	held        []byte // the beginning of a line whose end has not come
	info        []byte // the same of an INFO
	payload     int    // bytes that are left of a message's payload
	end         int    // bytes that are left of the line end behind it
	leave       bool   // this message is left out
	began       bool   // something has come beside the prefix
	errors      int    // bytes of errors since errorsSince
	errorsSince time.Time
	err         error // why nothing more passes
	ended       error // why nothing more comes
}

// Read reads what has passed. Its buffer must be longer than a line may be; nats.go's
// is.
func (g *guard) Read(b []byte) (int, error) {
	for {
		switch {
		case len(g.ready) > 0:
			n := copy(b, g.ready)
			g.ready = g.ready[n:]
			return n, nil
		case g.err != nil:
			return 0, g.err
		case g.ended != nil && len(g.prefix) == 0:
			return 0, g.ended
		}
		held := copy(b, g.held)
		g.held = g.held[:0]
		n, err := g.read(b[held:])
		if err != nil {
			g.ended = g.explain(err)
		}
		if n += held; n > 0 {
			if passed := g.check(b[:n]); passed > 0 {
				return passed, nil
			}
		}
	}
}

func (g *guard) read(b []byte) (int, error) {
	if len(g.prefix) > 0 {
		n := copy(b, g.prefix)
		g.prefix = g.prefix[n:]
		return n, nil
	}
	n, err := g.Conn.Read(b)
	g.began = g.began || n > 0
	return n, err
}

// explain adds what the end of a connection means that came right after the TLS
// handshake: a server that refuses the client's certificate may just go.
func (g *guard) explain(err error) error {
	if g.tls && !g.began && errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the server ended the connection after the handshake, as one does that refuses the client's certificate: %w", nats.ErrTLS, err)
	}
	return err
}

// check moves what may pass to the beginning of p and returns its length. What is not
// complete enough to be judged it keeps in held. After a violation, and an error that
// nats.go does not survive, it sets err.
func (g *guard) check(p []byte) (passed int) {
	for at := 0; at < len(p); {
		var n int
		switch {
		case g.payload > 0:
			n = min(g.payload, len(p)-at)
			g.payload -= n
		case g.end > 0:
			n = 1
			if p[at] != "\n\r"[g.end-1] {
				g.err = &Violation{"there is no line end behind a message"}
				return passed
			}
			g.end--
		case len(g.info) > 0 || p[at] == 'I' || p[at] == 'i':
			if at += g.takeInfo(p[at:]); g.err != nil || len(g.ready) > 0 {
				g.prefix = append(bytes.Clone(p[at:]), g.prefix...) // comes behind it
				return passed
			}
			continue
		default:
			g.leave = false
			if n = g.checkLine(p[at:]); n == 0 {
				return passed
			}
		}
		if !g.leave {
			if passed != at {
				copy(p[passed:], p[at:at+n])
			}
			passed += n
		}
		at += n
	}
	return passed
}

// checkLine looks at the line at the beginning of p and returns how much of p is it.
// It returns 0 if that is not complete, or must not pass.
func (g *guard) checkLine(p []byte) int {
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 && len(p) <= maxLine {
		g.held = append(g.held, p...)
		return 0
	}
	if end == 0 || end > maxLine {
		g.err = &Violation{fmt.Sprintf("a line of more than %d bytes", maxLine)}
		return 0
	}
	line := bytes.TrimSuffix(p[:end-1], []byte{'\r'})
	switch p[0] {
	case 'M', 'm', 'H', 'h':
		size, ok := announced(line)
		if !ok || size > MaxMessage {
			g.err = &Violation{fmt.Sprintf("a message of more than %d bytes, or without a length: %.64q", MaxMessage, line)}
			return 0
		}
		g.payload, g.end, g.leave = size, 2, size > g.keep
	case '-':
		if text, fatal := fatalError(line); fatal {
			g.err = &ServerError{text}
			return 0
		}
		if now := time.Now(); now.Sub(g.errorsSince) > time.Second {
			g.errors, g.errorsSince = 0, now
		}
		if g.errors += len(line) + 64; g.errors > maxErrors {
			g.err = &Violation{"too many errors within a second"}
			return 0
		}
	case 'P', 'p', '+':
	default:
		g.err = &Violation{fmt.Sprintf("it sent %.64q", line)}
		return 0
	}
	return end
}

// takeInfo takes the part of an INFO that is there and returns its length. A whole one
// is ready.
func (g *guard) takeInfo(p []byte) int {
	n := bytes.IndexByte(p, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(p)
	}
	g.info = append(g.info, p[:n]...)
	switch {
	case len(g.info) > maxInfo:
		g.err = &Violation{fmt.Sprintf("an INFO of more than %d bytes", maxInfo)}
	case whole:
		g.ready, g.info = g.servers.tame(g.info), nil
	}
	return n
}

// announced returns the number at the end of the line of a message, at most just
// above MaxMessage. Where the line could be read in two ways it returns false.
func announced(line []byte) (size int, ok bool) {
	if bytes.IndexByte(line, '\r') >= 0 {
		return 0, false
	}
	at := len(line)
	for unit := 1; at > 0 && line[at-1]-'0' <= 9; at-- {
		if size += int(line[at-1]-'0') * unit; size > MaxMessage {
			return size, true
		}
		if unit < 10*MaxMessage {
			unit *= 10
		}
	}
	return size, at < len(line) && at > 0 && (line[at-1] == ' ' || line[at-1] == '\t')
}

// survived are the errors of a server that nats.go handles without giving up;
// survivedBeginnings are how others begin.
var (
	survived           = []string{"stale connection", "maximum connections exceeded", "maximum account active connections exceeded", "unknown protocol operation"}
	survivedBeginnings = []string{
		"permissions violation", "maximum subscriptions exceeded", "authorization violation",
		"user authentication expired", "user authentication revoked", "account authentication expired",
	}
)

// fatalError returns the text of an -ERR line, fit to be shown, and whether nats.go
// would close the connection for good.
func fatalError(line []byte) (text string, fatal bool) {
	const op = "-ERR"
	if len(line) < len(op) || !strings.EqualFold(string(line[:len(op)]), op) {
		return "", false // nats.go reconnects
	}
	text = strings.Trim(strings.TrimSpace(string(line[len(op):])), "'")
	lower := strings.ToLower(text)
	if slices.Contains(survived, lower) || slices.ContainsFunc(survivedBeginnings, func(s string) bool { return strings.HasPrefix(lower, s) }) {
		return text, false
	}
	return fmt.Sprintf("%.256q", text), true
}
