package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
)

func testApp() *urfave.App {
	say := func(c *urfave.Context) error {
		fmt.Fprintf(c.App.Writer, "ran %s %v\n", c.Command.Name, c.Args().Slice())
		return nil
	}
	return &urfave.App{
		Name: "tool", Usage: "Try things", Version: "1.2.3",
		Flags: []urfave.Flag{&urfave.StringFlag{Name: "backend"}},
		Commands: []*urfave.Command{
			{Name: "scan", Usage: "look", Action: say, Flags: []urfave.Flag{&urfave.IntFlag{Name: "limit", EnvVars: []string{"TOOL_LIMIT"}}}},
			{Name: "copy", Usage: "copy", ArgsUsage: "FROM TO", Action: say},
			{Name: "must", Usage: "needs a flag", Action: say, Flags: []urfave.Flag{&urfave.StringFlag{Name: "needed", Required: true}}},
			{Name: "fail", Usage: "fail", Action: func(c *urfave.Context) error {
				fmt.Fprintln(c.App.Writer, "half a result")
				return fmt.Errorf("open the store: %w", papyra.ErrBusy)
			}},
			{Name: "quiet", Usage: "exit 2", Action: func(*urfave.Context) error { return Exit(CodeAnomalies, nil) }},
			{Name: "inspect", Usage: "show", Subcommands: []*urfave.Command{{Name: "events", Usage: "events", Action: say}}},
		},
	}
}

// What urfave/cli lets pass, or answers on stdout, is exit 64 with a message on
// stderr.
func TestCommandLineIsStrict(t *testing.T) {
	for _, tt := range []struct {
		name           string
		args           []string
		env            string
		code           int
		stdout, stderr string // parts of the output; "" means that it is empty
	}{
		{"command", []string{"scan"}, "", 0, "ran scan []", ""},
		{"flag", []string{"scan", "--limit", "3"}, "", 0, "ran scan []", ""},
		{"arguments", []string{"copy", "a", "b"}, "", 0, "ran copy [a b]", ""},
		{"argument with a dash", []string{"copy", "--", "-a"}, "", 0, "ran copy [-a]", ""},
		{"one dash", []string{"copy", "a", "-"}, "", 0, "ran copy [a -]", ""},
		{"help flag", []string{"--help"}, "", 0, "COMMANDS:", ""},
		{"help of a command", []string{"scan", "--help"}, "", 0, "tool scan", ""},
		{"help command", []string{"help"}, "", 0, "COMMANDS:", ""},
		{"help command with a name", []string{"help", "scan"}, "", 0, "tool scan", ""},
		{"help command with an unknown name", []string{"help", "scam"}, "", 64, "", `unknown command "scam"`},
		{"version", []string{"--version"}, "", 0, "1.2.3", ""},
		{"no command", nil, "", 64, "", "give a command: scan, copy"},
		{"unknown command", []string{"scam"}, "", 64, "", `unknown command "scam": give one of scan`},
		{"bare group", []string{"inspect"}, "", 64, "", "give a command: events"},
		{"unknown command in a group", []string{"inspect", "evnts"}, "", 64, "", `unknown command "evnts": give one of events`},
		{"unknown flag", []string{"scan", "--limt", "3"}, "", 64, "", "unknown flag --limt: did you mean --limit?"},
		{"unknown flag of the program", []string{"--bakend", "x", "scan"}, "", 64, "", "unknown flag --bakend"},
		{"flag value", []string{"scan", "--limit", "many"}, "", 64, "", `invalid value "many" for flag -limit`},
		{"flag without a value", []string{"scan", "--limit"}, "", 64, "", "flag needs an argument: -limit"},
		{"environment value", []string{"scan"}, "many", 64, "", `could not parse "many"`},
		{"surplus argument", []string{"scan", "more"}, "", 64, "", `unexpected argument "more"`},
		{"flag behind an argument", []string{"copy", "a", "--dry-run"}, "", 64, "", `flag "--dry-run" stands behind an argument`},
		{"required flag", []string{"must"}, "", 64, "", `required flag "needed" not set`},
		{"error of an action", []string{"fail"}, "", 4, "half a result", "tool: open the store: somebody else holds the store\n"},
		{"silent code", []string{"quiet"}, "", 2, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.env != "" {
				t.Setenv("TOOL_LIMIT", tt.env)
			}
			var stdout, stderr bytes.Buffer
			code := Run(testApp(), append([]string{"tool"}, tt.args...), &stdout, &stderr)
			if code != tt.code {
				t.Errorf("tool %q: code is %d, want %d", tt.args, code, tt.code)
			}
			checkOutput(t, "stdout", stdout.String(), tt.stdout)
			checkOutput(t, "stderr", stderr.String(), tt.stderr)
			if code == 64 && !strings.Contains(stderr.String(), "--help' for usage") {
				t.Errorf("tool %q: stderr %q does not say where help is", tt.args, stderr.String())
			}
		})
	}
}

