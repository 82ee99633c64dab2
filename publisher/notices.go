package publisher

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/papyra/papyra/internal/throttle"
)

// notices runs the user's logger and callbacks on a goroutine of its own, so
// that nothing in them holds up a record or a confirmation: a logger that hangs
// costs log lines. A panic in them is caught.
type notices struct {
	logger   *slog.Logger
	work     chan func()
	done     chan struct{}
	repeated throttle.Keyed // by message

	mu     sync.Mutex
	closed bool
}

// noticeEvery is the least time between two log lines with the same message.
const noticeEvery = 10 * time.Second

func newNotices(logger *slog.Logger) *notices {
	return &notices{
		logger:   logger,
		work:     make(chan func(), 64),
		done:     make(chan struct{}),
		repeated: throttle.Keyed{Every: noticeEvery},
	}
}

// run works until close.
func (n *notices) run() {
	defer close(n.done)
	for f := range n.work {
		guard(f)
	}
}

// guard calls f and reports whether it panicked.
func guard(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

// do runs f soon, or not at all when too much waits.
func (n *notices) do(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	select {
	case n.work <- f:
	default:
	}
}

// log writes a line unless one with the same message was written lately; the
// next one then says how many were left out. args is called when the line is
// written.
func (n *notices) log(level slog.Level, message string, args func() []any) {
	suppressed, ok := n.repeated.Allow(message)
	if !ok {
		return
	}
	n.do(func() {
		list := args()
		if suppressed > 0 {
			list = append(list, "suppressed", suppressed)
		}
		n.logger.Log(context.Background(), level, message, list...)
	})
}

// close ends the goroutine after what waits; done is closed then.
func (n *notices) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.closed = true
		close(n.work)
	}
}

// warnOnce is the handler of a publisher without a Logger: what keeps records from
// their way must not be silent, and must not fill the output of a program that has
// not asked for it.
type warnOnce struct {
	mu   sync.Mutex
	said map[string]bool // by message; the messages are constants, so they are few
}

func (*warnOnce) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle gives the first record with its message to slog.Default.
func (w *warnOnce) Handle(ctx context.Context, r slog.Record) error {
	w.mu.Lock()
	repeated := w.said[r.Message]
	if w.said == nil {
		w.said = map[string]bool{}
	}
	w.said[r.Message] = true
	w.mu.Unlock()
	to := slog.Default().Handler()
	if repeated || !to.Enabled(ctx, r.Level) {
		return nil
	}
	r.AddAttrs(slog.String("note", "papyra's publisher says this once: give its Config a Logger for more"))
	return to.Handle(ctx, r)
}

func (w *warnOnce) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w *warnOnce) WithGroup(string) slog.Handler      { return w }
