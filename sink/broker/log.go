package broker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/papyra/papyra/internal/throttle"
)

// logEvery is the shortest time between two messages of one kind.
const logEvery = time.Second

// serverLog writes the NATS server's log to slog. What the server calls fatal
// becomes an error: a library does not end the process. A kind of message that
// repeats, like the notice of a stalled publisher, is written once in a time,
// with the number of those that were suppressed.
type serverLog struct {
	log      *slog.Logger
	repeated throttle.Keyed // by format: the server has a fixed set of them
}

func newServerLog(log *slog.Logger) *serverLog {
	return &serverLog{log: log, repeated: throttle.Keyed{Every: logEvery}}
}

func (l *serverLog) writeMessage(level slog.Level, format string, v []any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	if n, ok := l.repeated.Allow(format); ok {
		l.log.Log(context.Background(), level, "nats: "+fmt.Sprintf(format, v...), "suppressed", n)
	}
}

// Noticef logs at debug level: only who looks for details wants it.
func (l *serverLog) Noticef(format string, v ...any) { l.writeMessage(slog.LevelDebug, format, v) }

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, v ...any) { l.writeMessage(slog.LevelWarn, format, v) }

// Errorf logs an error.
func (l *serverLog) Errorf(format string, v ...any) { l.writeMessage(slog.LevelError, format, v) }

// Fatalf logs an error. Open finds out by itself that there is no listener.
func (l *serverLog) Fatalf(format string, v ...any) { l.writeMessage(slog.LevelError, format, v) }

// Debugf does nothing. The server never calls it, because New switches it off.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef does nothing. The server never calls it, because New switches it off.
func (l *serverLog) Tracef(string, ...any) {}
