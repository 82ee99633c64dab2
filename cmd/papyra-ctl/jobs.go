package main

import (
	"context"
	"errors"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/admin"
)

func (t *tool) jobsCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "jobs",
		Usage: "List what running sinks do for somebody, and what they did",
		Description: describe(`Lists the jobs of the sink that holds a store, or with --server of each sink of a
group: the acts and then the reads that run, and the newest of those that have ended.`,
			[]string{"papyra-ctl jobs --server nats://nats:4222 --group archive"},
			exit{"0", "done, also when there is none"},
			exit{"3", "no sink holds the store, or stdout failed"},
			exit{"5", "a sink does not answer"},
		),
		Flags:  withSinks([]urfave.Flag{backendFlag(true), outputFlag()}),
		Action: t.verb("jobs", (*call).jobs),
	}
}

func (t *tool) cancelCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "cancel",
		Usage:     "End a job of a running sink at its next step",
		ArgsUsage: "JOB",
		Description: describe(`Ends the job of that id, which jobs lists, and waits for it: the store is then as
before, or as after the act, or says itself how far the act came.`,
			[]string{"papyra-ctl cancel --server nats://nats:4222 --group archive OFM4TM2FV7W7E2K4HUTE7TMCGI"},
			exit{"0", "the job has ended"},
			exit{"3", "there is no such job, or stdout failed"},
			exit{"5", "a sink does not answer"},
		),
		Flags:  withSinks([]urfave.Flag{backendFlag(true), outputFlag()}),
		Action: t.verb("cancel", (*call).cancel),
	}
}

// jobRow is a job of one of several sinks.
type jobRow struct {
	Backend string `json:"backend"`
	admin.JobStatus
}

// asked is the store of a sink that can be asked for its jobs.
type asked interface {
	Jobs(ctx context.Context) ([]admin.JobStatus, error)
	Cancel(ctx context.Context, id string) (*admin.JobStatus, error)
}

// onSinks does something with each sink that answers.
func (c *call) onSinks(do func(papyra.Store, asked) error) error {
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	for _, store := range stores {
		sink, ok := store.(asked)
		if !ok {
			c.noteError(cli.Exit(cli.CodeFailed, fmt.Errorf("%s: no sink holds it and answers", store.URL())))
			continue
		}
		if err := do(store, sink); err != nil {
			c.noteError(explain(store, err))
		}
	}
	return nil
}

func (c *call) jobs() error {
	rows := []jobRow{}
	err := c.onSinks(func(store papyra.Store, sink asked) error {
		list, err := sink.Jobs(c.ctx)
		for _, j := range list {
			rows = append(rows, jobRow{store.URL(), j})
		}
		return err
	})
	c.showJobs(rows)
	return err
}

func (c *call) showJobs(rows []jobRow) {
	c.result = &struct {
		Jobs []jobRow `json:"jobs"`
	}{rows}
	if c.json {
		return
	}
	g := newGrid(c.out, column{title: "STORE"}, column{title: "JOB"}, column{title: "VERB"}, column{title: "STATE"}, column{title: "BEGAN (UTC)"}, column{title: "BY"}, column{title: "SAYS", cut: true})
	for _, r := range rows {
		says := r.Error
		if r.State == "running" && r.Total > 0 {
			says = fmt.Sprintf("%d%%", r.Done*100/r.Total)
		}
		_ = g.addRow(r.Backend, r.Job, r.Verb, r.State, human.Briefly(r.Began), r.By, says)
	}
	_ = g.writePage() // finish reports a failed write
}

func (c *call) cancel() error {
	id := c.flags.Args().First()
	if id == "" || c.flags.NArg() > 1 {
		return usagef("give the id of one job: papyra-ctl jobs lists them")
	}
	rows := []jobRow{}
	err := c.onSinks(func(store papyra.Store, sink asked) error {
		st, err := sink.Cancel(c.ctx, id)
		if errors.Is(err, papyra.ErrNotFound) {
			return nil // it may be another sink's
		}
		if err == nil {
			rows = append(rows, jobRow{store.URL(), *st})
		}
		return err
	})
	if err == nil && len(rows) == 0 && len(c.conditions) == 0 {
		return fmt.Errorf("no job %s: %w", id, papyra.ErrNotFound)
	}
	c.showJobs(rows)
	return err
}
