package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/terminal"
	"github.com/papyra/papyra/internal/version"
	"github.com/papyra/papyra/sink"
)

const (
	// progressEvery is the time between two lines of progress on a terminal,
	// summaryEvery between two in a log.
	progressEvery = time.Second
	summaryEvery  = time.Minute
	// maxLogLines bounds what waits for a reader of stderr that does not read.
	maxLogLines = 1024
	closeTime   = time.Second
)

// output is what the operator sees, all on stderr. A terminal gets text, a line
// of progress a second and a banner; anything else structured logs.
type output struct {
	w        *asyncWriter
	log      *slog.Logger
	terminal bool
}

func newOutput(stderr io.Writer, format string, level slog.Level) *output {
	f, ok := stderr.(*os.File)
	o := &output{w: newAsyncWriter(stderr), terminal: ok && term.IsTerminal(int(f.Fd()))}
	opts := &slog.HandlerOptions{Level: level}
	if format == "text" || format == "auto" && o.terminal {
		o.log = slog.New(slog.NewTextHandler(o.w, opts))
	} else {
		o.log = slog.New(slog.NewJSONHandler(o.w, opts))
	}
	return o
}

func (o *output) close() { o.w.close() }

// started shows the banner.
func (o *output) started(attrs []slog.Attr) {
	if !o.terminal {
		o.log.LogAttrs(context.Background(), slog.LevelInfo, "receiving", append([]slog.Attr{slog.String("version", version.Get().Label())}, attrs...)...)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "papyra-sink %s is receiving. Ctrl-C stops it; what it has received is stored first.\n", version.Get().Label())
	for _, a := range attrs {
		fmt.Fprintf(&b, "  %-10s %s\n", a.Key, terminal.Escape(a.Value.String()))
	}
	_, _ = io.WriteString(o.w, b.String())
}

// progress shows numbers while they change, until the returned function is
// called.
func (o *output) progress(w *sink.Sink) (stop func()) {
	every := summaryEvery
	if o.terminal {
		every = progressEvery
	}
	done := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		last, at := w.Stats(), time.Now()
		for {
			select {
			case <-done:
				return
			case now := <-ticker.C:
				st := w.Stats()
				if st.Received != last.Received || st.Pending != last.Pending || st.Stored != last.Stored {
					o.numbers(st, last, now.Sub(at))
				}
				last, at = st, now
			}
		}
	})
	return func() {
		close(done)
		working.Wait()
	}
}

func (o *output) numbers(st, last sink.Stats, took time.Duration) {
	rate := float64(st.Received-last.Received) / took.Seconds()
	if !o.terminal {
		o.log.Info("progress", append([]any{"records_per_second", int64(rate)}, numbers(st)...)...)
		return
	}
	line := fmt.Sprintf("%s  %s records/s  stored %s  rejected %s  dropped %s  pending %s",
		time.Now().Format(time.TimeOnly), human.Count(uint64(rate)), human.Count(st.Stored), human.Count(st.RejectedTotal()),
		human.Count(st.DroppedTotal()), human.Count(uint64(st.Pending)))
	if st.Spool.Records > 0 {
		line += "  spooled " + human.Count(st.Spool.Records)
	}
	if st.LostMessages > 0 {
		line += "  lost messages " + human.Count(st.LostMessages)
	}
	if st.Files.DroppedRecords > 0 {
		line += "  rotated away " + human.Count(uint64(st.Files.DroppedRecords))
	}
	_, _ = io.WriteString(o.w, line+"\n")
}

// ended shows the last numbers.
func (o *output) ended(st sink.Stats) { o.log.Info("ended", numbers(st)...) }

// asyncWriter writes to a reader that may be slow, stuck or gone, without ever
// making its callers wait: a terminal that is stopped must not stop the sink.
// What finds no room is counted, and the number is written when there is room.
type asyncWriter struct {
	lines   chan []byte
	dropped atomic.Uint64
	done    chan struct{}
	once    sync.Once
	stop    chan struct{}
}

func newAsyncWriter(w io.Writer) *asyncWriter {
	a := &asyncWriter{lines: make(chan []byte, maxLogLines), done: make(chan struct{}), stop: make(chan struct{})}
	go a.run(w)
	return a
}

// Write queues a copy of p. It never fails.
func (a *asyncWriter) Write(p []byte) (int, error) {
	select {
	case a.lines <- append([]byte(nil), p...):
	default:
		a.dropped.Add(1)
	}
	return len(p), nil
}

func (a *asyncWriter) run(w io.Writer) {
	defer close(a.done)
	write := func(line []byte) {
		if _, err := w.Write(line); err != nil {
			a.dropped.Add(1) // closed, or broken: there is nobody to tell
			return
		}
		if n := a.dropped.Swap(0); n > 0 {
			fmt.Fprintf(w, "(%d lines of log were dropped: stderr was closed or not read)\n", n)
		}
	}
	for {
		select {
		case line := <-a.lines:
			write(line)
		case <-a.stop:
			for {
				select {
				case line := <-a.lines:
					write(line)
				default:
					return
				}
			}
		}
	}
}

// close writes what is queued, but does not wait for long for a reader that is
// stuck.
func (a *asyncWriter) close() {
	a.once.Do(func() { close(a.stop) })
	select {
	case <-a.done:
	case <-time.After(closeTime):
	}
}
