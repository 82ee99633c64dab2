package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/papyra/papyra/internal/testrecord"
)

// What is appended to a store is shown at once, filtered; ^C ends it.
func TestInspectFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.ndjson")
	s := testrecord.New(1)
	add := func(lines ...[]byte) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(testrecord.Join(lines...)); err != nil {
			t.Fatal(err)
		}
	}
	lines := s.Events(8)
	add(lines[:4]...)
	cmd := exec.Command("papyra-ctl", "inspect", "events", "--backend", "json:"+path, "--follow", "--limit", "2", "--output", "ndjson")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := bufio.NewScanner(stdout)
	expect := func(lines ...[]byte) {
		t.Helper()
		for _, want := range lines {
			if !shown.Scan() || shown.Text() != strings.TrimSuffix(string(want), "\n") {
				t.Fatalf("got %q (%v), want %q", shown.Text(), shown.Err(), want)
			}
		}
	}
	expect(lines[2:4]...)
	add(lines[4:6]...)
	add(lines[0]) // a copy
	expect(lines[4:6]...)
	add(lines[6:]...)
	expect(lines[6:]...)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if shown.Scan() {
		t.Errorf("shown at last: %s", shown.Text())
	}
	_ = cmd.Wait() // its code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("code %d, want 130", code)
	}
	for _, args := range [][]string{{"--follow", "--reverse"}, {"--follow", "--output", "json"}, {"--output", "ndjson"}} {
		if code, _, said := ctl(t, append([]string{"inspect", "events", "--backend", "json:" + path}, args...)...); code != 64 {
			t.Errorf("%v: code %d, want 64: %s", args, code, said)
		}
	}
	if code, _, said := ctl(t, "inspect", "events", "--follow", "--backend", "json:"+path+".none"); code != 3 {
		t.Errorf("no store: code %d, want 3: %s", code, said)
	}
}
