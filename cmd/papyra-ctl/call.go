package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/cmd/internal/jsonobject"
	"github.com/papyra/papyra/internal/terminal"
	"github.com/papyra/papyra/sink/backend"
)

// call is one run of a verb: its flags, where it writes, and what it found that
// decides the exit code.
type call struct {
	*tool
	ctx   context.Context
	flags *urfave.Context
	verb  string
	json  bool
	lines bool    // ndjson: a record on each line, and nothing else on stdout
	out   *screen // results
	err   *screen // messages and progress
	urls  []string

	living  *living // the sinks that are asked, with --server; nil without
	fetched string  // a file for what they sent; "" without

	conditions []condition
	messages   []string           // for stderr, when the results are out
	result     any                // a struct: the verb's own members of the JSON object
	object     *jsonobject.Writer // the JSON object, once it is begun
}

// condition is one reason for an exit code other than 0.
type condition struct {
	Exit    int    `json:"exit"`
	Name    string `json:"name"`
	Message string `json:"message"`
}

// The JSON object of every verb is these two and the verb's own members. Records
// that are written while they are read stand between the two.
type (
	header struct {
		V       int    `json:"v"`
		Verb    string `json:"verb"`
		Backend string `json:"backend"`
	}
	outcome struct {
		Exit       int           `json:"exit"`
		Conditions []condition   `json:"conditions"`
		Instances  []instanceRow `json:"instances,omitempty"` // with --server
	}
)

// verb makes the action of a command. The action reads the flags that all verbs
// share, runs do, and turns what do noted and returned into output and an exit
// code.
func (t *tool) verb(name string, do func(*call) error) urfave.ActionFunc {
	return t.verbOn(name, func(flags *urfave.Context) ([]string, error) {
		urls := flags.StringSlice("backend")
		switch asks, err := asksSinks(flags); {
		case err != nil || asks:
			return nil, err
		case len(urls) == 0:
			return nil, usagef("no store is named: give --backend json:PATH or set PAPYRA_BACKEND, or ask running sinks with --server URL")
		}
		return urls, nil
	}, do)
}

// listsLines are the verbs that always show lines.
var listsLines = []string{"tail"}

// verbOn is verb for a command that names its stores in flags of its own.
func (t *tool) verbOn(name string, stores func(*urfave.Context) ([]string, error), do func(*call) error) urfave.ActionFunc {
	return func(flags *urfave.Context) error {
		c := &call{
			tool: t, ctx: flags.Context, flags: flags, verb: name,
			out: newScreen(flags.App.Writer), err: newScreen(flags.App.ErrWriter),
		}
		switch output := flags.String("output"); output {
		case "json":
			c.json = true
		case "table":
		case "ndjson":
			if !flags.Bool("follow") && !slices.Contains(listsLines, name) {
				return usagef("--output ndjson is for --follow and tail: give table or json")
			}
			c.lines = true
		default:
			return usagef("--output %q: give table or json", output)
		}
		var err error
		if c.urls, err = stores(flags); err != nil {
			return c.finish(err)
		}
		if asks, _ := asksSinks(flags); asks && len(c.urls) == 0 {
			c.living = &living{}
			defer c.living.close()
		}
		return c.finish(do(c))
	}
}

// approve returns an error if an act is perhaps a mistake and --yes is not given.
func (c *call) approve(mistake string) error {
	if mistake == "" || c.flags.Bool("yes") {
		return nil
	}
	return cli.Exit(cli.CodeRefused, fmt.Errorf("%w: %s; nothing was changed. If it is meant, give --yes", errRefused, mistake))
}

var errRefused = errors.New("refused")

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", papyra.ErrUsage, fmt.Sprintf(format, args...))
}

// noteCondition adds a condition that the result itself tells people about.
func (c *call) noteCondition(code int, format string, args ...any) {
	c.conditions = append(c.conditions, condition{code, conditionName(code), fmt.Sprintf(format, args...)})
}

// noteError adds the condition of an error, which people read on stderr.
func (c *call) noteError(err error) {
	cause := context.Cause(c.ctx)
	stopped := cause != nil && (errors.Is(err, cause) || errors.Is(err, context.Canceled))
	if stopped {
		err = cause
	}
	code := cli.ExitCode(err)
	c.conditions = append(c.conditions, condition{code, conditionName(code), err.Error()})
	// finish tells of an interruption once. A reader that has seen enough, such as
	// "| head", is no error for people.
	if !stopped && !errors.Is(err, syscall.EPIPE) {
		c.messages = append(c.messages, err.Error())
	}
}

// interrupted reports whether a signal has ended the work.
func (c *call) interrupted() bool { return c.ctx.Err() != nil }

// exitCode is the first, in the order of cli.First, of all conditions.
func (c *call) exitCode() int {
	code := cli.CodeOK
	for _, cond := range c.conditions {
		code = cli.First(code, cond.Exit)
	}
	return code
}

