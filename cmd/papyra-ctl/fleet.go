package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/cmd/internal/natsflags"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/admin"
	"github.com/papyra/papyra/sink/fleet"
)

func (t *tool) fleetCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "fleet",
		Usage: "Show every sink that ought to be there and every publisher, and how they are",
		Description: describe(`Asks the running sinks of every group. A sink ought to be there when it answers, when
another one of its group has heard of it and it has not said that it stops, or when
--expect names it. One that does not answer is a row too, silent, with the time when it
was last heard of.

STORED/S is of the last ten seconds. LAG is how long records of the last minute took
from their timestamp to the store: half of them (p50) and 99 of 100 (p99) within that.
BUFFER and SPOOL say how full they are, and in what time they will be if that goes on.

Below stands each run of a publisher of which a sink has heard lately, as its last report
says: what it accepted, which group of sinks confirmed how many, what waits (HELD says
why), and what it dropped by reason. A run without a report for 2m30s that has not said
that it ends is silent; it is shown for an hour, one that has ended for ten minutes.
A group for which publishers wait and of which no sink is known is a silent row too.

--watch looks again every 2 s, or --every; with --output json each look is an object.`,
			[]string{
				"papyra-ctl fleet --server nats://nats:4222",
				"papyra-ctl fleet --context prod --watch",
				"papyra-ctl fleet --context prod --expect archive/eu-1 --expect archive/eu-2",
				"papyra-ctl fleet --context prod --output json | jq '.sinks[] | select(.state != \"ready\")'",
			},
			exit{"0", "every sink that ought to be there has answered; STATE says how it is"},
			exit{"5", "one that ought to be there is silent, or could not say how it is"},
			exit{"69", "the broker cannot be reached, or no sink is known of"},
			exit{"77", "the broker refuses the login, or does not let it ask a sink"},
		),
		Flags: slices.Concat([]urfave.Flag{
			&urfave.StringFlag{Name: "group", Usage: "only the sinks of this `GROUP`"},
			&urfave.StringSliceFlag{Name: "expect", Usage: "a sink of this `NAME` ought to be there, INSTANCE or GROUP/INSTANCE; may be given more than once"},
			&urfave.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "look again and again, until ^C"},
			&urfave.StringFlag{Name: "every", Value: "2s", Usage: "with --watch: the time between two looks, a `DURATION`"},
			outputFlag(),
		}, natsflags.Flags()),
		Action:      t.verbOn("fleet", noStores, (*call).fleet),
		Subcommands: []*urfave.Command{t.forgetCommand()},
	}
}

func (t *tool) forgetCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "forget",
		Usage:     "A sink that is gone for good is not missed any more",
		ArgsUsage: "INSTANCE",
		Description: describe(`Asks each sink that expects the one of that name to expect it no more. Each writes down
in its store who asked. It is for a sink that was killed and will not come back: one that
is stopped as usual is not expected any more, and one that answers is refused (1). Should
it come back, it is expected again. Its store stays known to account.`,
			[]string{"papyra-ctl fleet forget --server nats://nats:4222 --group archive eu-3"},
			exit{"0", "done"},
			exit{"1", "the sink answers"},
			exit{"3", "no sink expects it"},
			exit{"5", "a sink that expects it could not do it"},
		),
		Flags: slices.Concat([]urfave.Flag{
			&urfave.StringFlag{Name: "group", Usage: "of this `GROUP`; needed where several expect a sink of that name"},
			dryRunFlag(), outputFlag(),
		}, natsflags.Flags()),
		Action: t.verbOn("fleet forget", noStores, (*call).forget),
	}
}

func (c *call) forget() error {
	instance := c.flags.Args().First()
	if instance == "" || c.flags.NArg() > 1 {
		return usagef("give the name of one sink: papyra-ctl fleet shows them")
	}
	sinks, err := c.connectFleet()
	if err != nil {
		return err
	}
	defer sinks.Close()
	answers, err := fleet.Look(c.ctx, sinks, admin.Find{Group: c.flags.String("group")})
	if err != nil {
		return err
	}
	asked, err := fleet.Forget(c.ctx, answers, instance, c.flags.Bool("dry-run"))
	if errors.Is(err, fleet.ErrAnswers) {
		err = cli.Exit(cli.CodeRefused, err)
	}
	c.result = &struct {
		DryRun bool              `json:"dry_run"`
		Asked  []fleet.Forgotten `json:"asked"`
	}{c.flags.Bool("dry-run"), asked}
	done := "expects " + instance + " no more"
	if c.flags.Bool("dry-run") {
		done = "expects " + instance + "; it would be asked to do so no more"
	}
	for i := range asked {
		f := &asked[i]
		if f.Err != nil {
			c.noteError(fmt.Errorf("sink %s of group %s: %w", f.Instance, f.Group, f.Err))
		} else if !c.json {
			c.out.printf("sink %s of group %s %s\n", f.Instance, f.Group, done)
		}
	}
	return err
}

