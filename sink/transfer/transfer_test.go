package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/backend/redis"
	"github.com/papyra/papyra/sink/transfer"
)

var (
	orders  = papyra.Stream{System: "orders", Kind: papyra.KindEvent}
	letters = papyra.Stream{System: "orders", Kind: papyra.KindDeadLetter}
	billing = papyra.Stream{System: "billing eu:1", Kind: papyra.KindEvent}
	novelty = papyra.Stream{System: "orders", Kind: papyra.KindUnknown}
	own     = papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}
)

// mixture returns lines of several streams, with duplicates, conflicts, lines
// without a seal, with spaces, of an unknown kind, and large ones.
func mixture(t *testing.T) [][]byte {
	m := newMaker(t, 1)
	var lines [][]byte
	for i := range 40 {
		for _, s := range []papyra.Stream{orders, letters, billing, novelty, own, {System: "orders", Kind: papyra.KindAudit}} {
			lines = append(lines, m.line(t, s, fmt.Sprint("text ", i, " ü\u2028")))
		}
	}
	again := newMaker(t, 1)
	lines = append(lines,
		bytes.Clone(lines[0]), // an exact duplicate
		again.line(t, orders, "another text: a conflict"),
		[]byte(`{ "kind": "event", "system_id": "orders", "event_type": "X", "actor_address": "orders:1", "payload": 1e400, "timestamp": 1700000000, "extra": [ 1 ] }`),
		[]byte(`{ "kind": "event", "system_id": "orders", "event_type": "X", "actor_address": "orders:1", "payload": 1e400, "timestamp": 1700000000, "extra": [ 1 ] }`),
		m.line(t, orders, strings.Repeat("large ", 30_000)),
		m.line(t, billing, "last"),
	)
	return lines
}

// Between any two backends every stream arrives as it is.
func TestBetweenBackends(t *testing.T) {
	lines := mixture(t)
	want := byStream(t, lines)
	stores := map[string]func(t *testing.T) papyra.Store{
		"json": func(t *testing.T) papyra.Store { return open(t, "json:"+filepath.Join(t.TempDir(), "s")) },
		"rotating": func(t *testing.T) papyra.Store {
			return open(t, "rotating:"+filepath.Join(t.TempDir(), "s")+"?max_bytes=20kB&max_files=20")
		},
		"memory": func(*testing.T) papyra.Store { return memory.New(nil).Open() },
		"redis": func(t *testing.T) papyra.Store {
			redis.DiscardClientLogs()
			return open(t, "redis://"+redistest.Start(t).Addr())
		},
	}
	for source, makeSource := range stores {
		for target, makeTarget := range stores {
			t.Run(source+" to "+target, func(t *testing.T) {
				from, to := makeSource(t), makeTarget(t)
				defer from.Close()
				defer to.Close()
				fill(t, from, lines...)
				before := streams(t, from)

				dry, err := transfer.Run(t.Context(), from, to, transfer.Options{DryRun: true})
				if err != nil {
					t.Fatalf("dry run: %v", err)
				}
				if _, err := to.Read(t.Context(), papyra.Query{}, nil); target != "memory" && !errors.Is(err, papyra.ErrNotFound) {
					t.Errorf("a dry run made the target: %v", err)
				}
				got, err := transfer.Run(t.Context(), from, to, transfer.Options{BatchBytes: 10_000})
				if err != nil {
					t.Fatalf("copy: %v", err)
				}
				sameStreams(t, streams(t, to), want)
				sameStreams(t, streams(t, from), before)
				if n := int64(len(lines)); got.Copied != n || dry.Copied != n || got.CopiedBytes != dry.CopiedBytes || !got.Verified || dry.Verified {
					t.Errorf("got %+v and in the dry run %+v, want %d records copied, and verified only once", got, dry, n)
				}
				for i, s := range got.Streams {
					stream := papyra.Stream{System: s.System, Kind: papyra.ParseCategory(s.Category)}
					sum := sha256.New()
					for _, line := range want[stream] {
						fmt.Fprintln(sum, line)
					}
					if hexSum := hex.EncodeToString(sum.Sum(nil)); s.SHA256 != hexSum || dry.Streams[i].SHA256 != hexSum || !s.Verified {
						t.Errorf("stream %s: got %+v, in the dry run %+v, want the SHA-256 %s", stream, s, dry.Streams[i], hexSum)
					}
				}

				again, err := transfer.Run(t.Context(), from, to, transfer.Options{})
				if err != nil || again.Copied != 0 || again.Present != int64(len(lines)) || !again.Verified {
					t.Errorf("copy again: %+v, %v", again, err)
				}
			})
		}
	}
}

