package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/terminal"
	"github.com/papyra/papyra/internal/testrecord"
)

// broken is a store of which every method fails with err; a scan reports
// report instead, if there is one.
type broken struct {
	papyra.Store
	err    error
	report *papyra.ScanReport
}

func (b broken) URL() string        { return "json:broken" }
func (b broken) RejectFile() string { return "" }
func (b broken) Close() error       { return nil }

func (b broken) Warnings(context.Context, papyra.Retention) ([]string, error) { return nil, nil }

func (b broken) Examine(context.Context) []papyra.Check { return nil }

func (b broken) Groups(context.Context) ([]papyra.ConsumerGroup, error) { return nil, nil }

func (b broken) Scan(context.Context, papyra.ScanOptions) (*papyra.ScanReport, error) {
	if b.report != nil {
		return b.report, nil
	}
	return nil, b.err
}

func (b broken) Recover(context.Context, papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	return nil, b.err
}

func (b broken) Compact(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
	return nil, b.err
}

func (b broken) Read(context.Context, papyra.Query, func(*papyra.Record, papyra.Place) error) (int64, error) {
	return 0, b.err
}

// TestErrorsOfStores holds every verb to the table of exit codes, whatever goes
// wrong in a store, on stderr as in the JSON.
func TestErrorsOfStores(t *testing.T) {
	verbs := map[string][]string{
		"scan":          {"scan"},
		"recover":       {"recover"},
		"compact":       {"compact", "--keep-records", "1"},
		"events":        {"inspect", "events"},
		"summary":       {"inspect", "summary"},
		"account":       {"account"},
		"accept-start":  {"accept-start"},
		"startup-check": {"startup-check"},
	}
	for _, tc := range []struct {
		name string
		err  error
		code int
		cond string
	}{
		{"not found", papyra.ErrNotFound, 3, "failed"},
		{"busy", papyra.ErrBusy, 4, "busy"},
		{"incomplete", papyra.ErrIncomplete, 5, "incomplete"},
		{"unavailable", papyra.ErrUnavailable, 69, "unavailable"},
		{"configuration", papyra.ErrConfig, 78, "config"},
		{"full disk", &papyra.StoreError{Op: "write", Path: "x", Offset: 7, Err: syscall.ENOSPC}, 3, "failed"},
		{"foreign writer", papyra.ErrForeignWriter, 3, "failed"},
		{"several", errors.Join(papyra.ErrIncomplete, papyra.ErrBusy), 4, "busy"},
		{"hostile text", errors.New("bad \x1b[2J\u202e"), 3, "failed"},
	} {
		for name, args := range verbs {
			t.Run(name+"/"+tc.name, func(t *testing.T) {
				tool := &tool{now: testClock, open: func(string) (papyra.Store, error) {
					return broken{err: fmt.Errorf("do it: %w", tc.err)}, nil
				}}
				var stdout, stderr bytes.Buffer
				args := append([]string{"papyra-ctl"}, args...)
				args = append(args, "--backend", "json:broken", "--output", "json")
				code := cli.Run(tool.app(), args, &stdout, &stderr)
				if code != tc.code {
					t.Errorf("code: got %d, want %d", code, tc.code)
				}
				var got struct {
					V          int         `json:"v"`
					Exit       int         `json:"exit"`
					Conditions []condition `json:"conditions"`
				}
				if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
					t.Fatalf("stdout %q: %v", &stdout, err)
				}
				if got.V != 1 || got.Exit != tc.code || len(got.Conditions) != 1 || got.Conditions[0].Name != tc.cond {
					t.Errorf("object: got %+v, want exit %d for %s", got, tc.code, tc.cond)
				}
				said := stderr.String()
				if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "papyra-ctl: json:broken: ") {
					t.Errorf("stderr: got %q, want one line", said)
				}
				if line := strings.TrimSuffix(said, "\n"); terminal.Escape(line) != line {
					t.Errorf("stderr: %q is not harmless on a terminal", line)
				}
			})
		}
	}
}

// A part that cannot be read is more than damage: 5 wins over 2 and 1.
func TestIncompleteWins(t *testing.T) {
	report := &papyra.ScanReport{
		Incomplete:    true,
		AnomalyCounts: map[papyra.Class]int64{papyra.ClassCorrupted: 1},
		Anomalies:     []papyra.Anomaly{{Class: papyra.ClassCorrupted, File: "x"}},
	}
	tool := &tool{now: testClock, open: func(string) (papyra.Store, error) { return broken{report: report}, nil }}
	for _, args := range [][]string{{"scan"}, {"startup-check"}, {"doctor"}, {"doctor", "--mode", "fail_on_anomaly"}} {
		var stdout, stderr bytes.Buffer
		args := append(append([]string{"papyra-ctl"}, args...), "--backend", "json:broken")
		if code := cli.Run(tool.app(), args, &stdout, &stderr); code != cli.CodeIncomplete {
			t.Errorf("%q: code %d, want %d\n%s%s", args, code, cli.CodeIncomplete, &stdout, &stderr)
		}
	}
}

// TestInterrupt interrupts a real process in the middle of a long result: what
// it has begun to write it ends, as one valid object that says so.
func TestInterrupt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long.ndjson")
	const records = 100_000
	lines := testrecord.New(1).Events(records)
	if err := os.WriteFile(path, testrecord.Join(lines...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, stores := range []int{1, 2} {
			t.Run(fmt.Sprintf("%v with %d stores", sig, stores), func(t *testing.T) {
				args := []string{"inspect", "events", "--output", "json"}
				for range stores {
					args = append(args, "--backend", "json:"+path)
				}
				cmd := exec.Command("papyra-ctl", args...)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				stdout, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				awaitFull(t, stdout.(*os.File))
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				awaitTaken(t, cmd.Process.Pid, sig)
				shown, err := io.ReadAll(stdout)
				if err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait() // its code is looked at
				want := 128 + int(sig)
				if got := cmd.ProcessState.ExitCode(); got != want {
					t.Errorf("code: got %d, want %d", got, want)
				}
				if want := "papyra-ctl: interrupted by " + sig.String() + "\n"; stderr.String() != want {
					t.Errorf("stderr: got %q, want %q", &stderr, want)
				}
				var object struct {
					Records    []json.RawMessage `json:"records"`
					Shown      int               `json:"shown"`
					Exit       int               `json:"exit"`
					Conditions []condition       `json:"conditions"`
				}
				if err := json.Unmarshal(shown, &object); err != nil {
					t.Fatalf("stdout ends in %q: %v", shown[max(0, len(shown)-200):], err)
				}
				if n := len(object.Records); n == 0 || n >= records || n != object.Shown {
					t.Errorf("%d records and %d shown, want a part of %d", n, object.Shown, records)
				}
				if object.Exit != want || len(object.Conditions) == 0 || object.Conditions[0].Name != "interrupted" {
					t.Errorf("object: exit %d, conditions %+v, want %d", object.Exit, object.Conditions, want)
				}
			})
		}
	}
}

// awaitFull waits until nothing more fits into a pipe: the writer blocks.
func awaitFull(t *testing.T, r *os.File) {
	t.Helper()
	size, err := unix.FcntlInt(r.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ); err != nil || n >= size {
			return
		}
	}
	t.Fatal("the pipe is not filled")
}

// awaitTaken waits until no signal is pending in a process: it has taken it.
func awaitTaken(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, pending, _ := strings.Cut(string(status), "ShdPnd:\t")
		mask, err := strconv.ParseUint(strings.Fields(pending)[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if mask&(1<<(sig-1)) == 0 {
			return
		}
	}
	t.Fatalf("process %d does not take %v", pid, sig)
}
