// Command bench measures how many records a second go from a publisher through
// a broker and a sink into a file, next to two floors in the same run: the same
// messages to a subscriber that throws them away, and the same bytes appended to
// a file. Then it measures how fast papyra-ctl scans a file, next to what wc,
// cat and jq need for the same bytes, and with how much memory. It is what "make
// bench" runs; it needs about two minutes.
//
//	generator ─┬─► NATS server ─► papyra-sink ─► file      measured
//	           ├─► NATS server ─► a subscriber             floor
//	           └─► file                                    floor
//
// Every part is a process of its own, as in production; they share the cores. Each
// round measures everything once, in the same order, and the median of the
// rounds is shown. At the end the file is read back: a record that is missing or
// stored twice ends the run with an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	debug.SetTraceback("crash")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if role := os.Getenv(roleVariable); role != "" {
		return play(role, args)
	}
	c := config{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&c.rounds, "rounds", 5, "`number` of rounds; the median is shown")
	f.IntVar(&c.single, "single", 200_000, "`records` in a measurement of one record a message")
	f.IntVar(&c.batched, "batched", 600_000, "`records` in a measurement of batches")
	f.IntVar(&c.buffer, "buffer", 64, "`MiB` that the publisher may buffer")
	f.DurationVar(&c.callTime, "calls", 4*time.Second, "how long the calls of each row are measured, a `duration`")
	f.DurationVar(&c.stopped, "stopped", 6*time.Second, "how long the broker is stopped while calls are measured, a `duration`")
	f.IntVar(&c.scan, "scan", 1024, "size of the scanned files in `MiB`")
	names := partNames()
	part := f.String("part", "all", "what to measure, a `list` of "+strings.Join(names, ", ")+", or all")
	f.StringVar(&c.dir, "dir", os.TempDir(), "`directory` for the files; its file system is part of the result")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || c.rounds < 1 || c.single < 1 || c.batched < 1 || c.buffer < 1 || c.scan < 1 || c.callTime <= 0 || c.stopped <= 0 {
		return errors.New("give flags only, with positive numbers")
	}
	chosen := strings.Split(*part, ",")
	if *part == "all" {
		chosen = names
	}
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-part %q: give all, or a list of %s", name, strings.Join(names, ", "))
		}
	}
	printMachine(out, c)
	for _, p := range parts() {
		if !slices.Contains(chosen, p.name) {
			continue
		}
		fmt.Fprintln(out)
		if err := p.measure(ctx, c, out); err != nil {
			return err
		}
	}
	return nil
}

// part is a table, or what belongs together with it.
type part struct {
	name    string
	measure func(ctx context.Context, c config, out io.Writer) error
}

func parts() []part {
	return []part{
		{"pipeline", measurePipeline},
		{"calls", measureCalls},
		{"scan", measureScans},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}
