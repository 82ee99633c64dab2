package main

import (
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
)

// retentionFlags are the limits that compact and inspect apply, and the moment
// at which they do.
func retentionFlags() []urfave.Flag {
	flags := cli.RetentionFlags()
	at := &urfave.StringFlag{Name: "at", Usage: "the `TIME` that ages are measured from (default: now)"}
	if first, ok := flags[0].(*urfave.StringFlag); ok {
		at.Category = first.Category
	}
	return append(flags, at)
}

// retention reads the flags of retentionFlags.
func (c *call) retention() (papyra.Retention, time.Time, error) {
	at := c.now()
	if s := c.flags.String("at"); s != "" {
		var err error
		if at, err = parseTime(s, at); err != nil {
			return papyra.Retention{}, at, usagef("--at: %v", err)
		}
	}
	r, err := cli.Retention(c.flags)
	return r, at, err
}

// limitsJSON is the retention in force as JSON shows it: general limits and
// those of a category, only where there are any, ages in seconds.
type limitsJSON struct {
	KeepRecords int64   `json:"keep_records,omitempty"`
	KeepAge     float64 `json:"keep_age,omitempty"`
	KeepBytes   int64   `json:"keep_bytes,omitempty"`
}

// retentionJSON maps "general" and categories to limits.
func retentionJSON(r papyra.Retention) map[string]limitsJSON {
	out := map[string]limitsJSON{}
	add := func(name string, l papyra.Limits) {
		if !l.IsZero() {
			out[name] = limitsJSON{l.Records, l.Age.Seconds(), l.Bytes}
		}
	}
	add("general", r.General)
	for _, k := range papyra.Kinds() {
		add(k.Category(), r.ByKind[k])
	}
	return out
}
