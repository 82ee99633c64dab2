// Command bench measures what Papyra promises. Beside each number it shows another
// one to compare it with. "make bench" runs it, in about eight minutes; -part
// chooses some of its tables:
//
//   - pipeline: how many records a second go from a publisher through a broker and
//     a sink into a file. It is compared with two floors in the same run: the same
//     messages to a subscriber that throws them away, and the same bytes appended to
//     a file.
//   - calls: how long a record call takes, up to the slowest in 10,000, while the
//     broker is well, stopped, killed, flapping, slow, or refuses the login, with
//     every core busy, and as fast as the callers can; next to a call that does
//     nothing.
//   - upkeep: how long appends wait while the store is compacted or drops a file,
//     next to appends with nothing beside them.
//   - look: how soon papyra-ctl shows the newest records of a large file, next to
//     tail.
//   - scan: how fast papyra-ctl scans a file, and with how much memory, next to
//     what wc, cat, cp and jq need for the same bytes.
//
// The pipeline:
//
//	generator ─┬─► NATS server ─► papyra-sink ─► file      measured
//	           ├─► NATS server ─► a subscriber             floor
//	           └─► file                                    floor
//
// The parts of pipeline and calls are processes of their own, as in production.
// They share the cores. Where there are rounds, each round measures everything
// once, in the same order, and the median of the rounds is shown.
//
// What is counted must add up, or the run ends with an error. At the end of
// pipeline the file is read back: each record that a publisher calls confirmed must
// be there, and each other one must be counted as dropped. After each row of calls,
// every call must be confirmed, dropped, buffered or refused.
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
		return playRole(role, args)
	}
	c := config{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&c.rounds, "rounds", 5, "`number` of rounds; the median is shown")
	f.IntVar(&c.single, "single", 200_000, "`records` in a measurement of one record a message")
	f.IntVar(&c.batched, "batched", 600_000, "`records` in a measurement of batches")
	f.IntVar(&c.buffer, "buffer", 64<<10, "`KiB` that the publisher may buffer")
	f.DurationVar(&c.callTime, "calls", 4*time.Second, "how long the calls of each row are measured, a `duration`")
	f.DurationVar(&c.stopped, "stopped", 6*time.Second, "how long the broker is stopped while calls are measured, a `duration`")
	f.IntVar(&c.scan, "scan", 1024, "size of the scanned files in `MiB`")
	f.IntVar(&c.store, "store", 512, "size of the stores that are compacted in `MiB`")
	f.IntVar(&c.look, "look", 2048, "size of the file whose newest records are shown in `MiB`")
	names := partNames()
	part := f.String("part", "all", "what to measure, a `list` of "+strings.Join(names, ", ")+", or all")
	f.StringVar(&c.dir, "dir", os.TempDir(), "`directory` for the files; its file system is part of the result")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || c.rounds < 1 || c.single < 1 || c.batched < 1 || c.buffer < 1 || c.scan < 1 || c.store < 1 || c.look < 1 || c.callTime <= 0 || c.stopped <= 0 {
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

// benchPart is a table, or several that belong together.
type benchPart struct {
	name    string
	measure func(ctx context.Context, c config, out io.Writer) error
}

func parts() []benchPart {
	return []benchPart{
		{"pipeline", measurePipeline},
		{"calls", measureCalls},
		{"upkeep", measureUpkeep},
		{"look", measureLook},
		{"scan", measureScans},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}
