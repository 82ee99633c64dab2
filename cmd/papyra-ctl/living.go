package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/cmd/internal/natsflags"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/redact"
	"github.com/papyra/papyra/sink/admin"
)

// living are the running sinks that a verb asks over NATS.
type living struct {
	fleet   *admin.Fleet
	members []admin.Member
	asked   int // of the members, in turn, by an act
	act     bool
}

// instanceRow is one sink that ought to be there.
type instanceRow struct {
	Instance string `json:"instance"`
	State    string `json:"state"`
	Error    string `json:"error,omitempty"`
}

func (l *living) close() {
	if l.fleet != nil {
		l.fleet.Close()
	}
}

// withSinks adds the flags by which running sinks are asked.
func withSinks(flags []urfave.Flag) []urfave.Flag {
	const category = "Running sinks, with --server or --context"
	isGroup := func(f urfave.Flag) bool { return slices.Contains(f.Names(), "group") }
	if !slices.ContainsFunc(flags, isGroup) {
		flags = append(flags, &urfave.StringFlag{Name: "group", Category: category, Usage: "ask the sinks of this `GROUP`; needed where there are several"})
	}
	flags = append(flags,
		&urfave.StringFlag{Name: "instance", Category: category, Usage: "ask only the sink of this `NAME`"},
		&urfave.StringSliceFlag{Name: "expect", Category: category, Usage: "a sink of this `NAME` ought to be there; may be given more than once"})
	return append(flags, natsflags.Flags()...)
}

// asksSinks reports whether running sinks are to be asked. The command line wins over
// the environment, and there a backend over a broker.
func asksSinks(flags *urfave.Context) (bool, error) {
	if !slices.ContainsFunc(flags.Command.Flags, func(f urfave.Flag) bool { return slices.Contains(f.Names(), "instance") }) {
		return false, nil // the verb is none of theirs
	}
	given := func(name string) bool { return flags.String(name) != "" && !cli.FromEnvironment(flags, name) }
	backend := len(flags.StringSlice("backend")) > 0
	switch {
	case (given("server") || given("context")) && backend && !cli.FromEnvironment(flags, "backend"):
		return false, usagef("--backend names a store and --server or --context a broker whose sinks are asked: give one")
	case given("server"), given("context"):
		return true, nil
	}
	return !backend && len(flags.StringSlice("file")) == 0 && natsflags.Given(flags), nil
}

// throughHolder returns a store that a sink holds as that sink shows it, for the verbs
// that sinks know.
func (c *call) throughHolder(store papyra.Store) papyra.Store {
	switch verb, _, _ := strings.Cut(c.verb, " "); verb {
	case "scan", "recover", "compact", "inspect", "account", "doctor", "jobs", "cancel":
		return admin.ThroughHolder(c.ctx, store, c.readingVerb())
	}
	return store
}

// readingVerb is the verb of sinks as which records are read.
func (c *call) readingVerb() string {
	switch c.verb {
	case "account":
		return admin.VerbAccount
	case "inspect summary":
		return admin.VerbSummary
	}
	return admin.VerbInspect
}

// findSinks connects and returns the stores of the sinks that ought to be there.
func (c *call) findSinks() ([]papyra.Store, error) {
	var err error
	if c.living.fleet, err = c.connectFleet(); err != nil {
		return nil, err
	}
	c.living.members, err = c.living.fleet.Find(c.ctx, admin.Find{
		Group: c.flags.String("group"), Instance: c.flags.String("instance"), Expect: c.flags.StringSlice("expect"), Verb: c.readingVerb(),
	})
	if err != nil {
		return nil, err
	}
	var stores []papyra.Store
	for i := range c.living.members {
		store := c.living.members[i].Store
		stores = append(stores, store)
		c.urls = append(c.urls, store.URL())
	}
	return stores, nil
}

// whoAsks names this user, as far as anybody believes it.
func whoAsks() string {
	name := "uid " + strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + host
}

// onEach does an act on the one store of the verb, or, with --server, on that of each
// sink in turn, as long as all of them are ready and none fails.
func (c *call) onEach(act func(papyra.Store) error) error {
	if c.living == nil {
		store, err := c.openOne()
		if err != nil {
			return err
		}
		defer closeAll([]papyra.Store{store})
		return act(store)
	}
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	c.living.act = true
	type result struct {
		Instance string `json:"instance"`
		Result   any    `json:"result"`
	}
	results := []result{}
	for i := range c.living.members {
		m := &c.living.members[i]
		if err := admin.OthersReady(c.ctx, c.living.members, i); err != nil {
			return fmt.Errorf("%w: nothing more was begun; one sink alone is asked with --instance", err)
		}
		if i > 0 && !c.json {
			c.out.printf("\n")
		}
		c.living.asked = i + 1
		c.result = nil
		if err := act(m.Store); err != nil {
			return err
		}
		results = append(results, result{m.Instance, c.result})
		if len(stores) > 1 {
			c.result = &struct {
				Results []result `json:"results"`
			}{results}
		}
		if code := c.exitCode(); code != cli.CodeOK && code != cli.CodeAnomalies {
			return nil
		}
	}
	return nil
}

// naming returns the flags that name a store again.
func (c *call) naming(store papyra.Store) string {
	if c.living == nil {
		return "--backend " + human.ShellQuote(store.URL())
	}
	text := "--server " + human.ShellQuote(redact.URL(c.flags.String("server")))
	if name := c.flags.String("context"); name != "" {
		text = "--context " + human.ShellQuote(name)
	}
	if through, ok := store.(*admin.Store); ok {
		text += " --group " + through.Health().Group + " --instance " + through.Health().Instance
	}
	return text
}

// instanceRows returns a row for each sink that ought to be there.
func (c *call) instanceRows() (rows []instanceRow) {
	if c.living == nil {
		return nil
	}
	for i := range c.living.members {
		m := &c.living.members[i]
		row := instanceRow{Instance: m.Instance, State: m.State()}
		if err := m.Problem(); err != nil {
			row.Error = err.Error()
		}
		if c.living.act && i >= c.living.asked && row.State == admin.MemberDone {
			row.State = admin.MemberWaiting
		}
		rows = append(rows, row)
	}
	return rows
}

// showInstances shows the rows, where they tell anything.
func (c *call) showInstances() {
	rows := c.instanceRows()
	if len(rows) < 2 {
		return
	}
	c.out.printf("\n")
	g := newGrid(c.out, column{title: "INSTANCE"}, column{title: "STATE", color: func(state string) string {
		if state == admin.MemberDone {
			return green
		}
		return red
	}}, column{title: "WHY", cut: true})
	for _, r := range rows {
		_ = g.addRow(r.Instance, r.State, r.Error)
	}
	_ = g.writePage() // finish reports a failed write
}

// fetchRejects writes the reject files of the sinks that are asked into one file, which
// the caller removes.
func (c *call) fetchRejects(stores []papyra.Store) (path string, err error) {
	f, err := os.CreateTemp("", "papyra-rejects-")
	if err != nil {
		return "", err
	}
	for _, store := range stores {
		through, ok := store.(interface {
			Rejects(ctx context.Context, w io.Writer) error
		})
		if !ok {
			continue
		}
		if rerr := through.Rejects(c.ctx, f); rerr != nil {
			c.noteError(explain(store, rerr))
		}
	}
	return f.Name(), f.Close()
}