// connectFleet connects to the broker of the sinks.
func (c *call) connectFleet() (*admin.Fleet, error) {
	n, err := natsflags.Read(c.flags)
	if err != nil {
		return nil, err
	}
	return admin.Connect(admin.FleetConfig{URL: n.URL, NATS: n.Options, By: whoAsks()})
}

// fleetResult is the JSON of fleet.
type fleetResult struct {
	Sinks         []fleet.SinkRow      `json:"sinks"`
	Publishers    []fleet.PublisherRow `json:"publishers"`
	RunsForgotten uint64               `json:"runs_forgotten"` // more than sinks can remember
}

func (c *call) fleet() error {
	sinks, err := c.connectFleet()
	if err != nil {
		return err
	}
	defer sinks.Close()
	if c.flags.Bool("watch") {
		return c.watchFleet(sinks)
	}
	return c.lookAtFleet(sinks)
}

// watchFleet looks again and again until it is interrupted or nobody reads. With JSON
// each look is an object. A broker that is away is told and waited for.
func (c *call) watchFleet(sinks *admin.Fleet) error {
	every, err := human.ParseDuration(c.flags.String("every"))
	if err != nil || every <= 0 {
		return usagef("--every %q: give a duration like 2s", c.flags.String("every"))
	}
	for {
		if c.out.tty && !c.json {
			c.out.printf("%s", raw("\x1b[H\x1b[2J"))
		}
		switch err := c.lookAtFleet(sinks); {
		case c.interrupted():
			return err
		case errors.Is(err, papyra.ErrUnavailable):
			c.noteError(err)
		case err != nil:
			return err
		}
		if err := c.showLook(); err != nil {
			return err
		}
		select {
		case <-time.After(every):
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
	}
}

// showLook writes what is left of one look, and begins the next.
func (c *call) showLook() error {
	if c.json {
		if err := c.endObject(); err != nil {
			return writeError(err)
		}
	} else {
		for _, m := range c.messages {
			c.out.printf("%s\n", m)
		}
		c.out.printf("\n%s UTC\n\n", c.now().UTC().Format(time.DateTime))
	}
	c.conditions, c.messages, c.result, c.object = nil, nil, nil, nil
	return writeError(c.out.flush())
}

// lookAtFleet asks the sinks and shows the rows.
func (c *call) lookAtFleet(sinks *admin.Fleet) error {
	answers, err := fleet.Look(c.ctx, sinks, admin.Find{Group: c.flags.String("group"), Expect: c.flags.StringSlice("expect")})
	if err != nil {
		return err
	}
	r := &fleetResult{}
	r.Publishers, r.RunsForgotten = fleet.PublisherRows(answers)
	r.Sinks = fleet.SinkRows(answers)
	if c.flags.String("group") == "" {
		r.Sinks = fleet.AddMissingGroups(r.Sinks, r.Publishers)
	}
	c.result = r
	c.noteFleet(r)
	if c.json {
		return nil
	}
	if err := c.showSinks(r.Sinks); err != nil || len(r.Publishers) == 0 {
		return writeError(err)
	}
	c.out.printf("\n")
	if n := r.RunsForgotten; n > 0 {
		c.messages = append(c.messages, human.Plural(int64(n), "more run of a publisher was", "more runs of publishers were")+" heard of than sinks can remember")
	}
	return writeError(c.showPublishers(r.Publishers))
}

// noteFleet adds the conditions of the rows.
func (c *call) noteFleet(r *fleetResult) {
	for i := range r.Sinks {
		row := &r.Sinks[i]
		switch row.State {
		case fleet.StateSilent, fleet.StateFailed:
			c.noteCondition(cli.CodeIncomplete, "sink %s of group %s: %s", cmp.Or(row.Instance, "-"), row.Group, row.State)
		case fleet.StateRefused:
			c.noteCondition(cli.CodeDenied, "sink %s of group %s: %s", row.Instance, row.Group, row.Why)
		}
	}
}

func (c *call) showSinks(rows []fleet.SinkRow) error {
	g := newGrid(c.out, column{title: "GROUP"}, column{title: "INSTANCE"}, column{title: "STATE", color: sinkColor},
		column{title: "STORED/S", right: true}, column{title: "LAG P50", right: true}, column{title: "P99", right: true},
		column{title: "BUFFER"}, column{title: "SPOOL"}, column{title: "SINCE (UTC)"},
		column{title: "HOST"}, column{title: "VERSION"}, column{title: "STORE"}, column{title: "WHY, OR LAST ERROR", cut: true})
	for i := range rows {
		r := &rows[i]
		p50, p99 := "-", "-"
		if r.Lag != nil {
			p50, p99 = shownLag(r.Lag.P50), shownLag(r.Lag.P99)
		}
		why := r.Why
		if why == "" && r.LastError != "" {
			why = "at " + human.Seconds(r.LastErrorAt) + ": " + r.LastError
		}
		err := g.addRow(r.Group, cmp.Or(r.Instance, "-"), r.State, fmt.Sprintf("%.0f", r.Stored), p50, p99,
			shownFill(r.Buffer), shownFill(r.Spool), human.Seconds(r.Since), cmp.Or(r.Host, "-"), cmp.Or(r.Version, "-"), cmp.Or(r.Store, "-"), why)
		if err != nil {
			return err
		}
	}
	return g.writePage()
}

func (c *call) showPublishers(rows []fleet.PublisherRow) error {
	g := newGrid(c.out, column{title: "SYSTEM"}, column{title: "NODE"}, column{title: "RUN"}, column{title: "STATE", color: sinkColor},
		column{title: "ACCEPTED", right: true}, column{title: "CONFIRMED BY"}, column{title: "BUFFERED", right: true},
		column{title: "DROPPED"}, column{title: "SEEN", right: true}, column{title: "HELD", cut: true})
	for i := range rows {
		r := &rows[i]
		held := make([]string, len(r.Held))
		for i, h := range r.Held {
			held[i] = h.String()
		}
		confirmed := shownCounts(r.ConfirmedBy)
		if len(r.ConfirmedBy) == 0 && r.Confirmed > 0 {
			confirmed = "a server: " + human.Count(r.Confirmed)
		}
		err := g.addRow(r.System, r.Node, r.Run, r.State, human.Count(r.Accepted), confirmed, human.Count(r.Buffered),
			shownCounts(r.Dropped), shownSeconds(r.Age, time.Second)+" ago", strings.Join(held, ", "))
		if err != nil {
			return err
		}
	}
	return g.writePage()
}

// shownCounts shows counts by name: "archive 12, live 10".
func shownCounts(counts map[string]uint64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, name+" "+human.Count(counts[name]))
	}
	return cmp.Or(strings.Join(list, ", "), "-")
}

func sinkColor(state string) string {
	switch state {
	case fleet.StateReady, fleet.StateRunning:
		return green
	case fleet.StateEnded:
		return faint
	case fleet.StateStarting, fleet.StateStopping:
		return yellow
	}
	return red
}

// shownLag shows seconds with as many digits as mean something.
func shownLag(seconds float64) string { return shownSeconds(seconds, time.Millisecond) }

func shownSeconds(seconds float64, step time.Duration) string {
	d := time.Duration(min(seconds, 1e9) * float64(time.Second)) // 30 years
	if d > time.Minute {
		step = time.Second
	}
	return d.Round(step).String()
}

// shownFill shows how full something is: "12%, full in 3m20s".
func shownFill(f *fleet.Fill) string {
	if f == nil {
		return "-"
	}
	text := fmt.Sprintf("%.0f%%", 100*float64(f.Bytes)/float64(f.Max))
	if f.Bytes > 0 && f.FullIn > 0 && f.FullIn < 7*86400 {
		text += ", full in " + shownSeconds(f.FullIn, time.Second)
	}
	return text
}