func TestCompletion(t *testing.T) {
	args := []string{"tool", "--generate-bash-completion"}
	defer func(saved []string) { os.Args = saved }(os.Args)
	os.Args = args // the library looks there
	var stdout, stderr bytes.Buffer
	if code := Run(testApp(), args, &stdout, &stderr); code != 0 {
		t.Errorf("code is %d, stderr %q", code, stderr.String())
	}
	checkOutput(t, "stdout", stdout.String(), "scan\ncopy\n")
	checkOutput(t, "stderr", stderr.String(), "")
}

func checkOutput(t *testing.T, what, got, want string) {
	t.Helper()
	if want == "" && got != "" {
		t.Errorf("%s is %q, want nothing", what, got)
	}
	if !strings.Contains(got, want) {
		t.Errorf("%s is %q, want it to contain %q", what, got, want)
	}
}

func TestRunReportsAnUnwritableStdout(t *testing.T) {
	var stderr bytes.Buffer
	if code := Run(testApp(), []string{"tool", "--help"}, brokenWriter{}, &stderr); code != CodeFailed {
		t.Errorf("code is %d, want %d (stderr %q)", code, CodeFailed, stderr.String())
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestRunMapsASignal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		signal syscall.Signal
		err    error
		code   int
	}{
		{"interrupted", syscall.SIGINT, context.Canceled, 130},
		{"terminated, wrapped", syscall.SIGTERM, fmt.Errorf("scan: %w", context.Canceled), 143},
		{"finished nevertheless", syscall.SIGTERM, nil, 0},
		{"failed otherwise", syscall.SIGTERM, papyra.ErrBusy, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			app := &urfave.App{Name: "tool", Action: func(c *urfave.Context) error {
				cancel(&SignalError{tt.signal})
				<-c.Context.Done()
				return tt.err
			}}
			var out, errs bytes.Buffer
			if code := run(ctx, app, []string{"tool"}, &out, &errs); code != tt.code {
				t.Errorf("code is %d, want %d (stderr %q)", code, tt.code, errs.String())
			}
		})
	}
}

func TestSignalContextEndsAtTheFirstSignal(t *testing.T) {
	ctx, stop := signalContext(context.Background())
	defer stop()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	var sig *SignalError
	if !errors.As(context.Cause(ctx), &sig) || sig.Signal != syscall.SIGTERM {
		t.Errorf("cause is %v, want SIGTERM", context.Cause(ctx))
	}
}

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, 0},
		{"unknown", errors.New("disk on fire"), 3},
		{"given", Exit(2, errors.New("x")), 2},
		{"given, wrapped", fmt.Errorf("scan: %w", Exit(2, nil)), 2},
		{"given wins over what it wraps", Exit(1, papyra.ErrBusy), 1},
		{"busy", &papyra.StoreError{Op: "lock", Path: "x", Offset: -1, Err: papyra.ErrBusy}, 4},
		{"not found", fmt.Errorf("open: %w", papyra.ErrNotFound), 3},
		{"incomplete", papyra.ErrIncomplete, 5},
		{"config", fmt.Errorf("%w: option", papyra.ErrConfig), 78},
		{"config with a cause", fmt.Errorf("%w: %w", papyra.ErrConfig, errors.New("cause")), 78},
		{"unavailable", fmt.Errorf("dial: %w", papyra.ErrUnavailable), 69},
		{"several: busy before incomplete", errors.Join(papyra.ErrIncomplete, papyra.ErrBusy), 4},
		{"several: usage before all", errors.Join(papyra.ErrUnavailable, papyra.ErrConfig, papyra.ErrUsage), 64},
		{"several: config before unavailable", errors.Join(papyra.ErrUnavailable, papyra.ErrConfig), 78},
		{"several: incomplete before anomalies", errors.Join(Exit(2, nil), papyra.ErrIncomplete, Exit(1, nil)), 5},
		{"several: failed before incomplete", errors.Join(papyra.ErrIncomplete, papyra.ErrNotFound), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ExitCode(tt.err); got != tt.want {
				t.Errorf("ExitCode(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}
