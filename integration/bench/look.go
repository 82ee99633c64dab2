package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// newest is the number of records that are asked for.
const newest = 10

// measureLook prints how long it takes to see the newest records of a large
// file.
func measureLook(ctx context.Context, c config, out io.Writer) error {
	work, err := os.MkdirTemp(c.dir, "papyra-bench-")
	if err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer os.RemoveAll(work)
	ctl, err := buildProgram(ctx, work, "papyra-ctl")
	if err != nil {
		return err
	}
	showProgress("writing %d MiB of records", c.look)
	defer showProgress("")
	files, err := createRecords(work, "records.ndjson")
	if err != nil {
		return err
	}
	file, err := fillSealed(ctx, files, int64(c.look)<<20)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("tail"); err != nil {
		return fmt.Errorf("find what inspect is compared with: %w", err)
	}
	n := strconv.Itoa(newest)
	rows := []struct {
		name  string
		args  []string
		check func([]byte) error
	}{
		{"tail -n 10", []string{"tail", "-n", n, file.path}, func(out []byte) error {
			if got := bytes.Count(out, []byte("\n")); got != newest {
				return fmt.Errorf("it shows %d lines", got)
			}
			return nil
		}},
		{"papyra-ctl inspect events --limit 10", []string{ctl, "inspect", "events", "--limit", n, "--output", "json", "--backend", "json:" + file.path}, func(out []byte) error {
			var r struct{ Records []json.RawMessage }
			if err := json.Unmarshal(out, &r); err != nil {
				return fmt.Errorf("read result: %w", err)
			}
			if len(r.Records) != newest {
				return fmt.Errorf("it shows %d records", len(r.Records))
			}
			return nil
		}},
		{"papyra-ctl --version: the start of the program", []string{ctl, "--version"}, func([]byte) error { return nil }},
	}
	uses := make([][]usage, len(rows))
	for round := range 3 * c.rounds { // more rounds, because each is short
		for i, r := range rows {
			showProgress("round %d: %s", round+1, r.name)
			u, err := meterProgram(ctx, roleMeter, r.args...)
			if err == nil {
				err = r.check(u.Output)
			}
			if err != nil {
				return fmt.Errorf("measure %q: %w", r.name, err)
			}
			uses[i] = append(uses[i], u)
		}
	}
	showProgress("")
	fmt.Fprintf(out, "The newest %d of %d records, of a file of %d MiB in the page cache: the time of the whole command. Medians of %d rounds.\n\n",
		newest, file.records, file.bytes>>20, 3*c.rounds)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "median\tlowest\thighest\t ")
	for i, r := range rows {
		slices.SortFunc(uses[i], func(a, b usage) int { return cmp.Compare(a.Took, b.Took) })
		of := func(i int, list []usage) string { return milliseconds(list[i].Took) }
		last := len(uses[i]) - 1
		fmt.Fprintf(t, "%s\t%s\t%s\t   %s\n", of(last/2, uses[i]), of(0, uses[i]), of(last, uses[i]), r.name)
	}
	return t.Flush()
}

// milliseconds writes a duration with one digit after the point.
func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }
