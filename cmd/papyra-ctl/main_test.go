package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/backend"
)

// testClock is what the tool under test takes for now.
func testClock() time.Time { return time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC) }

// TestMain makes the test binary the tool itself when it is called by that
// name, so that scripts run the real command in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"papyra-ctl": func() {
			t := &tool{open: backend.Open, now: testClock}
			os.Exit(cli.Run(t.app(), os.Args, os.Stdout, os.Stderr))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return os.Geteuid() == 0, nil
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("ESC", "\x1b")
			// Under the race detector each command would wait for a second at its
			// end, for reports of its other goroutines.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":     cmdCode,
			"terminal": cmdTerminal,
			"records":  cmdRecords,
			"damage":   cmdDamage,
			"json":     cmdJSON,
			"hold":     cmdHold,
			"pack":     cmdPack,
			"cut":      cmdCut,
			"same":     cmdSame,
		},
	})
}

// cmdCode runs a command and wants an exit code: code 2 papyra-ctl scan …
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [argument…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code of %q: got %d, want %d", args[1:], got, want)
	}
}

// cmdRecords appends sealed records to a file:
// records FILE [kind=events] [n=1] [system=orders] [node=eu-1] [run=…] [from=1] [at=2024-01-01] [step=1s] [type=…] [text=…] [size=0]
func cmdRecords(ts *testscript.TestScript, neg bool, args []string) {
	o := map[string]string{
		"kind": "events", "n": "1", "system": "orders", "node": "eu-1", "run": "k3f9x2ab7q04mzt1",
		"from": "1", "at": "2024-01-01", "step": "1s", "type": papyra.ActorStarted, "text": "hello", "size": "0",
	}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		if _, known := o[name]; neg || !ok || !known {
			ts.Fatalf("records: unknown option %q", arg)
		}
		o[name] = value
	}
	number := func(name string) int {
		n, err := strconv.Atoi(o[name])
		ts.Check(err)
		return n
	}
	at, err := human.ParseTime(o["at"], testClock())
	ts.Check(err)
	step, err := time.ParseDuration(o["step"])
	ts.Check(err)
	id, err := papyra.NewIdentityRun(o["node"], o["run"])
	ts.Check(err)

	text := unescape(ts, o["text"]) + strings.Repeat("x", number("size"))
	var e papyra.Encoder
	var out []byte
	for i := range number("n") {
		when := at.Add(time.Duration(i) * step)
		actor := papyra.Address{System: o["system"], ID: int64(i%7 + 1)}
		switch papyra.ParseCategory(o["kind"]) {
		case papyra.KindEvent:
			err = e.Event(id, o["system"], &papyra.Event{Actor: actor, Type: unescape(ts, o["type"]), Payload: map[string]any{"text": text, "i": i}}, nil, when)
		case papyra.KindAudit:
			err = e.Audit(id, o["system"], &papyra.Audit{TotalActors: 1234, AliveActors: 9, StoppingActors: 1, RegistrySize: 3, RegistryOrphans: []string{"a"}, DeadLetters: 2}, when)
		case papyra.KindDeadLetter:
			err = e.DeadLetter(id, o["system"], &papyra.DeadLetter{Target: actor, MessageType: o["type"], Payload: text}, nil, when)
		case papyra.KindReport:
			err = e.Report(id, o["system"], &papyra.Report{Name: papyra.ReportPublisher, Payload: papyra.PublisherReport{}}, when)
		default:
			ts.Fatalf("records: unknown kind %q", o["kind"])
		}
		ts.Check(err)
		out = e.AppendLine(out, uint64(number("from")+i))
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = f.Write(out)
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdDamage breaks a file: damage FILE cut N (bytes off the end), flip OFFSET,
// append TEXT (with the escapes of Go), huge N (a line of N bytes).
func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage FILE cut|flip|append|huge VALUE")
	}
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	number := func() int {
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		return n
	}
	switch args[1] {
	case "cut":
		data = data[:len(data)-number()]
	case "flip":
		data[number()] ^= 1
	case "append":
		data = append(data, unescape(ts, args[2])...)
	case "huge":
		data = append(append(data, strings.Repeat("j", number())...), '\n')
	default:
		ts.Fatalf("damage: unknown %q", args[1])
	}
	ts.Check(os.WriteFile(path, data, 0o600))
}

// unescape reads the escapes of a Go string; quotes stand for themselves.
func unescape(ts *testscript.TestScript, s string) string {
	var out []byte
	for s != "" {
		r, multibyte, rest, err := strconv.UnquoteChar(s, 0)
		ts.Check(err)
		if multibyte {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, byte(r))
		}
		s = rest
	}
	return string(out)
}

