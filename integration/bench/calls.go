package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/papyra/papyra/publisher"
)

const (
	callers  = 8
	callRate = 100_000 // calls a second, of all callers together

	// What the record call promises at this rate, whatever the broker does.
	promisedP999  = 5 * time.Microsecond
	promisedP9999 = 100 * time.Microsecond

	// busyCall is about the processor time of a record call. A call that only counts
	// for so long shares nothing with anybody; the system takes it off the processor
	// as often as it takes a record call off.
	busyCall = 200 * time.Nanosecond

	throttledRate = 100 << 10 // bytes a second
	flapEvery     = 500 * time.Millisecond
)

// callRow is one row of the table of calls. A process of its own records, beside a
// broker and a subscriber, which are processes of their own too.
type callRow struct {
	name  string
	floor bool          // its calls record nothing
	busy  time.Duration // what a call of a floor takes
	full  bool          // as many calls as possible: there is no schedule
	// around prepares the scene before the process starts: it may change the URL
	// that the process connects to. undo is called at the end.
	around func(*callScene) (undo func(), err error)
	// during runs while calls are measured, until ctx ends.
	during   func(ctx context.Context, s *callScene) error
	deaf     bool // it never connects
	closeMid bool // the publisher is closed halfway
	long     bool // it takes the time of -stopped instead of -calls
}

func callRows() []callRow {
	return []callRow{
		{name: "an empty call: the harness", floor: true},
		{name: "a call that only counts, while another process records at this rate", floor: true, busy: busyCall, around: besideRecorder},
		{name: "broker healthy"},
		{name: "broker stopped (SIGSTOP)", during: stopped, long: true},
		{name: "broker killed", during: killed},
		{name: "broker flapping, half a second down and half a second up", during: flapping},
		{name: "broker throttled to 100 KiB/s", around: throttled},
		{name: "login refused", around: refused, deaf: true},
		{name: "closed halfway", closeMid: true},
		{name: "a call that only counts, every core saturated", floor: true, busy: busyCall, around: saturated},
		{name: "broker healthy, every core saturated", around: saturated},
		{name: "a call that only counts, as fast as 8 goroutines can", floor: true, busy: busyCall, full: true},
		{name: "broker healthy, as fast as 8 goroutines can", full: true},
	}
}

// callScene is what a row's process runs beside.
type callScene struct {
	ctx      context.Context
	port     int
	broker   *child
	drain    *child
	url      string // that the measured process connects to
	measured recording
}

// newCallScene starts a broker and a subscriber that throws everything away.
func newCallScene(ctx context.Context) (*callScene, error) {
	s := &callScene{ctx: ctx}
	if err := s.startBroker(); err != nil {
		return nil, err
	}
	if err := s.startDrain(); err != nil {
		s.endScene()
		return nil, err
	}
	s.url = s.address()
	return s, nil
}

// startDrain starts the subscriber.
func (s *callScene) startDrain() (err error) {
	if s.drain, err = spawn(s.ctx, roleDrain, "nats://sink:"+sinkPassword+"@127.0.0.1:"+strconv.Itoa(s.port)); err == nil {
		_, err = s.drain.hear()
	}
	return err
}

// address returns the broker's URL with a login that it takes.
func (s *callScene) address() string {
	return "nats://pub:" + pubPassword + "@127.0.0.1:" + strconv.Itoa(s.port)
}

// startBroker starts a server, at the same port as before if there was one.
func (s *callScene) startBroker() (err error) {
	if s.broker, err = spawn(s.ctx, roleServer, strconv.Itoa(s.port), "login"); err != nil {
		return err
	}
	url, err := s.broker.hear()
	if err != nil {
		s.broker.kill()
		return err
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "nats://"), ":")
	if s.port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("read the broker's address %q: %w", url, err)
	}
	return nil
}

// endScene ends the processes of the scene.
func (s *callScene) endScene() {
	for _, c := range []*child{s.drain, s.broker} {
		if c != nil {
			c.kill()
		}
	}
}

// measureCalls runs each row once and prints the table.
func measureCalls(ctx context.Context, c config, out io.Writer) error {
	fmt.Fprintf(out, "How long a record call takes: %d goroutines, %s calls a second in all for %s,\nthe broker stopped for %s; every broker is a process of its own on these cores.\n",
		callers, thousands(callRate), c.callTime, c.stopped)
	fmt.Fprintf(out, "Promised of the record call: p99.9 at most %s, p99.99 at most %s. The rows of calls that\nonly count, for %s, are what the schedule and the other processes of the machine do to any call.\n\n", promisedP999, promisedP9999, busyCall)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "calls\tp50\tp99\tp99.9\tp99.99\tmax\tdropped\trefused\tkept\t ")
	for _, row := range callRows() {
		showProgress("calls: %s", row.name)
		r, err := row.measure(ctx, c)
		showProgress("")
		if err != nil {
			t.Flush() //nolint:errcheck // an error of standard output cannot be told anybody
			return fmt.Errorf("measure %q: %w", row.name, err)
		}
		dropped, refused, kept := "", "", ""
		if !row.floor {
			dropped, refused = dropReasons(r.Stopped.Events), thousands(float64(r.Stopped.Events.Refused))
			if kept = "yes"; r.P999 > promisedP999 || r.P9999 > promisedP9999 {
				kept = "no"
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t   %s\n", thousands(float64(r.Calls)),
			shortDuration(r.P50), shortDuration(r.P99), shortDuration(r.P999), shortDuration(r.P9999), shortDuration(r.Max), dropped, refused, kept, row.name)
	}
	return t.Flush()
}

