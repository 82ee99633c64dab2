// Package cli is what Papyra's commands share: strict command lines on top of
// urfave/cli, exit codes, and the flags of retention.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redact"
)

// Run runs app with args (the program's name first) and returns the code to
// exit with. It makes the app strict: unknown commands and flags, surplus
// arguments, flags behind arguments and a group without its verb are usage
// errors, written to stderr, code 64. An error that an action returns is
// printed to stderr, once; [ExitCode] gives its code.
//
// An environment variable of a flag that is set and empty counts as one that is
// not set.
//
// A command takes positional arguments only if its ArgsUsage is not empty.
//
// The context of an action ends at the first SIGINT, SIGTERM or SIGHUP; an action
// that then returns the context's error makes the code 130, 143 or 129. A second signal
// ends the process at once with that code. SIGPIPE is ignored, so that a closed
// stdout or stderr is an error of the write and not the end of the process. Where the
// memory of the process is limited, it keeps within that as far as it can.
func Run(app *urfave.App, args []string, stdout, stderr io.Writer) int {
	signal.Ignore(syscall.SIGPIPE)
	limitMemory()
	ctx, stop := signalContext(context.Background())
	defer stop()
	return run(ctx, app, args, stdout, stderr)
}

func run(ctx context.Context, app *urfave.App, args []string, stdout, stderr io.Writer) int {
	// What the library itself writes (help, version, completion) is held back until
	// it is clear that there is no error: the library prints help to the same writer
	// when the usage was wrong.
	var held bytes.Buffer
	s := &strict{app: app, stdout: stdout}
	s.prepare()
	app.Writer, app.ErrWriter = &held, stderr

	err := app.RunContext(ctx, args)
	if err == nil {
		if _, werr := stdout.Write(held.Bytes()); werr != nil && held.Len() > 0 {
			err = Exit(CodeFailed, fmt.Errorf("write to stdout: %w", werr))
		}
	} else if msg, ok := strings.CutPrefix(err.Error(), "Required flag"); ok && !s.acted {
		err = UsageErrorf("required flag%s", msg)
	}
	code := ExitCode(err)
	var sig *SignalError
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &sig) {
		code = sig.code()
		err = sig
	}
	if err != nil && err.Error() != "" {
		fmt.Fprintf(stderr, "%s: %v\n", app.Name, err)
		if errors.Is(err, papyra.ErrUsage) {
			fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", s.where())
		}
	}
	return code
}

// strict turns what urfave/cli lets pass into usage errors.
type strict struct {
	app    *urfave.App
	stdout io.Writer
	at     *urfave.Command // the command that refused
	acted  bool            // an action ran
}

func (s *strict) prepare() {
	app := s.app
	app.ExitErrHandler = func(*urfave.Context, error) {}
	app.HideHelpCommand = true
	app.EnableBashCompletion = true
	app.OnUsageError = s.flagError(nil, app.Flags)
	forgetEmpty(app.Flags)
	if len(app.Commands) > 0 {
		app.Flags = append(slices.Clone(app.Flags), urfave.HelpFlag) // left out where there is a command of that name
		app.Commands = append(slices.Clone(app.Commands), s.helpCommand())
	}
	app.Action = s.action(nil, app.Action, app.Commands, app.ArgsUsage)
	for _, c := range app.Commands {
		s.prepareCommand(c)
	}
}

func (s *strict) prepareCommand(c *urfave.Command) {
	c.HideHelpCommand = true
	c.OnUsageError = s.flagError(c, c.Flags)
	forgetEmpty(c.Flags)
	c.Action = s.action(c, c.Action, c.Subcommands, c.ArgsUsage)
	for _, sub := range c.Subcommands {
		s.prepareCommand(sub)
	}
}

// action wraps a command's action with the checks of its arguments. The action of
// a group of commands is nil.
func (s *strict) action(cmd *urfave.Command, act urfave.ActionFunc, subs []*urfave.Command, argsUsage string) urfave.ActionFunc {
	return func(c *urfave.Context) error {
		s.at = cmd
		first := c.Args().First() // perhaps a URL whose flag was forgotten
		switch {
		case act == nil && first == "":
			return UsageErrorf("give a command: %s", commandNames(subs))
		case act == nil:
			return UsageErrorf("unknown command %q: give one of %s", redact.URL(first), commandNames(subs))
		case argsUsage == "" && first != "":
			return UsageErrorf("unexpected argument %q", redact.URL(first))
		}
		if arg, ok := misplacedFlag(c.Args().Slice()); ok {
			return UsageErrorf("flag %q stands behind an argument: flags come first", redact.URL(arg))
		}
		s.acted = true
		c.App.Writer = s.stdout
		return act(c)
	}
}

// misplacedFlag returns the first argument that looks like a flag and was not
// parsed as one because an argument stands before it. A first argument with a
// dash can only come from behind "--": then every argument is meant as it stands.
func misplacedFlag(args []string) (string, bool) {
	looksLikeFlag := func(arg string) bool { return len(arg) > 1 && arg[0] == '-' }
	for i, arg := range args {
		if arg == "--" || i == 0 && looksLikeFlag(arg) {
			return "", false
		}
		if looksLikeFlag(arg) {
			return arg, true
		}
	}
	return "", false
}

func (s *strict) flagError(cmd *urfave.Command, flags []urfave.Flag) urfave.OnUsageErrorFunc {
	return func(_ *urfave.Context, err error, _ bool) error {
		s.at = cmd
		msg := err.Error()
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			name = strings.TrimLeft(name, "-")
			msg = fmt.Sprintf("unknown flag --%s", name)
			if urfave.SuggestFlag != nil {
				if near := urfave.SuggestFlag(flags, name, true); near != "" {
					msg += fmt.Sprintf(": did you mean %s?", near)
				}
			}
		}
		return UsageErrorf("%s", msg)
	}
}

// helpCommand replaces the library's, which exits 3 for an unknown command.
func (s *strict) helpCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "help",
		Usage:     "Show the commands, or the help of one",
		ArgsUsage: "[command]",
		Action: func(c *urfave.Context) error {
			name := c.Args().First()
			if name == "" {
				return urfave.ShowAppHelp(c)
			}
			if s.app.Command(name) == nil {
				return UsageErrorf("unknown command %q: give one of %s", redact.URL(name), commandNames(s.app.Commands))
			}
			// The root's context knows the commands.
			lineage := c.Lineage()
			return urfave.ShowCommandHelp(lineage[len(lineage)-2], name)
		},
	}
}

func (s *strict) where() string {
	if s.at == nil || s.at.HelpName == "" {
		return s.app.Name
	}
	return s.at.HelpName
}

func commandNames(cmds []*urfave.Command) string {
	var names []string
	for _, c := range cmds {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}

// SignalError is the cause of a context that a signal has ended.
type SignalError struct{ Signal syscall.Signal }

// Error returns "interrupted by " and the signal's name.
func (e *SignalError) Error() string { return "interrupted by " + e.Signal.String() }

func (e *SignalError) code() int { return 128 + int(e.Signal) }

// signalContext returns a context that ends at the first SIGINT, SIGTERM or SIGHUP.
// A second one ends the process. SIGHUP stays ignored if it was at the start, as
// nohup does: such a process is to outlive its terminal.
func signalContext(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case sig := <-signals:
				e := &SignalError{Signal: sig.(syscall.Signal)}
				if n > 0 {
					os.Exit(e.code())
				}
				cancel(e)
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-stopped
		cancel(nil)
	}
}