// cmdJSON compares a member of a JSON object with a JSON value:
// json stdout streams[0].records 12. With ! it wants another value or none.
// The length of an array is its member "len".
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: json FILE PATH VALUE")
	}
	var got, want any
	text := ts.ReadFile(args[0])
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		ts.Fatalf("%s is not one JSON value: %v\n%s", args[0], err, text)
	}
	if strings.Count(text, "\n") == 0 || !strings.HasSuffix(text, "}\n") {
		ts.Fatalf("%s does not end in a line: %q", args[0], text)
	}
	ts.Check(json.Unmarshal([]byte(args[2]), &want))
	for _, step := range strings.FieldsFunc(args[1], func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		switch v := got.(type) {
		case map[string]any:
			member, ok := v[step]
			if !ok {
				member = nil
			}
			got = member
		case []any:
			if step == "len" {
				got = float64(len(v))
				continue
			}
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(v) {
				ts.Fatalf("%s: %s: only %d elements in %s", args[0], args[1], len(v), text)
			}
			got = v[i]
		default:
			ts.Fatalf("%s: no %s in %s", args[0], args[1], text)
		}
	}
	if equal := reflect.DeepEqual(got, want); equal == neg {
		ts.Fatalf("%s: %s is %v, want (negated: %v) %v in\n%s", args[0], args[1], got, neg, want, text)
	}
}

// cmdHold holds a store as a sink does until the script ends.
func cmdHold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold FILE")
	}
	store, err := backend.Open("json:" + backend.EscapePath(ts.MkAbs(args[0])))
	ts.Check(err)
	_, err = store.Appender(context.Background())
	ts.Check(err)
	ts.Defer(func() { _ = store.Close() })
}

// cmdPack writes kept and quarantined bytes in the order of their offsets to a
// file: pack STORE ACT OUT. They must be the original.
func cmdPack(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: pack STORE ACT OUT")
	}
	kept := []byte(ts.ReadFile(args[0]))
	moved := []byte(ts.ReadFile(args[1] + "/bytes"))
	var original []byte
	for line := range strings.Lines(ts.ReadFile(args[1] + "/index.ndjson")) {
		var entry struct {
			Offset   int64 `json:"offset"`
			Length   int64 `json:"length"`
			Inserted int64 `json:"inserted_newlines"`
		}
		ts.Check(json.Unmarshal([]byte(line), &entry))
		fromKept := entry.Offset - int64(len(original))
		original = append(append(original, kept[:fromKept]...), moved[:entry.Length]...)
		kept, moved = kept[fromKept+entry.Inserted:], moved[entry.Length:]
	}
	if len(moved) > 0 {
		ts.Fatalf("%d quarantined bytes are in no index", len(moved))
	}
	// What the recovery itself appended follows; the caller compares a prefix.
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), append(original, kept...), 0o600))
}

// cmdCut runs the tool and kills it as soon as a file, which a pattern may name, has a size, or sends it
// another signal and wants its exit code: cut FILE SIZE KILL|TERM|INT|HUP argument…
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: cut FILE SIZE KILL|TERM|INT|HUP argument…")
	}
	path := ts.MkAbs(args[0])
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	sig, ok := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP}[args[2]]
	if !ok {
		ts.Fatalf("cut: unknown signal %q", args[2])
	}
	var program string
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), ":") {
		if program, err = exec.LookPath(dir + "/papyra-ctl"); err == nil {
			break
		}
	}
	ts.Check(err)
	var out strings.Builder
	cmd := exec.Command(program, args[3:]...)
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), &out
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if found, _ := filepath.Glob(path); len(found) > 0 {
			if info, err := os.Stat(found[0]); err == nil && info.Size() >= size {
				break
			}
		}
		select {
		case err := <-ended:
			ts.Fatalf("%q ended before %s had %d bytes: %v\n%s", args[3:], args[0], size, err, out.String())
		case <-time.After(100 * time.Microsecond):
		}
	}
	ts.Check(cmd.Process.Signal(sig))
	err = <-ended
	if sig != syscall.SIGKILL && cmd.ProcessState.ExitCode() != 128+int(sig) {
		ts.Fatalf("%q ended with %v, want the code of %v\n%s", args[3:], err, sig, out.String())
	}
	ts.Logf("%q: %v\n%s", args[3:], err, out.String())
}

// cmdSame wants two files to be equal; same -prefix A B wants A to begin with
// all of B.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	prefix := len(args) == 3 && args[0] == "-prefix"
	if prefix {
		args = args[1:]
	}
	if len(args) != 2 {
		ts.Fatalf("usage: same [-prefix] A B")
	}
	a, b := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	equal := a == b || prefix && strings.HasPrefix(a, b)
	if equal == neg {
		ts.Fatalf("%s and %s: equal is %v", args[0], args[1], equal)
	}
}

func Example() {
	t := &tool{open: backend.Open, now: testClock}
	code := cli.Run(t.app(), []string{"papyra-ctl", "startup-check", "--backend", "json:testdata/small.ndjson"}, os.Stdout, os.Stderr)
	fmt.Println("exit", code)
	// Output:
	// clean  json:testdata/small.ndjson: 3 records
	// exit 0
}
