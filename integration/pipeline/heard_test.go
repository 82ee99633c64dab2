package pipeline

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
)

// These tests break what is between a publisher and the files of two groups. A record is
// confirmed when a sink of each group has stored it, so each group has each record in the
// end, or the publisher's reports name it as unheard by that group.

// line is a broker, two groups of one sink each, and a publisher that records at a steady
// pace.
type line struct {
	t     *testing.T
	dir   string
	url   string
	sinks map[string]*worker // by instance
	p     *publisher.Publisher
	pace  *pace
}

// newLine starts sinks and a publisher beside a broker. tap also subscribes to
// everything below papyra, as an operator does.
func newLine(t *testing.T, url string, tap bool, rate int, c publisher.Config) *line {
	t.Helper()
	l := &line{t: t, dir: t.TempDir(), url: url, sinks: map[string]*worker{}}
	if tap {
		nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		if _, err := nc.Subscribe("papyra.>", func(*nats.Msg) {}); err != nil {
			t.Fatal(err)
		}
	}
	l.start("archive", "live")
	l.p = connect(t, url, c)
	l.pace = newPace(l.p, rate)
	testkit.Await(t, "both groups answer", func() bool { return len(l.p.Groups()) == 2 })
	return l
}

// start starts a sink of each group, which has its name.
func (l *line) start(groups ...string) {
	l.t.Helper()
	for _, g := range groups {
		l.sinks[g] = startSink(l.t, l.dir, "--server", l.url, "--group", g, "--instance", g, "--backend", "json:"+l.file(g))
	}
}

func (l *line) file(instance string) string { return filepath.Join(l.dir, instance, "records.ndjson") }

// end ends the publisher and the sinks, and returns how many events there were.
func (l *line) end() (events uint64) {
	l.t.Helper()
	events = l.pace.stop()
	s := finish(l.t, l.p)
	for _, w := range l.sinks {
		w.terminate()
	}
	if s.Events.Accepted != events || s.Events.Confirmed != events || s.Events.Dropped() > 0 {
		l.t.Errorf("publisher: %+v, want %d accepted and confirmed", s.Events, events)
	}
	adds(l.t, "events", s.Events)
	l.t.Logf("%d events, sent again %d; %+v", events, s.Events.Resent, l.p.Groups())
	return events
}

// lost returns how many events a group has not, and how many of these a report that is
// stored anywhere does not name as unheard by the group.
func (l *line) lost(group string, events uint64, instances ...string) (missing, unnamed int) {
	l.t.Helper()
	var own, all []string
	for _, i := range instances {
		own = append(own, l.file(i))
	}
	for i := range l.sinks {
		all = append(all, l.file(i))
	}
	numbers := load(l.t, own...).numbers(l.p.Run(), papyra.KindEvent)
	named := map[uint64]bool{}
	for _, report := range publisherReports(l.t, load(l.t, all...)) {
		if d := report.Categories["events"].UnheardBy[group]; d != nil {
			for _, r := range d.Ranges {
				for n := r[0]; n <= r[1]; n++ {
					named[n] = true
				}
			}
		}
	}
	twice := 0
	for n := uint64(1); n <= events; n++ {
		twice += max(numbers[n]-1, 0)
		if numbers[n] == 0 {
			missing++
			if !named[n] {
				unnamed++
			}
		}
	}
	l.t.Logf("%s: of %d events %d are missing, %d of them without a name, %d stored twice", group, events, missing, unnamed, twice)
	return missing, unnamed
}

// complete fails the test unless the groups have every event.
func (l *line) complete(events uint64, groups ...string) {
	l.t.Helper()
	for _, g := range groups {
		if missing, _ := l.lost(g, events, g); missing > 0 {
			l.t.Errorf("%s lacks %d of %d events", g, missing, events)
		}
	}
}

// pace records events at a steady pace.
type pace struct {
	n    atomic.Int64
	end  chan struct{}
	done chan struct{}
}

func newPace(p *publisher.Publisher, rate int) *pace {
	c := &pace{end: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for began := time.Now(); ; {
			select {
			case <-c.end:
				return
			case <-time.After(2 * time.Millisecond):
			}
			for due := int64(time.Since(began).Seconds() * float64(rate)); c.n.Load() < due; {
				record(p, int(c.n.Add(1)))
			}
		}
	}()
	return c
}

func (c *pace) stop() uint64 {
	close(c.end)
	<-c.done
	return uint64(c.n.Load())
}

// flows waits until the publisher has confirmed some more events.
func (l *line) flows() {
	l.t.Helper()
	before := confirmed(l.p)
	testkit.Await(l.t, "records flow", func() bool { return confirmed(l.p) > before+500 })
}

// A broker that is killed loses what it had queued. Both groups get it again, also where
// an operator listens to everything, so that somebody always takes a message.
func TestBrokerRestartsLoseNothing(t *testing.T) {
	for _, tap := range []bool{false, true} {
		t.Run(fmt.Sprintf("tap=%v", tap), func(t *testing.T) {
			t.Parallel()
			b := natstest.Start(t, "")
			l := newLine(t, b.URL(), tap, 2000, publisher.Config{})
			for range 12 {
				l.flows()
				b.Kill()
				if err := b.Start(); err != nil {
					t.Fatal(err)
				}
			}
			l.flows()
			l.complete(l.end(), "archive", "live")
		})
	}
}

// The only sink of a group is ended or killed, and comes back, while records flow. The
// other group misses nothing either.
func TestOnlySinkOfAGroupRestarts(t *testing.T) {
	b := natstest.Start(t, "")
	l := newLine(t, b.URL(), true, 2000, publisher.Config{})
	for i := range 10 {
		l.flows()
		if i%2 == 0 {
			l.sinks["live"].kill()
		} else {
			l.sinks["live"].terminate()
		}
		time.Sleep(100 * time.Millisecond)
		l.start("live")
	}
	l.flows()
	l.complete(l.end(), "archive", "live")
}

// publisherReports returns the payloads of the PublisherReports.
func publisherReports(t *testing.T, s stored) (list []papyra.PublisherReport) {
	t.Helper()
	for _, r := range s.of("orders", papyra.KindReport) {
		var report papyra.PublisherReport
		if string(r.Type) == papyra.ReportPublisher {
			if err := json.Unmarshal(r.Payload, &report); err != nil {
				t.Fatal(err)
			}
			list = append(list, report)
		}
	}
	return list
}