// A target that holds anything but the beginning of the source is refused and
// stays as it is.
func TestForeignTargetIsRefused(t *testing.T) {
	m, other := newMaker(t, 1), newMaker(t, 2)
	var lines [][]byte
	for range 5 {
		lines = append(lines, m.line(t, orders, "a"), m.line(t, letters, "b"))
	}
	report := other.line(t, own, "running")
	for _, tt := range []struct {
		name   string
		held   [][]byte
		stream string
	}{
		{"another beginning", [][]byte{other.line(t, orders, "x")}, "orders/events"},
		{"another record behind the beginning", [][]byte{lines[0], other.line(t, orders, "x")}, "orders/events"},
		{"the second record without the first", [][]byte{lines[2]}, "orders/events"},
		{"two records in another order", [][]byte{lines[0], lines[4], lines[2]}, "orders/events"},
		{"a record twice", [][]byte{lines[0], lines[0]}, "orders/events"},
		{"one more than the source", append(append([][]byte{}, lines...), other.line(t, letters, "x")), "orders/dead_letters"},
		{"another stream", append([][]byte{other.line(t, billing, "x")}, lines[:2]...), "billing eu:1/events"},
		{"a sink's report", [][]byte{report}, "papyra/reports"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			from, to := open(t, "json:"+filepath.Join(dir, "from")), open(t, "json:"+filepath.Join(dir, "to"))
			defer from.Close()
			defer to.Close()
			fill(t, from, lines...)
			fill(t, to, tt.held...)
			before, err := os.ReadFile(filepath.Join(dir, "to"))
			if err != nil {
				t.Fatal(err)
			}
			for _, dry := range []bool{true, false} {
				_, err := transfer.Run(t.Context(), from, to, transfer.Options{DryRun: dry})
				if !errors.Is(err, papyra.ErrUsage) || !strings.Contains(err.Error(), "stream "+tt.stream) {
					t.Errorf("dry run %v: got %v, want a refusal that names stream %s", dry, err, tt.stream)
				}
			}
			if after, err := os.ReadFile(filepath.Join(dir, "to")); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the target was changed: %v", err)
			}
		})
	}
}

// A file that never was a store is not written to, also without a last newline.
func TestDamageThatNoCopyLeaves(t *testing.T) {
	m := newMaker(t, 1)
	line := m.line(t, orders, "a")
	for name, tt := range map[string]struct {
		content string
		refused bool
	}{
		"text":                    {"# a configuration\nkey: value", true},
		"another JSON":            {`{"a":1}` + "\n", true},
		"a bit that was flipped":  {strings.Replace(string(line), "Started", "Ststted", 1) + "\n", true},
		"a torn record":           {string(line[:len(line)-9]), false},
		"a torn record, healed":   {string(line[:40]) + "\n", false},
		"what a power cut leaves": {string(line) + "\n" + strings.Repeat("\x00", 50), false},
		"no newline":              {string(line), false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			from, to := open(t, "json:"+filepath.Join(dir, "from")), open(t, "json:"+filepath.Join(dir, "to"))
			defer from.Close()
			defer to.Close()
			fill(t, from, line)
			if err := os.WriteFile(filepath.Join(dir, "to"), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			report, err := transfer.Run(t.Context(), from, to, transfer.Options{})
			after, rerr := os.ReadFile(filepath.Join(dir, "to"))
			if rerr != nil {
				t.Fatal(rerr)
			}
			if tt.refused {
				if !errors.Is(err, papyra.ErrUsage) || string(after) != tt.content {
					t.Errorf("got %v and %q, want a refusal and %q", err, after, tt.content)
				}
				return
			}
			if err != nil || !report.Verified || !bytes.HasPrefix(after, []byte(tt.content)) {
				t.Errorf("got %+v, %v and %q", report, err, after)
			}
			sameStreams(t, streams(t, to), byStream(t, [][]byte{line}))
		})
	}
}