// finish writes what is left to write, and returns the error that carries the
// exit code.
func (c *call) finish(err error) error {
	if err != nil {
		c.noteError(err)
	}
	if c.living != nil && !c.json {
		c.showInstances()
	}
	var werr error
	if c.json {
		werr = c.endObject()
	}
	if ferr := c.out.flush(); werr == nil {
		werr = ferr
	}
	if werr != nil && !errors.Is(err, werr) {
		c.noteError(outputError(werr))
	}
	for _, m := range c.messages {
		c.err.printf("papyra-ctl: %s\n", m)
	}
	_ = c.err.flush() // there is no other place to report its error
	switch code := c.exitCode(); {
	case c.interrupted() && code == cli.ExitCode(context.Cause(c.ctx)):
		return cli.Exit(code, context.Cause(c.ctx))
	case code != cli.CodeOK:
		return cli.Exit(code, nil)
	}
	return nil
}

func outputError(err error) error {
	return cli.Exit(cli.CodeFailed, fmt.Errorf("write the result to stdout: %w", err))
}

// header returns the beginning of the JSON object.
func (c *call) header() header {
	shown := make([]string, len(c.urls))
	for i, u := range c.urls {
		shown[i] = backend.Redact(u)
	}
	return header{V: 1, Verb: c.verb, Backend: strings.Join(shown, " ")}
}

// beginObject begins the JSON object, with its header.
func (c *call) beginObject() {
	c.object = jsonobject.New(c.out.w, c.jsonText)
	_ = c.object.Members(c.header()) // the object keeps the error for endObject
}

// endObject writes what is left of the JSON object, or all of it.
func (c *call) endObject() error {
	if c.object == nil {
		c.beginObject()
	}
	_ = c.object.EndRows()
	_ = c.object.Members(outcome{c.exitCode(), append([]condition{}, c.conditions...), c.instanceRows()})
	if c.result != nil {
		_ = c.object.Members(c.result)
	}
	return c.object.End()
}

// jsonText returns a JSON text as it may be written to stdout: as it is, or on
// a terminal with invisible characters escaped.
func (c *call) jsonText(text []byte) []byte {
	if !c.out.tty {
		return text
	}
	return terminal.AppendJSON(nil, text)
}

func conditionName(code int) string {
	switch code {
	case cli.CodeRefused:
		return "refused"
	case cli.CodeAnomalies:
		return "anomalies"
	case cli.CodeBusy:
		return "busy"
	case cli.CodeIncomplete:
		return "incomplete"
	case cli.CodeUsage:
		return "usage"
	case cli.CodeUnavailable:
		return "unavailable"
	case cli.CodeDenied:
		return "denied"
	case cli.CodeConfig:
		return "config"
	case 128 + int(syscall.SIGINT), 128 + int(syscall.SIGTERM), 128 + int(syscall.SIGHUP):
		return "interrupted"
	}
	return "failed"
}

// openAll opens every store; the caller closes them with closeAll. A URL that
// is wrong ends the verb: nothing was read yet.
func (c *call) openAll() ([]papyra.Store, error) {
	if c.living != nil {
		return c.findSinks()
	}
	var stores []papyra.Store
	for _, u := range c.urls {
		store, err := c.openStore("--backend", u)
		if err != nil {
			closeAll(stores)
			return nil, err
		}
		stores = append(stores, store)
	}
	return stores, nil
}

// openStore opens the store that a flag names.
func (c *call) openStore(flag, rawURL string) (papyra.Store, error) {
	err := cli.CheckStore(rawURL)
	if err == nil {
		var store papyra.Store
		if store, err = c.open(rawURL); err == nil {
			if s, ok := store.(interface{ Mistaken() string }); ok && s.Mistaken() != "" {
				c.messages = append(c.messages, s.Mistaken())
			}
			return c.throughHolder(store), nil
		}
	}
	return nil, fmt.Errorf("%s %s: %w", flag, backend.Redact(rawURL), err)
}

// openOne opens the store of a verb that works on one store.
func (c *call) openOne() (papyra.Store, error) {
	if len(c.urls) > 1 {
		return nil, usagef("%s works on one store: give --backend once", c.verb)
	}
	stores, err := c.openAll()
	if err != nil {
		return nil, err
	}
	return stores[0], nil
}

func closeAll(stores []papyra.Store) {
	for _, s := range stores {
		_ = s.Close() // what a verb changed was synced before it returned
	}
}

// explain adds the store's URL to an error, and what the operator can do about
// it unless the error says that already.
func explain(store papyra.Store, err error) error {
	hint := ""
	switch {
	case errors.Is(err, papyra.ErrNotFound):
		hint = "check the path; nothing was created"
	case errors.Is(err, papyra.ErrBusy):
		hint = "stop the sink that writes it, or work on a copy"
	case errors.Is(err, context.Canceled):
		return err
	}
	var placed *papyra.StoreError
	if errors.As(err, &placed) && placed.Hint != "" {
		hint = ""
	}
	if hint != "" {
		return fmt.Errorf("%s: %w (%s)", store.URL(), err, hint)
	}
	return fmt.Errorf("%s: %w", store.URL(), err)
}

// progress returns the function to which long work reports, and the function that
// wipes the line when the work is done. Both do nothing unless stderr is a
// terminal.
func (c *call) progress(doing string) (papyra.Progress, func()) {
	if !c.err.tty {
		return nil, func() {}
	}
	p := &progressLine{s: c.err, doing: doing, now: c.now, began: c.now()}
	return p.report, p.clear
}
