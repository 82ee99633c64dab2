package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/natsflags"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/tail"
)

func (t *tool) tailCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "tail",
		Usage: "Show the records of a living fleet as they come",
		Description: describe(`Subscribes beside the sinks and shows what publishers send from now on, until ^C,
--limit or --for. It takes nothing from the sinks. What is not shown is told between the
lines: records for which this terminal was too slow, those sent while the connection was
away, and numbers that did not come. It always reads, so that it holds up nobody: when it
is stopped with ^Z it closes its connection, and connects again when it goes on.

With --output ndjson each record is a line as it was sent, and each gap a line
{"gap":{…}}.`,
			[]string{
				"papyra-ctl tail --server nats://nats:4222 --system orders",
				"papyra-ctl tail --context prod --category events --type ActorCrashed --output ndjson",
			},
			exit{"0", "--limit or --for has ended it"},
			exit{"69", "the broker cannot be reached"},
			exit{"77", "the broker refuses the login, or does not let it listen"},
		),
		Flags: slices.Concat([]urfave.Flag{
			&urfave.StringSliceFlag{Name: "category", Usage: "only records of this `CATEGORY`: events, audits, dead_letters or reports; may be given more than once"},
			&urfave.StringSliceFlag{Name: "system", Usage: "only records of the system with this id, `SYSTEM`; may be given more than once"},
			&urfave.StringSliceFlag{Name: "type", Usage: "only records of this `TYPE` of event, message or report; may be given more than once"},
			&urfave.StringSliceFlag{Name: "actor", Usage: "only records of the actor with this `ADDRESS`: system:id, or only the id; may be given more than once"},
			&urfave.StringSliceFlag{Name: "node", Usage: "only records whose publisher ran on this `NODE`; may be given more than once"},
			&urfave.StringFlag{Name: "limit", Aliases: []string{"n"}, Usage: "end after `N` records; 0 goes on"},
			&urfave.StringFlag{Name: "for", Usage: "end after a `DURATION`"},
			&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"PAPYRA_OUTPUT"}, Value: "table", Usage: "`FORMAT` of the result: table, or ndjson (a record on each line)"},
		}, natsflags.Flags()),
		Action: t.verbOn("tail", noStores, (*call).tail),
	}
}

// errEnough ends a reading of which no more is wanted.
var errEnough = errors.New("enough")

func (c *call) tail() error {
	if c.json {
		return usagef("tail has no end, and an object has: give --output ndjson or table")
	}
	q, err := c.query()
	if err != nil {
		return err
	}
	for _, name := range c.flags.StringSlice("category") {
		kind := papyra.ParseCategory(name)
		if kind == papyra.KindUnknown {
			return usagef("--category %q: choose events, audits, dead_letters or reports", name)
		}
		q.Kinds = append(q.Kinds, kind)
	}
	ctx, end := context.WithCancelCause(c.ctx)
	defer end(nil)
	if s := c.flags.String("for"); s != "" {
		d, err := human.ParseDuration(s)
		if err != nil || d <= 0 {
			return usagef("--for %q: give a duration like 30s", s)
		}
		timer := time.AfterFunc(d, func() { end(errEnough) })
		defer timer.Stop()
	}
	to, err := natsflags.Read(c.flags)
	if err != nil {
		return err
	}
	follow := tail.New(tail.Config{Query: q})
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		end(c.listen(ctx, to, follow))
	}()
	show := c.tailRows(q.Limit)
	shown := follow.Show(ctx, show.item, show.flush)
	end(shown) // whichever came first is the cause
	<-listened
	return c.endTail(context.Cause(ctx), follow.Summary())
}

// endTail says how it ended.
func (c *call) endTail(cause error, sum tail.Summary) error {
	if !c.lines || c.err.tty {
		c.messages = append(c.messages, human.Count(int64(sum.Shown))+" shown, "+human.Count(int64(sum.Filtered))+" filtered, "+human.Count(int64(sum.Missed))+" missed")
	}
	if c.lines {
		_ = c.writeJSON(struct { // finish finds a failed write
			Summary tail.Summary `json:"summary"`
		}{sum})
	}
	var failed *tailWriteError
	switch {
	case errors.Is(cause, errEnough):
		return nil
	case errors.As(cause, &failed):
		return outputError(failed.err)
	case c.interrupted():
		return c.ctx.Err()
	}
	return cause
}

