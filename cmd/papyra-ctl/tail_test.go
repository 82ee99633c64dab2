package main

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/testrecord"
)

// Records are shown as they come; stopped by ^Z the tail leaves the broker, and what is
// sent meanwhile is told when it goes on.
func TestTail(t *testing.T) {
	s := livingServer(t)
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("all", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	lines := testrecord.New(1).Events(8)
	send := func(lines ...[]byte) {
		t.Helper()
		for _, line := range lines {
			if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), line); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("papyra-ctl", append([]string{"tail", "--output", "ndjson", "--system", "orders"}, loginAs(s, "all")...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	listens := func(n uint32) func() bool { return func() bool { return s.NumSubscriptions() == n } }
	before := s.NumSubscriptions()
	await(t, listens(before+1))
	shown := bufio.NewScanner(stdout)
	expect := func(lines ...[]byte) {
		t.Helper()
		for _, want := range lines {
			if !shown.Scan() || shown.Text() != strings.TrimSuffix(string(want), "\n") {
				t.Fatalf("got %q (%v), want %q", shown.Text(), shown.Err(), want)
			}
		}
	}
	send(lines[:2]...)
	expect(lines[:2]...)
	clients := s.NumClients()
	if err := cmd.Process.Signal(syscall.SIGTSTP); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return s.NumClients() == clients-1 })
	send(lines[2:5]...)
	await(t, func() bool { // until it stands still: a signal before that would be lost
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
		return err == nil && pid == cmd.Process.Pid && status.Stopped()
	})
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(t, listens(before+1))
	send(lines[5])
	expect(lines[5])
	var told struct {
		Gap struct {
			First, Last uint64
			Reason      string
		}
	}
	if !shown.Scan() || json.Unmarshal(shown.Bytes(), &told) != nil || told.Gap.First != 3 || told.Gap.Last != 5 || told.Gap.Reason != "not subscribed" {
		t.Errorf("told %s, want that 3 to 5 were not subscribed", shown.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var end struct {
		Summary struct{ Shown, Missed uint64 }
	}
	if !shown.Scan() || json.Unmarshal(shown.Bytes(), &end) != nil || end.Summary.Shown != 3 || end.Summary.Missed != 3 {
		t.Errorf("ends with %s, want 3 shown and 3 missed", shown.Text())
	}
	_ = cmd.Wait() // its code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("code %d, want 130", code)
	}
}

// How a tail ends, and what ends it.
func TestTailEnds(t *testing.T) {
	s := livingServer(t)
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("all", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	source := testrecord.New(1)
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() { // somebody always sends
		defer close(stopped)
		for {
			for _, kind := range papyra.Kinds() {
				_ = nc.Publish(papyra.RecordsSubject("orders", kind), source.Line("orders", kind, "esc\x1b[2J"))
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for _, tt := range []struct {
		name, user string
		args       []string
		code       int
		out, says  string // parts of stdout and stderr
	}{
		{"limit", "all", []string{"--limit", "8"}, 0, "TIME (UTC)", "8 shown, 0 filtered, 0 missed"},
		{"time", "all", []string{"--for", "100ms", "--system", "nobody"}, 0, "", "0 shown, 0 filtered, 0 missed"},
		{"audits", "all", []string{"--limit", "2", "--category", "audits"}, 0, " actors, ", "2 shown"},
		{"reports", "all", []string{"--limit", "2", "--category", "reports"}, 0, "PublisherReport", "2 shown"},
		{"may not listen", "blind", nil, cli.CodeDenied, "", `"papyra.v1.records`},
		{"no such login", "nobody", nil, cli.CodeDenied, "", "Authorization"},
		{"an object", "all", []string{"--output", "json"}, cli.CodeUsage, "", "ndjson"},
		{"no category", "all", []string{"--category", "metrics"}, cli.CodeUsage, "", "--category"},
		{"no time", "all", []string{"--for", "soon"}, cli.CodeUsage, "", "--for"},
	} {
		code, out, said := ctl(t, append(append([]string{"tail"}, loginAs(s, tt.user)...), tt.args...)...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(said, tt.says) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: code %d, want %d with %q: %s%s", tt.name, code, tt.code, tt.says, out, said)
		}
	}
}
