package main

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/inspect"
	"github.com/papyra/papyra/sink/tail"
)

// followEvery is how often a store is looked at.
const followEvery = 500 * time.Millisecond

func followFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "follow", Usage: "go on with what is appended, until ^C; with --output ndjson each record is a line of JSON"}
}

// follow shows the records of a kind that stores hold, and then those that come.
func (c *call) follow(kind papyra.Kind, q papyra.Query, stores []papyra.Store) error {
	if q.Reverse {
		return usagef("--follow shows the newest last: leave --reverse out")
	}
	if c.json {
		return usagef("--follow has no end, and an object has: give --output ndjson or table")
	}
	var followers []*tail.Follower
	for _, store := range stores {
		// First, so that nothing that comes meanwhile is left out.
		f, err := tail.Follow(c.ctx, store)
		if err != nil {
			return explain(store, err)
		}
		followers = append(followers, f)
	}
	show := c.liveRecords(kind)
	sources, err := inspect.Read(c.ctx, stores, q, func(rec *papyra.Record) error {
		for _, f := range followers {
			f.NoteSeen(rec)
		}
		return show.addRecord(rec)
	})
	if err == nil {
		err = errors.Join(show.finish(), c.out.flush())
	}
	if c.noteSources(sources); err != nil || len(c.conditions) > 0 {
		return writeError(err)
	}
	q.Limit = 0
	look := time.NewTicker(followEvery)
	defer look.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-look.C:
		}
		for i, f := range followers {
			if err := c.showAppended(f, stores[i], &q, show); err != nil {
				return err
			}
		}
	}
}

// showAppended shows what was appended to one store. One that does not answer now may
// do so later.
func (c *call) showAppended(f *tail.Follower, store papyra.Store, q *papyra.Query, show recordShower) error {
	shown := error(nil)
	left, err := f.Next(c.ctx, func(rec *papyra.Record) error {
		if q.Match(rec) {
			shown = show.addRecord(rec)
		}
		return shown
	})
	switch {
	case shown != nil:
		return outputError(shown)
	case c.interrupted():
		return c.ctx.Err()
	case errors.Is(err, papyra.ErrUnavailable), errors.Is(err, papyra.ErrIncomplete):
		return nil
	case err != nil:
		return explain(store, err)
	}
	if left > 0 {
		c.err.printf("papyra-ctl: %s came faster than they could be shown\n", human.Plural(left, "record", "records"))
		_ = c.err.flush() // there is no other place to report its error
	}
	if err := errors.Join(show.finish(), c.out.flush()); err != nil {
		return outputError(err)
	}
	return nil
}

// liveRecords shows records of a kind that come one by one: in a table whose columns
// only grow, or each as its line.
func (c *call) liveRecords(kind papyra.Kind) recordShower {
	if !c.lines {
		return c.recordTable(kind)
	}
	return recordShower{addRecord: c.writeLine, finish: func() error { return nil }}
}

// writeLine writes a record as a line of JSON, as it was sent.
func (c *call) writeLine(rec *papyra.Record) error {
	return c.writeText(rec.Line)
}

// writeJSON writes a value as a line of JSON.
func (c *call) writeJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.writeText(text)
}

// writeText writes a JSON text as a line.
func (c *call) writeText(text []byte) error {
	_, err := c.out.w.Write(append(slices.Clip(c.jsonText(text)), '\n'))
	return err
}
