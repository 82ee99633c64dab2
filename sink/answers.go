package sink

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

const (
	// gatherFor is how long answers wait for others of the same run.
	gatherFor = 2 * time.Millisecond
	// earlyStep is the shortest time between two looks for messages that have waited
	// for answerWithin.
	earlyStep = 25 * time.Millisecond
	// answerWrite bounds how long a server that does not read can hold up whoever
	// writes to it: the answers, and what the client itself has to say.
	answerWrite = 2 * time.Second
	// hiddenPrefix begins the reply subjects of messages that come from another account
	// through a service: they show neither the run nor the number.
	hiddenPrefix = "_R_."
	maxHidden    = 256 // bytes of such a subject
	// retryAnswers is how long a sink answers nobody after it was refused.
	retryAnswers = time.Minute
)

// answers tells publishers which of their messages are stored. It sends what the
// buffer gives it from a goroutine of its own, so that a server that does not read
// holds up no record.
//
// Where the server does not allow it to answer it stops, and tries again on the next
// connection, and after retryAnswers, since a server that allows more does not say so.
// Publishers meanwhile take this sink for one that knows no answers.
type answers struct {
	config  *Config
	log     *slog.Logger
	buffer  *buffer
	publish func(subject string, data []byte) error // set before run

	all     []string                // the categories that the sink takes of the systems in its filter
	refused atomic.Pointer[refusal] // why the server takes no answer on this connection
	stops   atomic.Bool             // no message is answered before its records are stored

	answered, early, refusals atomic.Uint64

	batch  []heardFrom // scratch of run
	text   []byte
	logged bool // of the client's error handler
}

// refusal is an error of the server, and when it came.
type refusal struct {
	err error
	at  time.Time
}

func newAnswers(c *Config, log *slog.Logger, b *buffer) *answers {
	a := &answers{config: c, log: log, buffer: b}
	for _, k := range papyra.Kinds() {
		if len(c.Kinds) == 0 || k == papyra.KindReport || slices.Contains(c.Kinds, k) {
			a.all = append(a.all, k.Category())
		}
	}
	return a
}

// wanted returns whom to answer a message that came with a reply subject. Only the
// publisher of a system that asks on a subject of this system is answered, also through
// another account; nobody else's reply subject is written to. It allocates nothing.
func (a *answers) wanted(sub *messageSubject, reply string) heardFrom {
	if reply == "" || sub.Reason != "" {
		return heardFrom{}
	}
	if r := a.refused.Load(); r != nil {
		if time.Since(r.at) < retryAnswers {
			return heardFrom{}
		}
		a.refused.CompareAndSwap(r, nil)
	}
	if run, n, ok := papyra.HeardMessage(reply, sub.heard); ok {
		return heardFrom{reply: reply, run: len(sub.heard) + len(run), n: n, system: sub.Stream.System}
	}
	if strings.HasPrefix(reply, hiddenPrefix) && len(reply) <= maxHidden {
		return heardFrom{reply: reply, system: sub.Stream.System}
	}
	return heardFrom{}
}

// run sends answers until stop is closed, and then those that are left.
func (a *answers) run(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-a.buffer.heard.wake:
			select {
			case <-time.After(gatherFor):
			case <-stop:
			}
		case <-timer.C:
		}
		if next := a.sendSettled(); next > 0 {
			timer.Reset(max(next, earlyStep))
		}
	}
}

// sendSettled answers what is to be answered now. It returns how long it is until
// another message has waited for answerWithin, 0 when none waits.
func (a *answers) sendSettled() (next time.Duration) {
	stored, early, next := a.buffer.takeHeard(!a.stops.Load())
	a.batch = a.batch[:0]
	for _, list := range stored {
		a.batch = append(a.batch, list...)
	}
	a.buffer.reuseHeard(stored)
	a.answered.Add(a.sendAll(a.batch))
	n := a.sendAll(early)
	a.answered.Add(n)
	a.early.Add(n)
	clear(a.batch)
	return next
}

// sendAll answers messages, those of one run together as far as an answer has room,
// and returns how many. It changes their order.
func (a *answers) sendAll(list []heardFrom) (sent uint64) {
	slices.SortFunc(list, func(x, y heardFrom) int {
		return cmp.Or(cmp.Compare(x.reply[:x.run], y.reply[:y.run]), cmp.Compare(x.n, y.n))
	})
	var ranges [papyra.MaxHeardRanges]papyra.Range
	for len(list) > 0 {
		first, n := &list[0], 1
		answer := papyra.HeardAnswer{Group: a.config.Group, Categories: a.categories(first.system)}
		if first.run > 0 {
			answer.Heard = append(ranges[:0], papyra.Range{first.n, first.n})
			for n < len(list) && list[n].sameRun(first) && addHeard(&answer, list[n].n) {
				n++
			}
		}
		if a.refused.Load() != nil {
			return sent
		}
		a.text = answer.AppendJSON(a.text[:0])
		if a.publish(first.reply, a.text) == nil { // one that is lost is asked for again
			sent += uint64(n)
		}
		list = list[n:]
	}
	return sent
}

// sameRun reports whether both messages show that they are of one run.
func (h *heardFrom) sameRun(other *heardFrom) bool {
	return h.run > 0 && h.reply[:h.run] == other.reply[:other.run]
}

// addHeard adds a number that is not below those of the answer, if it has room.
func addHeard(answer *papyra.HeardAnswer, n uint64) bool {
	switch last := &answer.Heard[len(answer.Heard)-1]; {
	case n-last[1] <= 1:
		last[1] = n
	case len(answer.Heard) < papyra.MaxHeardRanges:
		answer.Heard = append(answer.Heard, papyra.Range{n, n})
	default:
		return false
	}
	return true
}

// categories returns what the sink takes of a system.
func (a *answers) categories(system string) []string {
	if len(a.config.Systems) == 0 || slices.Contains(a.config.Systems, system) {
		return a.all
	}
	return reportsOnly
}

var reportsOnly = []string{papyra.KindReport.Category()}

// noteError looks at an error of the server and reports whether it refuses an answer.
// The client calls it from one goroutine.
func (a *answers) noteError(err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	_, rest, ok := strings.Cut(err.Error(), `Publish to "`)
	if !ok || !strings.HasPrefix(rest, papyra.SubjectAllHeard[:len(papyra.SubjectAllHeard)-1]) && !strings.HasPrefix(rest, hiddenPrefix) {
		return false
	}
	a.refusals.Add(1)
	if a.refused.Swap(&refusal{err, time.Now()}); !a.logged {
		a.logged = true
		a.log.Warn("the NATS server does not let this sink answer publishers: they hold a message until a server has it, not until it is stored; "+
			"trying again on the next connection, and now and then", "error", err, "hint", "allow this login to publish "+papyra.SubjectAllHeard)
	}
	return true
}

// retry lets the sink try to answer again: there is another connection.
func (a *answers) retry() { a.refused.Store(nil) }

// fillStats copies the numbers into st.
func (a *answers) fillStats(st *Stats) {
	st.AnsweredEarly = a.early.Load()
	st.Answered, st.AnswersRefused = a.answered.Load(), a.refusals.Load()
}
