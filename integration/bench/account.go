package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend/jsonfile"
)

// readAccount reads what the store says of every run.
func (b *bench) readAccount() (*account.Result, error) {
	s, err := jsonfile.Open(b.sink.path, jsonfile.Config{})
	if err != nil {
		return nil, fmt.Errorf("account for the store: %w", err)
	}
	defer func() { _ = s.Close() }() // the store was only read
	r, err := account.Read(b.ctx, account.Options{Settle: -time.Second, Gaps: true}, nil, s)
	if err != nil {
		return nil, fmt.Errorf("account for the store: %w", err)
	}
	return r, nil
}

// verifyRuns returns an error unless the store holds what each publisher said
// of itself: every record that was confirmed, and for every other one a reason.
func (b *bench) verifyRuns() error {
	if len(b.runs) == 0 {
		return nil
	}
	r, err := b.readAccount()
	if err != nil {
		return err
	}
	for _, run := range b.runs {
		got := eventsOf(r, run.run)
		if got == nil {
			return fmt.Errorf("the store knows nothing of publisher %s: %w", run.run, errIncomplete)
		}
		e := run.events
		switch {
		case e.Accepted != uint64(b.batched) || e.Accepted != e.Confirmed+e.Dropped():
			return fmt.Errorf("publisher %s was given %d records and says of them: %+v: %w", run.run, b.batched, e, errUnbalanced)
		case got.Stored != e.Confirmed || got.DroppedTotal() != e.Dropped() || got.Missing != 0 || got.Conflicts != 0:
			return fmt.Errorf("of the %d records of publisher %s %d were confirmed and %d dropped, and the store accounts for them as %+v: %w",
				e.Accepted, run.run, e.Confirmed, e.Dropped(), got.Counts, errIncomplete)
		}
	}
	return nil
}

var errUnbalanced = errors.New("an account does not add up")

// eventsOf returns the account of a run's events, or nil if the store has none.
func eventsOf(r *account.Result, run string) *account.Category {
	for i := range r.Runs {
		for j := range r.Runs[i].Categories {
			if c := &r.Runs[i].Categories[j]; r.Runs[i].Run == run && c.Category == papyra.KindEvent.Category() {
				return c
			}
		}
	}
	return nil
}

// explainLoss returns, as an error, what each part of the pipeline counted, so
// that a failure names who lost what. The sink has ended.
func (b *bench) explainLoss() error {
	var out strings.Builder
	out.WriteString("the account of the line:")
	for _, run := range b.runs {
		fmt.Fprintf(&out, "\npublisher %s: %+v %+v", run.run, run.events, run.errors)
	}
	if err := b.line.tell("numbers"); err == nil {
		if numbers, err := b.line.hear(); err == nil {
			fmt.Fprintf(&out, "\nbroker: %s", numbers)
		}
	}
	for _, line := range b.sinkReports() {
		fmt.Fprintf(&out, "\nsink: %s", line)
	}
	r, err := b.readAccount()
	if err == nil {
		var text []byte
		text, err = json.MarshalIndent(r, "", "  ")
		fmt.Fprintf(&out, "\nstore: %s", text)
	}
	return errors.Join(errors.New(out.String()), err)
}

// sinkReports returns the payloads of the reports that the sink left.
func (b *bench) sinkReports() (payloads []string) {
	s, err := jsonfile.Open(b.sink.path, jsonfile.Config{})
	if err != nil {
		return nil
	}
	defer func() { _ = s.Close() }() // the store was only read
	_, err = s.Read(b.ctx, papyra.Query{Types: []string{papyra.ReportSink}}, func(rec *papyra.Record, _ papyra.Place) error {
		payloads = append(payloads, string(rec.Payload))
		return nil
	})
	if err != nil {
		payloads = append(payloads, err.Error())
	}
	return payloads
}

// printRuns says what the publishers of the table dropped or handed over once
// more, if they did.
func (b *bench) printRuns(w io.Writer) {
	for i, run := range b.runs {
		if n := run.events.Dropped(); n > 0 {
			fmt.Fprintf(w, "In round %d the publisher dropped %d of %d records, %d of them as queue_full: all are counted, and its rate is of those that were stored.\n",
				i+1, n, run.events.Accepted, run.events.DroppedQueueFull)
		}
		if n := run.events.Resent; n > 0 {
			fmt.Fprintf(w, "In round %d the publisher handed %d records over once more.\n", i+1, n)
		}
	}
}