// measure runs the row's process and returns its result.
func (row *callRow) measure(ctx context.Context, c config) (*recorded, error) {
	s, err := newCallScene(ctx)
	if err != nil {
		return nil, err
	}
	defer s.endScene()
	s.measured = recording{Goroutines: callers, Rate: callRate, Duration: c.callTime, Connected: !row.deaf, Busy: row.busy}
	if row.full {
		s.measured.Rate = 0
	}
	if row.long {
		s.measured.Duration = c.stopped
	}
	if row.closeMid {
		s.measured.CloseAfter = s.measured.Duration / 2
	}
	if row.around != nil {
		undo, err := row.around(s)
		if err != nil {
			return nil, err
		}
		defer undo()
	}
	if !row.floor {
		s.measured.URL = s.url
	}
	p, err := s.measured.startRecorder(ctx)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	during, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		if row.during == nil {
			ended <- nil
			return
		}
		ended <- row.during(during, s)
	}()
	r, err := p.result()
	stop()
	if err = errors.Join(err, <-ended); err != nil {
		return nil, err
	}
	if row.floor {
		return r, nil
	}
	return r, r.balanced()
}

// balanced returns an error unless every call is counted exactly once.
func (r *recorded) balanced() error {
	for _, s := range []publisher.Stats{r.Stopped, r.Closed} {
		e := s.Events
		if e.Accepted+e.Refused != r.Made || e.Accepted != e.Confirmed+e.Unconfirmed+e.Buffered+e.Dropped() {
			return fmt.Errorf("%d calls were made, and the publisher says of them: %+v: %w", r.Made, e, errUnbalanced)
		}
	}
	if b := r.Closed.Events.Buffered; b != 0 {
		return fmt.Errorf("%d records are buffered after Close: %w", b, errUnbalanced)
	}
	return nil
}

// recorder is the process that is measured.
type recorder struct{ *child }

// startRecorder starts the process and waits until it is warm.
func (r *recording) startRecorder(ctx context.Context) (recorder, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return recorder{}, err
	}
	c, err := spawn(ctx, roleRecorder, string(text))
	if err != nil {
		return recorder{}, err
	}
	if _, err := c.hear(); err != nil {
		c.kill()
		return recorder{}, err
	}
	return recorder{c}, nil
}

// result lets the process begin and waits for its result.
func (p recorder) result() (*recorded, error) {
	if err := p.tell("go"); err != nil {
		return nil, err
	}
	text, err := p.hear()
	if err != nil {
		return nil, err
	}
	r := &recorded{}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	return r, nil
}

// besideRecorder starts another process that records through the broker meanwhile.
func besideRecorder(s *callScene) (func(), error) {
	other := s.measured
	other.URL = s.url
	other.Duration += time.Minute // it is killed before
	p, err := other.startRecorder(s.ctx)
	if err != nil {
		return nil, err
	}
	return p.kill, p.tell("go")
}

// saturated keeps every core busy.
func saturated(s *callScene) (func(), error) {
	c, err := spawn(s.ctx, roleBurner, strconv.Itoa(runtime.NumCPU()))
	if err != nil {
		return nil, err
	}
	return c.endProcess, nil
}

// throttled makes the process connect through a slow link.
func throttled(s *callScene) (func(), error) {
	c, err := spawn(s.ctx, roleThrottle, "127.0.0.1:"+strconv.Itoa(s.port), strconv.Itoa(throttledRate))
	if err != nil {
		return nil, err
	}
	address, err := c.hear()
	s.url = "nats://pub:" + pubPassword + "@" + address
	return c.kill, err
}

// refused gives the process a login that the broker does not take.
func refused(s *callScene) (func(), error) {
	s.url = "nats://pub:wrong@127.0.0.1:" + strconv.Itoa(s.port)
	return func() {}, nil
}

// stopped stops the broker's process with SIGSTOP.
func stopped(ctx context.Context, s *callScene) error {
	if err := s.broker.pause(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// killed kills the broker.
func killed(ctx context.Context, s *callScene) error {
	s.broker.kill()
	<-ctx.Done()
	return nil
}

// flapping kills the broker and starts it again, again and again.
func flapping(ctx context.Context, s *callScene) error {
	wait := func() bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(flapEvery):
			return true
		}
	}
	for {
		s.broker.kill()
		if !wait() {
			return nil
		}
		if err := s.startBroker(); err != nil {
			return err
		}
		if !wait() {
			return nil
		}
	}
}

// dropReasons writes what was dropped, by reason.
func dropReasons(e publisher.CategoryStats) string {
	var parts []string
	for _, r := range []struct {
		name string
		n    uint64
	}{{"queue_full", e.DroppedQueueFull}, {"too_large", e.DroppedTooLarge}, {"encode", e.DroppedEncode}, {"closed", e.DroppedClosed}} {
		if r.n > 0 {
			parts = append(parts, thousands(float64(r.n))+" "+r.name)
		}
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, ", ")
}

// shortDuration writes a duration with about three digits.
func shortDuration(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.2f µs", d.Seconds()*1e6)
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", d.Seconds()*1e6)
	default:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
}
