package main

import (
	"context"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/cmd/internal/natsflags"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/audits"
)

func (t *tool) auditCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "audit",
		Usage: "Ask the runtimes of a system how many actors they have now",
		Description: describe(`Asks every runtime of a system for an audit and shows what comes within --wait. A
run that sent a report meanwhile and no audit is shown as silent: it is stuck, or its
publisher has no AuditFunc. Runtimes report every 10 s while anything changes, and
every 60 s otherwise: with --wait 65s each one that lives is known. Sinks store the
audits as ever.`+columnHelp(papyra.KindAudit),
			[]string{
				"papyra-ctl audit --server nats://nats:4222 --system orders",
				"papyra-ctl audit --context prod --system orders --wait 65s --output json | jq '.silent[].node'",
			},
			exit{"0", "every known runtime has answered"},
			exit{"5", "nobody has answered, or a known runtime has not"},
			exit{"69", "the broker cannot be reached"},
			exit{"77", "the broker refuses the login, or does not let it ask or listen"},
		),
		Flags: slices.Concat([]urfave.Flag{
			&urfave.StringFlag{Name: "system", Required: true, Usage: "the id of the system, `SYSTEM`"},
			&urfave.StringFlag{Name: "wait", Value: "5s", Usage: "how long to gather answers, a `DURATION`"},
			outputFlag(),
		}, natsflags.Flags()),
		Action: t.verbOn("audit", noStores, (*call).audit),
	}
}

// auditResult is the JSON of audit, behind the audits themselves.
type auditResult struct {
	System   string             `json:"system"`
	Answered int                `json:"answered"`
	Silent   []audits.Publisher `json:"silent"`
	Ended    int                `json:"ended"`    // runs that ended meanwhile
	LeftOut  int                `json:"left_out"` // answers and reports beyond what is kept
	Unread   int                `json:"unread"`   // messages that came too fast
	Rejected int                `json:"rejected"` // lines that no sink would take
}

func (c *call) audit() error {
	wait, err := human.ParseDuration(c.flags.String("wait"))
	if err != nil || wait <= 0 {
		return usagef("--wait %q: give a duration like 5s", c.flags.String("wait"))
	}
	nc, err := c.connect("papyra-ctl audit")
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	defer untilDenied(ctx, nc, cancel)()
	system := c.flags.String("system")
	answers, err := audits.Ask(ctx, nc.Conn, system, wait)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !c.interrupted() {
			err = cause
		}
		return err
	}
	c.result = &auditResult{
		System: system, Answered: len(answers.Audits), Silent: append([]audits.Publisher{}, answers.Silent...),
		Ended: answers.Ended, LeftOut: answers.LeftOut, Unread: answers.Unread, Rejected: answers.Rejected,
	}
	c.noteAnswers(answers, system, wait)
	return writeError(c.showAnswers(answers))
}

func (c *call) noteAnswers(a *audits.Answers, system string, wait time.Duration) {
	switch {
	case len(a.Silent) > 0:
		c.noteCondition(cli.CodeIncomplete, "%s did not answer within %v", human.Plural(int64(len(a.Silent)), "runtime", "runtimes"), wait)
	case len(a.Audits) == 0:
		c.noteCondition(cli.CodeIncomplete, "no runtime of %s answered within %v", system, wait)
		c.messages = append(c.messages, "no runtime of "+system+" answered within "+wait.String()+": none is connected, or their publishers have no AuditFunc")
	}
	if n := a.LeftOut + a.Unread; n > 0 {
		c.noteCondition(cli.CodeIncomplete, "%s more than can be shown", human.Plural(int64(n), "answer", "answers"))
		c.messages = append(c.messages, human.Plural(int64(n), "answer", "answers")+" more than can be shown")
	}
}

func (c *call) showAnswers(a *audits.Answers) error {
	show := c.recordTable(papyra.KindAudit)
	if c.json {
		show = c.recordJSONAs("audits")
	}
	for i := range a.Audits {
		if err := show.addRecord(&a.Audits[i]); err != nil {
			return err
		}
	}
	if err := show.finish(); err != nil || c.json || len(a.Silent) == 0 {
		return err
	}
	c.out.printf("\n%s  did not answer:\n", c.out.paint(red, "SILENT"))
	g := newGrid(c.out, column{title: "NODE"}, column{title: "RUN"}, column{title: "LAST REPORT (UTC)"})
	for _, p := range a.Silent {
		if err := g.addRow(p.Node, p.Run, human.Micros(int64(p.Reported*1e6))); err != nil {
			return err
		}
	}
	return g.writePage()
}

// connect connects to the broker that the flags name.
func (c *call) connect(name string) (*natsflags.Conn, error) {
	to, err := natsflags.Read(c.flags)
	if err != nil {
		return nil, err
	}
	return to.Connect(c.ctx, name)
}

// untilDenied cancels when the broker refuses something on a connection. The function
// that it returns ends that.
func untilDenied(ctx context.Context, nc *natsflags.Conn, cancel context.CancelCauseFunc) func() {
	done := make(chan struct{})
	go func() {
		select {
		case err := <-nc.Denied():
			cancel(err)
		case <-ctx.Done():
		case <-done:
		}
	}()
	return func() { close(done) }
}
