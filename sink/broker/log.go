package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// logEvery is the shortest time between two messages of one kind.
const logEvery = time.Second

// adapter writes the server's log to slog. What the server calls fatal is an
// error here: a library does not end the process. A kind of message that repeats,
// like the notice of a stalled publisher, is written once in a time, with the
// number of the others.
type adapter struct {
	log   *slog.Logger
	every time.Duration

	mu    sync.Mutex
	kinds map[string]*kind // by format; the server has a fixed set
}

type kind struct {
	last       time.Time
	suppressed int
}

func (a *adapter) write(level slog.Level, format string, v []any) {
	if !a.log.Enabled(context.Background(), level) {
		return
	}
	if n, ok := a.allow(format); ok {
		a.log.Log(context.Background(), level, "nats: "+fmt.Sprintf(format, v...), "suppressed", n)
	}
}

func (a *adapter) allow(format string) (suppressed int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.kinds[format]
	if k == nil {
		if a.kinds == nil {
			a.kinds = map[string]*kind{}
		}
		k = &kind{}
		a.kinds[format] = k
	}
	now := time.Now()
	if !k.last.IsZero() && now.Sub(k.last) < a.every {
		k.suppressed++
		return 0, false
	}
	suppressed, k.suppressed, k.last = k.suppressed, 0, now
	return suppressed, true
}

// Noticef is for those who look for details.
func (a *adapter) Noticef(format string, v ...any) { a.write(slog.LevelDebug, format, v) }

// Warnf is a warning.
func (a *adapter) Warnf(format string, v ...any) { a.write(slog.LevelWarn, format, v) }

// Errorf is an error.
func (a *adapter) Errorf(format string, v ...any) { a.write(slog.LevelError, format, v) }

// Fatalf is an error: Open finds out by itself that there is no listener.
func (a *adapter) Fatalf(format string, v ...any) { a.write(slog.LevelError, format, v) }

// Debugf is never called: it is switched off.
func (a *adapter) Debugf(string, ...any) {}

// Tracef is never called: it is switched off.
func (a *adapter) Tracef(string, ...any) {}