// listen connects and listens until ctx ends. Stopped by ^Z it closes the connection
// first, because a broker waits for whoever does not read.
func (c *call) listen(ctx context.Context, to natsflags.NATS, follow *tail.Tail) error {
	suspend := make(chan os.Signal, 1)
	signal.Notify(suspend, syscall.SIGTSTP)
	defer signal.Stop(suspend)
	resume := make(chan os.Signal, 1)
	signal.Notify(resume, syscall.SIGCONT)
	defer signal.Stop(resume)
	for {
		stopped, err := c.listenOnce(ctx, to, follow, suspend)
		if !stopped {
			return err
		}
		select {
		case <-resume: // of an earlier stop
		default:
		}
		// This returns before the process stands still, so that only the signal to go on
		// says that it has stood.
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			return err
		}
		select {
		case <-resume:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *call) listenOnce(ctx context.Context, to natsflags.NATS, follow *tail.Tail, suspend <-chan os.Signal) (stopped bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	nc, err := to.Connect(ctx, "papyra-ctl tail", nats.MaxReconnects(-1),
		nats.ReconnectHandler(func(*nats.Conn) { follow.Reconnected() }))
	if err != nil {
		return false, err
	}
	defer nc.Close()
	defer untilDenied(ctx, nc, cancel)()
	ended := make(chan error, 1)
	go func() { ended <- follow.Listen(ctx, nc.Conn) }()
	select {
	case <-suspend:
		cancel(nil)
		<-ended //nolint:errcheck // it ends because it is cancelled
		return true, nil
	case err = <-ended:
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return false, err
}

// tailWriteError is an error of stdout.
type tailWriteError struct{ err error }

func (e *tailWriteError) Error() string { return e.err.Error() }

// tailRows shows items: in a table whose columns only grow, with gaps between its rows,
// or each as a line of JSON.
type tailRows struct {
	c     *call
	g     *grid
	limit int
	shown int
}

func (c *call) tailRows(limit int) *tailRows {
	return &tailRows{c: c, limit: limit, g: newGrid(c.out, column{title: "TIME (UTC)"}, column{title: "TYPE", color: eventColor},
		column{title: "ACTOR"}, column{title: "NODE"}, column{title: "PAYLOAD", cut: true})}
}

func (r *tailRows) item(item *tail.Item) error {
	err := r.write(item)
	if item.Record != nil {
		r.shown++
	}
	switch {
	case err != nil:
		return &tailWriteError{err}
	case r.limit > 0 && r.shown >= r.limit:
		if err := r.flush(); err != nil {
			return err
		}
		return errEnough
	}
	return nil
}

func (r *tailRows) write(item *tail.Item) error {
	rec := item.Record
	switch {
	case r.c.lines && rec != nil:
		return r.c.writeLine(rec)
	case r.c.lines:
		return r.c.writeJSON(struct {
			Gap *tail.Gap `json:"gap"`
		}{item.Gap})
	case rec == nil:
		err := r.g.writePage()
		r.c.out.printf("%s\n", r.c.out.paint(yellow, "— "+item.Gap.String()+" —"))
		return err
	}
	cells := factCells(rec)
	switch rec.Kind {
	case papyra.KindAudit:
		a := auditCells(rec)
		cells = []string{a[0], "audit", a[1], a[2], a[3] + " actors, " + a[4] + " alive, " + a[10] + " dead letters"}
	case papyra.KindReport:
		cells = []string{human.Micros(rec.Time), string(rec.Type), string(rec.System), showNode(rec), string(rec.Payload)}
	}
	return r.g.addRow(cells...)
}

// flush writes what was shown.
func (r *tailRows) flush() error {
	if err := errors.Join(r.g.writePage(), r.c.out.flush()); err != nil {
		return &tailWriteError{err}
	}
	return nil
}