// Damaged lines and parts that cannot be read are counted, and all else copied.
func TestDamagedSource(t *testing.T) {
	m := newMaker(t, 1)
	mem := memory.New(nil)
	var want [][]byte
	for i := range 30 {
		line := m.line(t, orders, "a")
		mem.Plant(line)
		want = append(want, line)
		if i%10 == 0 {
			mem.Plant([]byte("junk"))
			mem.Plant(line[:30])
		}
	}
	from := &source{Store: mem.Open(), incomplete: true}
	to := open(t, "json:"+filepath.Join(t.TempDir(), "to"))
	defer to.Close()
	report, err := transfer.Run(t.Context(), from, to, transfer.Options{})
	if err != nil || report.Damaged != 6 || !report.Incomplete || report.Copied != 30 || !report.Verified {
		t.Errorf("got %+v, %v, want 30 records copied, 6 lines damaged, incomplete", report, err)
	}
	sameStreams(t, streams(t, to), byStream(t, want))
}

// What acts on the target appended to it does not keep a copy from going on,
// whether or not the source has such reports of its own.
func TestActsOnBothStores(t *testing.T) {
	for _, acted := range []bool{false, true} {
		t.Run(fmt.Sprint("acts on the source: ", acted), func(t *testing.T) {
			dir := t.TempDir()
			from, to := open(t, "json:"+filepath.Join(dir, "from")), open(t, "json:"+filepath.Join(dir, "to"))
			defer from.Close()
			defer to.Close()
			m := newMaker(t, 1)
			fill(t, from, m.line(t, orders, "a"), m.line(t, own, "started"))
			damage := func(name, text string) {
				f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := f.WriteString(text); err != nil {
					t.Fatal(err)
				}
			}
			recovered := func(b papyra.Store) {
				if _, err := b.Recover(t.Context(), papyra.RecoverOptions{}); err != nil {
					t.Fatalf("recover %s: %v", b.URL(), err)
				}
			}
			copied := func(reports int64) {
				t.Helper()
				report, err := transfer.Run(t.Context(), from, to, transfer.Options{})
				if err != nil || !report.Verified || report.TargetReports != reports {
					t.Fatalf("got %+v, %v, want %d reports of the target's own", report, err, reports)
				}
			}
			act := func() {
				if acted {
					damage("from", "junk\n")
					recovered(from)
				}
				fill(t, from, m.line(t, own, "running"), m.line(t, orders, "b"))
			}
			act()
			copied(0)
			damage("to", `{"kind":"ev`)
			recovered(to)
			copied(2)
			act()
			copied(2)
			damage("to", `{"kind":"ev`)
			recovered(to)
			act()
			copied(4)

			got, want := streams(t, to), streams(t, from)
			if n := int64(4); total(got) != total(want)+n {
				t.Errorf("the target holds %d records, want the %d of the source and %d of its own", total(got), total(want), n)
			}
			delete(got, own)
			delete(want, own)
			sameStreams(t, got, want)
		})
	}
}

