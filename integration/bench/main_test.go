package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" { // a process of the bench
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// small returns flags with which a part is short. Its numbers say nothing, but what
// the bench checks itself must hold all the same, for example that every record was
// stored once. The buffer is so small that the publisher drops records.
func small(dir string, part string) []string {
	return []string{"-part", part, "-rounds", "1", "-single", "1000", "-batched", "40000", "-buffer", "64", "-calls", "100ms", "-stopped", "100ms",
		"-scan", "1", "-store", "2", "-look", "1", "-dir", dir}
}

// TestEveryRowIsMeasured runs a round of each part and looks for each row.
func TestEveryRowIsMeasured(t *testing.T) {
	rows := map[string][]string{
		"pipeline": nil,
		"calls":    nil,
		"upkeep":   {"json", "rotating", "append that does not rotate", "append that rotates, and drops the oldest file"},
		"look":     {"tail -n 10", "papyra-ctl inspect events --limit 10", "papyra-ctl --version: the start of the program"},
		"scan":     nil,
	}
	for _, row := range measurements() {
		rows["pipeline"] = append(rows["pipeline"], row.name)
	}
	for _, row := range callRows() {
		rows["calls"] = append(rows["calls"], row.name)
	}
	for _, row := range (&scans{}).scanRows() {
		if _, err := exec.LookPath(row.program); row.program == "" || err == nil {
			rows["scan"] = append(rows["scan"], row.name)
		}
	}
	for _, part := range partNames() {
		t.Run(part, func(t *testing.T) {
			var out strings.Builder
			dir := t.TempDir()
			if err := run(t.Context(), small(dir, part), &out); err != nil {
				t.Fatal(err)
			}
			if len(rows[part]) == 0 {
				t.Fatal("which rows does this part have?")
			}
			for _, row := range rows[part] {
				if !strings.Contains(out.String(), "   "+row+"\n") {
					t.Errorf("the table lacks %q:\n%s", row, out.String())
				}
			}
			if part == "pipeline" && !strings.Contains(out.String(), "of them as queue_full: all are counted") {
				t.Errorf("nothing is said of the records that were dropped:\n%s", out.String())
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%d files are left behind (%v)", len(left), err)
			}
		})
	}
}

// TestLossWithoutACountIsAnError takes records out of the store behind the
// sink's back.
func TestLossWithoutACountIsAnError(t *testing.T) {
	id, err := papyra.NewIdentityRun(benchNode, "aaaaaaaaaaaaaaaa")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "records.ndjson")
	write := func(seqs ...uint64) {
		var e papyra.Encoder
		var lines []byte
		for _, seq := range seqs {
			ev, fields := nthEvent(int(seq))
			if err := e.Event(id, benchSystem, &ev, fields[:], moment); err != nil {
				t.Fatal(err)
			}
			lines = e.AppendLine(lines, seq)
		}
		if err := os.WriteFile(path, lines, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{config: config{batched: 3}, ctx: t.Context(), sink: &sinkProcess{path: path},
		runs: []publisherRun{{run: id.Run(), events: publisher.CategoryStats{Accepted: 3, Confirmed: 3}}}}
	write(1, 2, 3)
	if err := b.verifyRuns(); err != nil {
		t.Errorf("a whole store: %v", err)
	}
	write(1, 3)
	if err := b.verifyRuns(); !errors.Is(err, errIncomplete) {
		t.Errorf("record 2 is missing: got %v, want %v", err, errIncomplete)
	}
	b.runs[0].events = publisher.CategoryStats{Accepted: 3, Confirmed: 1, DroppedQueueFull: 1}
	if err := b.verifyRuns(); !errors.Is(err, errUnbalanced) {
		t.Errorf("a publisher that does not add up: got %v, want %v", err, errUnbalanced)
	}
}

// TestCallsThatDoNotAddUp: every call is counted once, before Close and after.
func TestCallsThatDoNotAddUp(t *testing.T) {
	good := publisher.Stats{Events: publisher.CategoryStats{Accepted: 9, Confirmed: 4, Buffered: 2, DroppedQueueFull: 3, Refused: 1}}
	closed := publisher.Stats{Events: publisher.CategoryStats{Accepted: 9, Confirmed: 4, Unconfirmed: 1, DroppedQueueFull: 3, DroppedClosed: 1, Refused: 1}}
	for name, c := range map[string]struct {
		r    recorded
		want error
	}{
		"balanced":          {recorded{Made: 10, Stopped: good, Closed: closed}, nil},
		"a call is missing": {recorded{Made: 11, Stopped: good, Closed: closed}, errUnbalanced},
		"still buffered":    {recorded{Made: 10, Stopped: good, Closed: good}, errUnbalanced},
		"a record is missing": {recorded{Made: 10, Closed: closed,
			Stopped: publisher.Stats{Events: publisher.CategoryStats{Accepted: 9, Confirmed: 4, Buffered: 2, DroppedQueueFull: 2, Refused: 1}}}, errUnbalanced},
	} {
		if err := c.r.balanced(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h, o histogram
	for i := range 1000 {
		h.addDuration(time.Duration(i + 1))
	}
	o.addDuration(5 * time.Second)
	h.addHistogram(&o)
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 500, 0.99: 990, 1: 5 * time.Second} {
		if got := h.quantile(q); got < want || float64(got) > 1.04*float64(want)+1 {
			t.Errorf("quantile %v: got %d, want %d and at most 4 %% more", q, got, want)
		}
	}
	for v := uint64(0); v < 1<<20; v = v*17/16 + 1 {
		b := bucketOf(v)
		if highest(b) < v || b > 0 && highest(b-1) >= v {
			t.Errorf("%d is in bucket %d, which ends at %d", v, b, highest(b))
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-single", "-1"}, {"-scan", "0"}, {"-part", "half"}, {"-part", "scan,half"}, {"-calls", "0s"}, {"now"}} {
		if err := run(t.Context(), args, &strings.Builder{}); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// TestRespell: the result is the same record, unsealed and with spaces.
func TestRespell(t *testing.T) {
	l, err := generateLoad(1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := respell(nil, l.lines)
	if err != nil {
		t.Fatal(err)
	}
	want, err := papyra.Parse(bytes.TrimSpace(l.lines))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := papyra.Parse(bytes.TrimSpace(got))
	if err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if rec.Sealed || !want.Sealed || string(rec.Type) != string(want.Type) || rec.Time != want.Time || !bytes.Contains(got, []byte(`, "`)) {
		t.Errorf("%s was respelled as %s", l.lines, got)
	}
}

func TestThousands(t *testing.T) {
	for rate, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.8: "1,234,568"} {
		if got := thousands(rate); got != want {
			t.Errorf("%v: got %s, want %s", rate, got, want)
		}
	}
}
