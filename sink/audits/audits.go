// Package audits asks the runtimes of a system for an audit and gathers what they
// answer.
//
//	asker ── papyra.v1.audit.<system> ──► every publisher of the system
//	asker ◄── papyra.v1.records.<system>.audits, .reports ── publishers
//
// A publisher answers by an ordinary record, which sinks store too. Whoever does not
// answer is known only by the reports that are heard meanwhile: a publisher reports
// every 10 s while anything changes, and every 60 s otherwise.
package audits

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/linecheck"
)

// Answers are what came within the wait.
type Answers struct {
	Audits []papyra.Record // the newest of each run, by node and run; unsealed ones all
	Silent []Publisher     // known by a report, and without an audit; by node and run
	// Ended counts the runs whose final report came: they are neither.
	Ended int
	// LeftOut counts audits and reports beyond what is kept, and Unread messages that
	// came faster than they were read: there are more answers than are shown.
	LeftOut, Unread int
	// Rejected counts lines that no sink would take.
	Rejected int
}

// Publisher is one run that did not answer.
type Publisher struct {
	Node     string  `json:"node"`
	Run      string  `json:"run"`
	Reported float64 `json:"reported"` // when it said its last report, by its clock, in Unix seconds
}

const (
	maxRuns    = 10_000   // runs of which something is kept
	maxBytes   = 64 << 20 // of the audits that are kept
	maxPending = 64 << 10 // messages that wait to be read
)

// Ask asks the runtimes of a system and returns what came when wait is over, or with
// an error when ctx ends. The connection is the caller's; it tells of a subject that
// the broker does not allow by its error handler only.
func Ask(ctx context.Context, nc *nats.Conn, system string, wait time.Duration) (*Answers, error) {
	if err := papyra.CheckSystem(system); err != nil {
		return nil, fmt.Errorf("%w: %w", papyra.ErrUsage, err)
	}
	heard := make(chan *nats.Msg, maxPending)
	var subs []*nats.Subscription
	defer func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe() // fails only when the connection is gone
		}
	}()
	for _, kind := range []papyra.Kind{papyra.KindAudit, papyra.KindReport} {
		sub, err := nc.ChanSubscribe(papyra.RecordsSubject(system, kind), heard)
		if err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
		subs = append(subs, sub)
	}
	// The broker knows the subscriptions before the question.
	if err := nc.Publish(papyra.AuditSubject(system), nil); err != nil {
		return nil, fmt.Errorf("ask for audits: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	if err := nc.FlushWithContext(within); err != nil {
		return nil, fmt.Errorf("ask for audits: %w", err)
	}
	g := gathering{audits: map[string]papyra.Record{}, known: map[string]*knownRun{}, answers: &Answers{}}
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		select {
		case m := <-heard:
			g.takeMessage(m)
			continue
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over.C:
		}
		for _, sub := range subs {
			n, _ := sub.Dropped()
			g.answers.Unread += n
		}
		return g.finish(), nil
	}
}

// flushWithin bounds the wait for the broker's answer to the question.
const flushWithin = 30 * time.Second

// gathering keeps what was heard so far.
type gathering struct {
	check   linecheck.Checker
	audits  map[string]papyra.Record // by run
	known   map[string]*knownRun     // by run
	bytes   int
	answers *Answers
}

type knownRun struct {
	Publisher
	final bool
}

func (g *gathering) takeMessage(m *nats.Msg) {
	sub := linecheck.ParseSubject(m.Subject)
	for line := range bytes.SplitSeq(m.Data, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		if g.check.CheckLine(&sub, line) != "" {
			g.answers.Rejected++
			continue
		}
		rec := *g.check.Record()
		if rec.Kind == papyra.KindAudit {
			g.addAudit(&rec)
		} else {
			g.addReport(&rec)
		}
	}
}

func (g *gathering) addAudit(rec *papyra.Record) {
	run := string(rec.Run)
	old, have := g.audits[run]
	if g.bytes+len(rec.Line) > maxBytes || !have && len(g.audits)+len(g.answers.Audits) >= maxRuns {
		g.answers.LeftOut++
		return
	}
	g.bytes += len(rec.Line)
	if run == "" {
		g.answers.Audits = append(g.answers.Audits, *rec)
		return
	}
	if !have || rec.Seq >= old.Seq {
		g.bytes -= len(old.Line)
		g.audits[run] = *rec
	}
}

func (g *gathering) addReport(rec *papyra.Record) {
	if string(rec.Type) != papyra.ReportPublisher || !rec.HasIdentity() {
		return
	}
	run := string(rec.Run)
	k := g.known[run]
	if k == nil {
		if len(g.known) >= maxRuns {
			g.answers.LeftOut++
			return
		}
		k = &knownRun{}
		g.known[run] = k
	}
	var report struct {
		Final bool `json:"final"`
	}
	_ = json.Unmarshal(rec.Payload, &report) // it is JSON; another form says nothing of an end
	k.Publisher = Publisher{string(rec.Node), run, float64(rec.Time) / 1e6}
	k.final = k.final || report.Final
}

// finish puts what was heard in order.
func (g *gathering) finish() *Answers {
	a := g.answers
	for _, rec := range g.audits {
		a.Audits = append(a.Audits, rec)
	}
	slices.SortStableFunc(a.Audits, func(x, y papyra.Record) int {
		return cmp.Or(bytes.Compare(x.Node, y.Node), bytes.Compare(x.Run, y.Run))
	})
	for run, k := range g.known {
		switch _, answered := g.audits[run]; {
		case answered:
		case k.final:
			a.Ended++
		default:
			a.Silent = append(a.Silent, k.Publisher)
		}
	}
	slices.SortFunc(a.Silent, func(x, y Publisher) int {
		return cmp.Or(strings.Compare(x.Node, y.Node), strings.Compare(x.Run, y.Run))
	})
	return a
}