func TestStoresThatCannotBeCopied(t *testing.T) {
	m := newMaker(t, 1)
	dir := t.TempDir()
	from, to := open(t, "json:"+filepath.Join(dir, "from")), open(t, "json:"+filepath.Join(dir, "to"))
	defer from.Close()
	defer to.Close()

	if _, err := transfer.Run(t.Context(), from, to, transfer.Options{}); !errors.Is(err, papyra.ErrNotFound) {
		t.Errorf("no source: got %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("without a source there is %v, %v", names, err)
	}
	fill(t, from, m.line(t, orders, "a"))
	second := open(t, "json:"+filepath.Join(dir, "to"))
	defer second.Close()
	held, err := second.Appender(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transfer.Run(t.Context(), from, to, transfer.Options{}); !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("a target that is held: got %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := transfer.Run(canceled, from, to, transfer.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted before the start: got %v", err)
	}
}

// What others do to the two stores meanwhile is found out.
func TestStoresThatChange(t *testing.T) {
	m, other := newMaker(t, 1), newMaker(t, 2)
	first, second, third := m.line(t, orders, "a"), m.line(t, orders, "b"), m.line(t, orders, "c")
	stranger := other.line(t, orders, "x")
	place := func(lines ...[]byte) (*memory.Memory, papyra.Store) {
		mem := memory.New(nil)
		for _, line := range lines {
			mem.Plant(line)
		}
		return mem, mem.Open()
	}

	t.Run("the source grows", func(t *testing.T) {
		mem, b := place(first, second)
		_, to := place(first)
		from := &source{Store: b, before: map[int]func(){2: func() { mem.Plant(third) }}}
		report, err := transfer.Run(t.Context(), from, to, transfer.Options{})
		if err != nil || report.Copied != 1 || !report.Verified {
			t.Errorf("got %+v, %v, want the second record copied", report, err)
		}
		sameStreams(t, streams(t, to), byStream(t, [][]byte{first, second}))
	})
	t.Run("the source is recovered, and the target was before", func(t *testing.T) {
		mem, b := place(first, second)
		_, to := place(first, []byte("junk"))
		if _, err := to.Recover(t.Context(), papyra.RecoverOptions{}); err != nil {
			t.Fatal(err)
		}
		mem.Plant([]byte("junk"))
		from := &source{Store: b, before: map[int]func(){1: func() {
			if _, err := b.Recover(t.Context(), papyra.RecoverOptions{}); err != nil {
				t.Error(err)
			}
		}}}
		report, err := transfer.Run(t.Context(), from, to, transfer.Options{})
		if err != nil || report.TargetReports != 2 || report.Copied != 3 || !report.Verified {
			t.Errorf("got %+v, %v, want a record and two reports copied", report, err)
		}
	})
	t.Run("the source becomes another before the records that are there end", func(t *testing.T) {
		_, b := place(first, second, third)
		_, changed := place(second, third)
		_, to := place(first)
		from := &source{Store: b}
		from.before = map[int]func(){2: func() { from.Store = changed }}
		if _, err := transfer.Run(t.Context(), from, to, transfer.Options{}); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
			t.Errorf("got %v", err)
		}
		sameStreams(t, streams(t, to), byStream(t, [][]byte{first}))
	})
	t.Run("the source becomes shorter", func(t *testing.T) {
		_, b := place(first, second, third)
		_, changed := place(first, second)
		_, to := place(first)
		from := &source{Store: b}
		from.before = map[int]func(){2: func() { from.Store = changed }}
		if report, err := transfer.Run(t.Context(), from, to, transfer.Options{}); err == nil || !strings.Contains(err.Error(), "changed meanwhile") || report.Verified {
			t.Errorf("got %+v, %v", report, err)
		}
	})
	for name, tt := range map[string]struct {
		read int
		want string
	}{
		"somebody writes to the target before it is opened": {2, "stop whoever writes to it"},
		"somebody writes to the target behind the copy":     {3, "find out who else writes to it"},
	} {
		t.Run(name, func(t *testing.T) {
			_, from := place(first, second)
			mem, b := place()
			reads := 0
			to := &target{Store: b, left: -1}
			to.reading = func() {
				if reads++; reads == tt.read {
					mem.Plant(stranger)
				}
			}
			report, err := transfer.Run(t.Context(), from, to, transfer.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || report.Verified {
				t.Errorf("got %+v, %v, want an error with %q", report, err, tt.want)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	m := newMaker(t, 1)
	var lines [][]byte
	for range 5000 {
		lines = append(lines, m.line(t, orders, "a"))
	}
	dir := t.TempDir()
	from, to := open(t, "json:"+filepath.Join(dir, "from")), open(t, "json:"+filepath.Join(dir, "to"))
	defer from.Close()
	defer to.Close()
	fill(t, from, lines...)
	fill(t, to, lines[:2000]...)
	var steps []transfer.Step
	last := int64(0)
	_, err := transfer.Run(t.Context(), from, to, transfer.Options{Progress: func(step transfer.Step, done, all int64) {
		if len(steps) == 0 || steps[len(steps)-1] != step {
			steps, last = append(steps, step), 0
		}
		if done < last || all > 0 && done > all {
			t.Errorf("%s: %d of %d after %d", step, done, all, last)
		}
		last = done
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(steps), fmt.Sprint([]transfer.Step{
		transfer.StepTarget, transfer.StepSource, transfer.StepTarget, transfer.StepCopy, transfer.StepVerify,
	}); got != want {
		t.Errorf("got the steps %v, want %v", got, want)
	}
}
