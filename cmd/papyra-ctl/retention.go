package main

import (
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
)

// retentionFlags returns the flags of the limits that compact and inspect apply,
// and of the moment from which ages are measured.
func retentionFlags() []urfave.Flag {
	flags := cli.RetentionFlags()
	at := &urfave.StringFlag{Name: "at", Usage: "the `TIME` that ages are measured from (default: now)"}
	if first, ok := flags[0].(*urfave.StringFlag); ok {
		at.Category = first.Category
	}
	return append(flags, at)
}

// retention reads the flags of retentionFlags by read, cli.Retention or another.
func (c *call) retention(read func(*urfave.Context) (papyra.Retention, error)) (papyra.Retention, time.Time, error) {
	at := c.now()
	if s := c.flags.String("at"); s != "" {
		var err error
		if at, err = human.ParseTime(s, at); err != nil {
			return papyra.Retention{}, at, usagef("--at: %v", err)
		}
	}
	r, err := read(c.flags)
	return r, at, err
}
