package main

import (
	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

func (t *tool) acceptStartCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "accept-start",
		Usage: "Accept that a store begins after records that were confirmed",
		Description: describe(`Where account says STARTS LATE, publishers had confirmed records before the store
begins. That is right for a group that was added to a living fleet, and a loss for a
store whose file or server lost what it held. This writes a report into the store
which says that it is known. From then on account no longer names what was confirmed
before. If the store loses its beginning once more, account says so again. Where
nothing is late, nothing is written. Give the stores that account was given: the report goes into
the first.

`+notHeld,
			[]string{"papyra-ctl accept-start --backend " + exampleStore},
			exit{"0", "accepted, or nothing is late"},
			exit{"3", "the store does not exist, the disk is full, or stdout failed"},
			exit{"4", "somebody else holds the store"},
			exit{"5", "a part could not be read: nothing was accepted"},
		),
		Flags:  []urfave.Flag{backendFlag(true), accountGroupFlag(), dryRunFlag(), outputFlag()},
		Action: t.verb("accept-start", (*call).acceptStart),
	}
}

// acceptStartResult is the JSON of accept-start.
type acceptStartResult struct {
	DryRun bool   `json:"dry_run"`
	Late   uint64 `json:"late"`          // records that were confirmed before the store begins
	ID     string `json:"act,omitempty"` // of the report; absent when nothing was written
}

func (c *call) acceptStart() error {
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	progress, done := c.progress("reading")
	r, err := account.Read(c.ctx, account.Options{Group: c.flags.String("group"), At: c.now()}, progress, readersOf(stores)...)
	done()
	if err != nil {
		c.noteUnread(stores, err)
		return nil
	}
	store := stores[0]
	result := &acceptStartResult{DryRun: c.flags.Bool("dry-run"), Late: r.Total.Late}
	if result.Late > 0 && !result.DryRun {
		if result.ID, err = c.writeStartAccepted(store, result.Late); err != nil {
			return explain(store, err)
		}
	}
	c.result = result
	if c.json {
		return nil
	}
	switch {
	case result.Late == 0:
		c.out.printf("nothing is late: nothing was written\n")
	case result.DryRun:
		c.out.printf("would accept that %s confirmed before the store begins\n", recordsWere(result.Late))
	default:
		c.out.printf("accepted that %s confirmed before the store begins (act %s)\n", recordsWere(result.Late), result.ID)
	}
	return nil
}

// writeStartAccepted appends the report, makes it durable, and returns the id of
// the act.
func (c *call) writeStartAccepted(store papyra.Store, late uint64) (string, error) {
	identity, now := papyra.NewIdentity(""), c.now()
	id := now.UTC().Format("20060102T150405Z") + "-" + identity.Run()
	line, err := papyra.SealedReport(identity, papyra.SystemReserved, 1, &papyra.Report{
		Name: papyra.ReportStartAccepted, Payload: papyra.StartAccepted{ID: id, Late: late},
	}, now)
	if err != nil {
		return "", err
	}
	appender, err := store.Appender(c.ctx)
	if err != nil {
		return "", err
	}
	var b papyra.Batch
	b.Append(b.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}), line[:len(line)-1])
	_, err = appender.Append(c.ctx, &b)
	if err == nil {
		err = appender.Sync(c.ctx)
	}
	if closed := appender.Close(); err == nil {
		err = closed
	}
	return id, err
}
