package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/papyra/papyra/publisher"
)

// printShop says what the shop knows of its own business.
func printShop(w io.Writer, s *shop, placed int, took time.Duration) {
	fmt.Fprintf(w, "The shop took %d orders in %.1f s:\n\n", placed, took.Seconds())
	for _, line := range []struct {
		n    int64
		what string
	}{
		{s.shipped.Load(), "shipped"},
		{s.refused.Load(), "refused by the bank"},
		{s.left.Load(), "left before the till answered"},
		{s.gaveUp.Load(), "given up: nobody answered"},
	} {
		if line.n > 0 {
			fmt.Fprintf(w, "  %5d  %s\n", line.n, line.what)
		}
	}
}

// printStats says what became of the records.
func printStats(w io.Writer, run string, stats publisher.Stats) {
	fmt.Fprintf(w, "\nIts publisher, run %s:\n\n", run)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\taccepted\tconfirmed\tdropped\tunconfirmed\tresent\t")
	for _, row := range []struct {
		name string
		c    publisher.CategoryStats
	}{
		{"events", stats.Events},
		{"dead letters", stats.DeadLetters},
		{"audits", stats.Audits},
		{"reports", stats.Reports},
	} {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t\n", row.name,
			row.c.Accepted, row.c.Confirmed, row.c.Dropped(), row.c.Unconfirmed, row.c.Resent)
	}
	t.Flush() //nolint:errcheck // standard output; nobody is left to tell
	if stats.Errors.Last != "" {
		fmt.Fprintf(w, "\n  connection: %d disconnects, %d reconnects, last error: %s\n",
			stats.Errors.Disconnects, stats.Errors.Reconnects, stats.Errors.Last)
	}
}
