package main

import (
	"errors"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/redact"
	"github.com/papyra/papyra/sink/account"
)

func (t *tool) accountCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "account",
		Usage: "Say what became of every record: stored, dropped, removed or missing",
		Description: describe(`Publishers number their records, and everything that drops or removes records
writes a report about it. So the stores of one group are enough to say what became
of each number, for every run and category. Give every store of the group: its
workers share the records, and what a store holds that is not given looks missing.
Stores of different groups are refused unless --group chooses one; then --gaps says
which missing records a store of the other group holds. Nothing is changed.`,
			[]string{
				"papyra-ctl account --backend " + exampleStore,
				"papyra-ctl account --backend json:eu-1.ndjson --backend json:eu-2.ndjson --gaps --since 1d",
				"papyra-ctl account --backend json:archive.ndjson --backend json:live.ndjson --group archive --gaps",
			},
			exit{"0", "every record that has a number is accounted for"},
			exit{"2", "records are missing without a reason, or were confirmed before the store begins"},
			exit{"3", "a store does not exist, or stdout failed"},
			exit{"5", "a part could not be read, or a store of the group was not given"},
		),
		Flags: withSinks([]urfave.Flag{
			backendFlag(true),
			accountGroupFlag(),
			&urfave.StringFlag{Name: "system", Usage: "judge only the records of this `SYSTEM`; it may then take four times the memory that is meant for all"},
			&urfave.BoolFlag{Name: "gaps", Usage: "list what probably happened to missing records: when, to which runs, and how many"},
			&urfave.BoolFlag{Name: "ranges", Usage: "with --gaps, list each missing range with the times around it"},
			&urfave.StringFlag{Name: "settle", Value: "1m", Usage: "count numbers younger than this `DURATION` as pending, not as missing"},
			&urfave.StringFlag{Name: "since", Usage: "judge only records from this `TIME` on: 2h or 7d (ago), 2024-05-31, 2024-05-31T14:00:00Z, or Unix seconds; in UTC"},
			&urfave.StringSliceFlag{Name: "without", Usage: "do not miss the store with this `ID` when a report names it: it is gone for good, or never was; may be repeated"},
			outputFlag(),
		}),
		Action: t.verb("account", (*call).account),
	}
}

// maxGaps is how many gaps are put together to incidents.
const maxGaps = 50_000

func accountGroupFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "group", Usage: "judge this `GROUP` of sinks; needed when the stores belong to several groups"}
}

// readersOf returns stores as an account takes them.
func readersOf(stores []papyra.Store) []account.Reader {
	readers := make([]account.Reader, len(stores))
	for i, s := range stores {
		readers[i] = s
	}
	return readers
}

// noteUnread notes the error of an account: for each store what could not be read.
func (c *call) noteUnread(stores []papyra.Store, err error) {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		c.noteError(err)
		return
	}
	for _, err := range joined.Unwrap() {
		var read *account.ReadError
		if errors.As(err, &read) {
			err = explain(stores[read.Store], read.Err)
		}
		c.noteError(err)
	}
}

func (c *call) accountOptions() (account.Options, error) {
	// The moment is taken before the first store is read: what is stored while this
	// reads is younger, and so counts as pending.
	now := c.now()
	o := account.Options{Group: c.flags.String("group"), At: now, Gaps: c.flags.Bool("gaps"), System: c.flags.String("system"), Without: c.flags.StringSlice("without"), MaxGaps: maxGaps}
	if c.flags.Bool("ranges") && !o.Gaps {
		return o, usagef("--ranges belongs to --gaps: give both")
	}
	var err error
	if o.Settle, err = human.ParseDuration(c.flags.String("settle")); err != nil {
		return o, usagef("--settle: %v", err)
	}
	if o.Settle == 0 {
		o.Settle = -1 // package account takes 0 for its default
	}
	if s := c.flags.String("since"); s != "" {
		if o.Since, err = human.ParseTime(s, now); err != nil {
			return o, usagef("--since: %v", err)
		}
	}
	return o, nil
}

func (c *call) account() error {
	o, err := c.accountOptions()
	if err != nil {
		return err
	}
	for i, u := range c.urls {
		if slices.Contains(c.urls[:i], u) {
			return usagef("--backend %s is given twice: each of its records would be a duplicate", redact.URL(u))
		}
	}
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	progress, done := c.progress("reading")
	r, err := account.Read(c.ctx, o, progress, readersOf(stores)...)
	done()
	if r == nil {
		return err
	}
	if err != nil {
		c.noteUnread(stores, err)
	}
	for _, s := range r.Absent {
		c.noteCondition(cli.CodeIncomplete, "store %s of %s belongs to the group and was not given", s.ID, absentPlace(&s))
	}
	if r.TooLargeTotal > 0 || r.TooManySystems {
		c.noteCondition(cli.CodeIncomplete, "%s", r.ShowTooLarge())
	}
	if n := r.UnreadMessages; n > 0 {
		c.noteCondition(cli.CodeAnomalies, "a sink ended with %s unread", human.Plural(int64(n), "message", "messages"))
	}
	if n := r.Total.Missing; n > 0 {
		c.noteCondition(cli.CodeAnomalies, "%s missing without a reason", recordsAre(n))
	}
	if n := r.Total.Late; n > 0 && r.Total.Missing == 0 {
		c.noteCondition(cli.CodeAnomalies, "the store starts late: %s confirmed before it begins", recordsWere(n))
	}
	if n := account.DefaultMaxGaps; !c.flags.Bool("ranges") && len(r.Gaps) > n {
		r.Gaps = r.Gaps[:n]
	}
	c.result = r
	if !c.json {
		c.showAccount(r)
	}
	return nil
}
