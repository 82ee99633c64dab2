package main

import (
	"slices"
	"strconv"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/quarantine"
)

func (t *tool) quarantineCommand() *urfave.Command {
	verb := func(name, usage, text string, do func(*call, quarantine.Store) error, flags ...urfave.Flag) *urfave.Command {
		example := "papyra-ctl quarantine " + name + " --backend " + exampleStore
		if name != "list" {
			example += " --act 20261128T021500Z-0123456789abcdef"
			flags = append([]urfave.Flag{&urfave.StringFlag{Name: "act", Usage: "the `ID` of a recovery, as list names it"}}, flags...)
		}
		return &urfave.Command{
			Name: name, Usage: usage,
			Description: describe(text, []string{example},
				exit{"0", "done, also when there is nothing"},
				exit{"3", "the store or the act does not exist, or stdout failed"},
				exit{"4", "somebody else holds the store (restore)"},
				exit{"5", "a part could not be read, or is not what the recovery saved"}),
			Flags:  slices.Concat([]urfave.Flag{backendFlag(false), quarantineDirFlag()}, flags, []urfave.Flag{outputFlag()}),
			Action: t.verb("quarantine "+name, func(c *call) error { return c.quarantine(do) }),
		}
	}
	return &urfave.Command{
		Name:  "quarantine",
		Usage: "Show what recoveries have moved away, and put records back",
		Subcommands: []*urfave.Command{
			verb("list", "List the recoveries that moved something", `Lists what recover has moved away, a line for each recovery.`, (*call).listActs),
			verb("show", "Show what one recovery moved", `Shows each piece of an act: where it was, its class, and how it begins.`, (*call).showAct,
				&urfave.StringFlag{Name: "limit", Aliases: []string{"n"}, Value: "100", Usage: "show only the first `N` pieces; 0 shows all"}),
			verb("restore", "Put the records of one recovery back", `Appends the records that stand whole in the pieces of an act to the end of the
store, byte for byte, as far as the store does not hold them. What is no record stays
in quarantine, which is not changed. Killed, it is finished by the same command.`, (*call).restoreAct, dryRunFlag()),
		},
	}
}

// quarantine opens the one store of a verb.
func (c *call) quarantine(do func(*call, quarantine.Store) error) error {
	store, err := c.openOne()
	if err != nil {
		return err
	}
	defer closeAll([]papyra.Store{store})
	s, ok := store.(quarantine.Store)
	if !ok {
		return usagef("%s does not show its quarantine", store.URL())
	}
	if c.verb != "quarantine list" && c.flags.String("act") == "" {
		return usagef("give --act ID: papyra-ctl quarantine list names the acts")
	}
	if err := do(c, s); err != nil {
		return explain(store, err)
	}
	return nil
}

func (c *call) listActs(s quarantine.Store) error {
	acts, err := s.QuarantineActs(c.ctx, c.flags.String("quarantine-dir"))
	if err != nil {
		return err
	}
	c.result = &struct {
		Acts []papyra.QuarantineAct `json:"acts"`
	}{append([]papyra.QuarantineAct{}, acts...)}
	if c.json {
		return nil
	}
	g := newGrid(c.out, column{title: "ACT"}, column{title: "PIECES", right: true}, column{title: "BYTES", right: true}, column{title: "HOLDS"})
	for _, a := range acts {
		holds := human.Counts(a.Counts)
		if !a.Complete {
			holds = "incomplete: its recovery was interrupted, and its bytes are in the store or a later act"
		}
		_ = g.addRow(a.ID, human.Count(a.Pieces), human.Count(a.Bytes), holds)
	}
	return g.writePage()
}

func (c *call) showAct(s quarantine.Store) error {
	limit, err := strconv.ParseUint(c.flags.String("limit"), 10, 32)
	if err != nil {
		return usagef("--limit: give a number, or 0 for all")
	}
	shown, err := quarantine.Show(c.ctx, s, c.flags.String("quarantine-dir"), c.flags.String("act"), int64(limit))
	if c.result = shown; err != nil || c.json {
		return err
	}
	g := newGrid(c.out, column{title: "CLASS"}, column{title: "PLACE"}, column{title: "AT", right: true}, column{title: "BYTES", right: true}, column{title: "BEGINS WITH"})
	for _, p := range shown.Pieces {
		at := p.ID
		if p.File != "" {
			at = human.Count(p.Offset)
		}
		_ = g.addRow(string(p.Class), p.File+p.Stream, at, human.Count(p.Length), p.Excerpt)
	}
	err = g.writePage()
	c.out.printf("%d of %d\n", len(shown.Pieces), shown.Found)
	return err
}

func (c *call) restoreAct(s quarantine.Store) error {
	r, err := quarantine.Restore(c.ctx, s, quarantine.Options{
		Dir: c.flags.String("quarantine-dir"), Act: c.flags.String("act"), DryRun: c.flags.Bool("dry-run"), Now: c.now(),
	})
	if err != nil {
		return err
	}
	c.result = r
	if c.json {
		return nil
	}
	did := "restored"
	if r.DryRun {
		did = "would restore"
	}
	c.out.printf("%s %s, %s; the store holds %s already\n", did, human.Plural(r.Restored, "record", "records"), human.Bytes(r.RestoredBytes), human.Count(r.Present))
	c.out.printf("%s of %s are no record and stay in quarantine\n", human.Bytes(r.DamagedBytes), human.Plural(r.Pieces, "piece", "pieces"))
	return nil
}
