package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/admin"
	"github.com/papyra/papyra/sink/backend"
)

// runTool runs papyra-ctl in this process.
func runTool(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	t := &tool{open: backend.Open, now: testClock}
	code = cli.Run(t.app(), append([]string{"papyra-ctl"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// livingSink is a sink that holds a store, in this process.
type livingSink struct {
	*sink.Sink
	path string
	stop func()
}

// startLiving starts a sink on a copy of a file, which it does not write to any more
// when this returns, but for what it is asked for.
func startLiving(t *testing.T, server, group, instance string, lines [][]byte) *livingSink {
	t.Helper()
	path := filepath.Join(testkit.FastDir(t), "records.ndjson")
	if err := os.WriteFile(path, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := backend.Open("json:" + path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	w, err := sink.New(sink.Config{
		URL: server, Group: group, Instance: instance, Now: testClock, RejectFile: store.RejectFile(), Logger: log,
		Admin: admin.NewServer(store, admin.Config{Logger: log}),
	}, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	s := &livingSink{Sink: w, path: path}
	s.stop = func() {
		if cancel != nil {
			cancel()
			cancel = nil
			if err := <-ended; err != nil {
				t.Errorf("the sink ended with %v", err)
			}
			_ = store.Close()
		}
	}
	t.Cleanup(s.stop)
	testkit.Await(t, "the sink's socket and first report", func() bool {
		if _, err := os.Lstat(filepath.Join(filepath.Dir(path), ".records.ndjson.sock")); err != nil {
			return false
		}
		code, out, _ := runTool("inspect", "reports", "--backend", "json:"+path, "--type", papyra.ReportSink)
		return code == 0 && strings.Contains(out, "started as")
	})
	nc, err := nats.Connect(server)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	testkit.Await(t, "the sink on the broker", func() bool {
		_, err := nc.Request(papyra.AdminSubject(group, instance, admin.VerbHealth), nil, testkit.Patience)
		return err == nil
	})
	return s
}

// normal returns the JSON of a verb without what differs from run to run.
func normal(t *testing.T, out, path string, more ...string) map[string]any {
	t.Helper()
	out = strings.ReplaceAll(out, path, "PATH")
	out = regexp.MustCompile(`[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}`).ReplaceAllString(out, "ACT")
	out = regexp.MustCompile(`held by process [^"]*|free: [^"]*`).ReplaceAllString(out, "LOCK")
	out = regexp.MustCompile(`[0-9.]+ [kMGT]?B free of`).ReplaceAllString(out, "SOME free of")
	out = regexp.MustCompile(`last written [^"]* UTC`).ReplaceAllString(out, "last written")
	out = strings.ReplaceAll(out, filepath.Dir(path), "DIR")
	out = regexp.MustCompile(`"json:/[^"]*/records.ndjson"`).ReplaceAllString(out, `"json:PATH"`)
	var members map[string]any
	if err := json.Unmarshal([]byte(out), &members); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if members["exit"] == 64.0 {
		more = append(more, "backend") // nobody was asked which one it is
	}
	for _, name := range append([]string{"instances", "pause"}, more...) {
		delete(members, name)
	}
	return members
}

// fixture returns lines with everything that verbs tell: several systems, duplicates,
// damage, reports.
func fixture() [][]byte {
	src := testrecord.New(7)
	lines := src.Events(40)
	lines = append(lines, lines[3], lines[4], []byte(`{"kind":"event","broken`), src.Line("billing", papyra.KindDeadLetter, "x"),
		src.Line("billing", papyra.KindAudit, ""), src.Line("orders", papyra.KindReport, ""))
	return lines
}

// Each verb says the same with the same exit code, whether the tool does the work itself
// on files that nobody holds, or asks the sink that holds them through its socket or over
// NATS.
func TestVerbsThroughEachDoor(t *testing.T) {
	server := natstest.Embedded(t, nil).ClientURL()
	s := startLiving(t, server, "archive", "eu-1", fixture())
	reject := `{"time":1704067200.5,"subject":"x","reason":"corrupted","length":1,"raw":"eA=="}` + "\n"
	if err := os.WriteFile(filepath.Join(filepath.Dir(s.path), ".records.ndjson.rejected"), []byte(reject), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{
		"inspect events", "inspect events --limit 5 --reverse", "inspect events --type ActorStarted --actor 7", "inspect audits",
		"inspect dead-letters", "inspect rejects", "inspect rejects --reason corrupted --limit 1", "inspect reports", "inspect events --keep-records 3", "inspect summary", "inspect summary --keep-records 10",
		"inspect events --since nonsense", "inspect audits --type X",
		"account", "account --gaps --since 2023-01-01", "account --group other", "doctor", "doctor --mode ignore",
		"scan", "scan --full",
		"recover --dry-run", "recover --dry-run --mode nonsense", "compact --dedupe --dry-run", "compact --keep-records 10 --dry-run", "compact --keep-age 1h --dry-run", "compact --dry-run",
	} {
		t.Run(verb, func(t *testing.T) {
			args := append(strings.Fields(verb), "--output", "json")
			for _, door := range []string{"socket", "nats"} {
				held := []string{"--backend", "json:" + s.path}
				if door == "nats" {
					held = []string{"--server", server, "--instance", "eu-1"}
					if !strings.Contains(verb, "--group") {
						held = append(held, "--group", "archive")
					}
				}
				if strings.Contains(verb, "--group") && door == "nats" {
					continue // there it also says which sinks are asked
				}
				copied := copyStore(t, s.path)
				code, direct, said := runTool(append(args, "--backend", "json:"+copied)...)
				gotCode, got, gotSaid := runTool(append(args, held...)...)
				if gotCode != code {
					t.Errorf("%s: exit code %d, want %d: %s", door, gotCode, code, gotSaid)
				}
				if diff := cmp.Diff(normal(t, direct, copied), normal(t, got, s.path)); diff != "" {
					t.Errorf("%s says something else (-directly +%s):\n%s", door, door, diff)
				}
				if want, got := strings.ReplaceAll(said, copied, "PATH"), strings.ReplaceAll(gotSaid, s.path, "PATH"); want != got {
					t.Errorf("%s: stderr is %q, want %q", door, got, want)
				}
			}
		})
	}
}

// copyStore copies a file and the rejects beside it into a directory of its own.
func copyStore(t *testing.T, path string) string {
	t.Helper()
	dir := testkit.FastDir(t)
	for _, name := range []string{"records.ndjson", ".records.ndjson.rejected", ".records.ndjson.lock"} {
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "records.ndjson")
}

// The acts too do the same through each door, and those of a living sink stand in its
// store with who asked.
func TestActsThroughEachDoor(t *testing.T) {
	server := natstest.Embedded(t, nil).ClientURL()
	acts := []string{"compact --dedupe", "recover", "recover", "compact --keep-records 12", "compact --keep-records 12", "compact --keep-age 1h", "compact --keep-age 1h --yes"}
	type outcome struct {
		codes   []int
		results []map[string]any
		left    []string
	}
	do := func(t *testing.T, path string, flags ...string) (o outcome) {
		for _, act := range acts {
			code, out, said := runTool(append(append(strings.Fields(act), "--output", "json"), flags...)...)
			// A request is itself a record of the store, written after the first scan.
			r := normal(t, out, path, "records_before", "records_after", "bytes_before", "bytes_after", "streams", "before", "after")
			o.codes, o.results = append(o.codes, code), append(o.results, r)
			if said != "" {
				r["stderr"] = regexp.MustCompile(`[^ ]*records.ndjson`).ReplaceAllString(said, "PATH")
			}
		}
		store, err := backend.Open("json:" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if _, err := store.Read(t.Context(), papyra.Query{}, func(rec *papyra.Record, _ papyra.Place) error {
			if string(rec.System) != papyra.SystemReserved {
				o.left = append(o.left, string(rec.Line))
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		return o
	}
	path := filepath.Join(testkit.FastDir(t), "records.ndjson")
	if err := os.WriteFile(path, append(bytes.Join(fixture(), []byte("\n")), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	want := do(t, path, "--backend", "json:"+path)
	if !slices.Equal(want.codes, []int{2, 0, 0, 0, 0, 1, 0}) {
		t.Fatalf("directly: exit codes %v", want.codes)
	}
	for _, door := range []string{papyra.ProvenSocket, "nats"} {
		s := startLiving(t, server, "archive", door, fixture())
		flags := []string{"--backend", "json:" + s.path}
		if door == "nats" {
			flags = []string{"--server", server, "--group", "archive", "--instance", door}
		}
		got := do(t, s.path, flags...)
		if diff := cmp.Diff(want.codes, got.codes); diff != "" {
			t.Errorf("%s: other exit codes (-directly +%s):\n%s", door, door, diff)
		}
		if diff := cmp.Diff(want.results, got.results); diff != "" {
			t.Errorf("%s does something else (-directly +%s):\n%s", door, door, diff)
		}
		if diff := cmp.Diff(want.left, got.left); diff != "" {
			t.Errorf("%s leaves something else (-directly +%s):\n%s", door, door, diff)
		}
		requests := requestsIn(t, s.path)
		if len(requests) != len(acts) {
			t.Errorf("%s: %d requests are written down, want %d", door, len(requests), len(acts))
		}
		proven := map[string]int{}
		for i, r := range requests {
			proven[r.Proven]++
			if verb, _, _ := strings.Cut(acts[i], " "); r.Verb != verb || r.By == "" || r.Job == "" || !json.Valid(r.Arguments) {
				t.Errorf("%s: request %d is %+v, want one for %s", door, i, r, acts[i])
			}
		}
		wantProven := door
		if door == "nats" {
			wantProven = ""
		}
		if proven[wantProven] != len(acts) {
			t.Errorf("%s: proven are %v, want %q", door, proven, wantProven)
		}
		s.stop()
	}
}

// requestsIn returns the ActRequested reports of a file.
func requestsIn(t *testing.T, path string) []papyra.ActRequested {
	t.Helper()
	store, err := backend.Open("json:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	list, err := testrecord.Reports[papyra.ActRequested](t.Context(), store, papyra.ReportActRequested)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A whole group is read as one store, is compacted one sink after the other, and has a
// row for each sink that ought to be there.
func TestGroupOfSinks(t *testing.T) {
	t.Parallel()
	server := natstest.Embedded(t, nil).ClientURL()
	all := fixture()
	a := startLiving(t, server, "archive", "a1", all[:20])
	b := startLiving(t, server, "archive", "a2", all[10:])
	startLiving(t, server, "live", "b1", all[:1])
	group := []string{"--server", server, "--group", "archive", "--output", "json"}
	ask := func(t *testing.T, wantCode int, args ...string) (members map[string]any, states string) {
		t.Helper()
		code, out, said := runTool(append(args, group...)...)
		if code != wantCode {
			t.Errorf("%v: exit code %d, want %d: %s", args, code, wantCode, said)
		}
		if err := json.Unmarshal([]byte(out), &members); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		var rows []string
		list, _ := members["instances"].([]any)
		for _, row := range list {
			r, _ := row.(map[string]any)
			rows = append(rows, fmt.Sprint(r["instance"], " ", r["state"]))
		}
		return members, strings.Join(rows, ", ")
	}
	if code, _, said := runTool("scan", "--server", server); code != cli.CodeUsage || !strings.Contains(said, "archive, live") {
		t.Errorf("without a group: code %d, %s; want 64 and the groups", code, said)
	}
	if code, _, _ := runTool("scan", "--server", server, "--group", "none"); code != cli.CodeUnavailable {
		t.Errorf("a group that is not there: code %d, want 69", code)
	}
	read, states := ask(t, 0, "inspect", "events")
	if n := read["shown"]; n != 40.0 || states != "a1 done, a2 done" {
		t.Errorf("shown %v with %s, want the 40 events of both", n, states)
	}
	done, states := ask(t, 2, "compact", "--keep-records", "5")
	if results, _ := done["results"].([]any); len(results) != 2 || states != "a1 done, a2 done" {
		t.Errorf("compacted: %v with %s, want both", done, states)
	}
	for _, s := range []*livingSink{a, b} {
		if n := len(requestsIn(t, s.path)); n != 1 {
			t.Errorf("%s was asked %d times, want 1", s.path, n)
		}
	}
	_, states = ask(t, 5, "inspect", "events", "--expect", "a3")
	if states != "a1 done, a2 done, a3 silent" {
		t.Errorf("an expected one that is not there: %s", states)
	}
	_, states = ask(t, 5, "compact", "--keep-records", "5", "--expect", "a0")
	if states != "a0 silent, a1 not asked, a2 not asked" || len(requestsIn(t, a.path)) != 1 {
		t.Errorf("an act beside one that is silent: %s", states)
	}
	_, states = ask(t, 5, "scan", "--instance", "a9")
	if states != "a9 silent" {
		t.Errorf("one that is not there: %s", states)
	}
	// A sink that stops as it was told to is not missed.
	testkit.Await(t, "a1 to know of a2", func() bool { return len(a.Expects()) == 1 })
	b.stop()
	testkit.Await(t, "a1 to hear that a2 stops", func() bool { return len(a.Expects()) == 0 })
	if _, states = ask(t, 0, "inspect", "events"); states != "a1 done" {
		t.Errorf("after the stop of a2: %s", states)
	}
}

// What a sink did for somebody is listed through each door, and can be ended there.
func TestJobsOfASink(t *testing.T) {
	t.Parallel()
	server := natstest.Embedded(t, nil).ClientURL()
	s := startLiving(t, server, "archive", "eu-1", fixture())
	doors := map[string][]string{
		"socket": {"--backend", "json:" + s.path, "--output", "json"},
		"nats":   {"--server", server, "--group", "archive", "--instance", "eu-1", "--output", "json"},
	}
	runTool("compact", "--dedupe", "--backend", "json:"+s.path)
	for name, flags := range doors {
		code, out, said := runTool(append([]string{"jobs"}, flags...)...)
		var listed struct {
			Jobs []admin.JobStatus `json:"jobs"`
		}
		if err := json.Unmarshal([]byte(out), &listed); err != nil || code != 0 || len(listed.Jobs) == 0 || listed.Jobs[0].Verb != admin.VerbCompact || listed.Jobs[0].State != "done" {
			t.Fatalf("%s: code %d, %s%s", name, code, out, said)
		}
		if code, out, _ := runTool(append(append([]string{"cancel"}, flags...), listed.Jobs[0].Job)...); code != 0 || !strings.Contains(out, listed.Jobs[0].Job) {
			t.Errorf("%s: to end a job that has ended: code %d, %s", name, code, out)
		}
		if code, _, _ := runTool(append(append([]string{"cancel"}, flags...), "none")...); code != cli.CodeFailed {
			t.Errorf("%s: to end a job that is not there: code %d", name, code)
		}
	}
	if code, _, said := runTool("jobs", "--backend", "memory:"); code != cli.CodeFailed || !strings.Contains(said, "no sink") {
		t.Errorf("without a sink: code %d, %s", code, said)
	}
}
