package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/linecheck"
)

func (t *tool) checkCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "check",
		Usage:     "Say of each line of a file what a sink would say of it",
		ArgsUsage: "FILE|-",
		Description: describe(`For the author of a publisher in another language: reads lines from a file, or from
stdin with -, and says which of them a sink would reject and why, naming the member
that is to blame. It needs no broker and no store. Without --subject each line is
checked as if it came on the subject that it belongs to.`,
			[]string{
				"papyra-ctl check lines.ndjson",
				"my-runtime --print-records | papyra-ctl check --all -",
			},
			exit{"0", "a sink would take every line"},
			exit{"2", "a sink would reject some"},
			exit{"3", "the file cannot be read, or stdout failed"},
		),
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "subject", Usage: "check the lines as those of a message on this `SUBJECT`"},
			&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "list the accepted lines too"},
			outputFlag(),
		},
		Action: t.verbOn("check", noStores, (*call).check),
	}
}

// noStores is for verbs that work on no store.
func noStores(*urfave.Context) ([]string, error) { return nil, nil }

// checkResult is the JSON of check, behind its rows.
type checkResult struct {
	File string `json:"file"`
	linecheck.Lines
}

func (c *call) check() error {
	name := c.flags.Args().First()
	if name == "" || c.flags.NArg() > 1 {
		return usagef("give one file, or - for stdin")
	}
	in, err := openInput(name)
	if err != nil {
		return err
	}
	defer in.Close()
	result := &checkResult{File: name}
	c.result = result
	// A line that is waited for does not hinder an interruption.
	defer context.AfterFunc(c.ctx, func() { in.Close() })()

	g := newGrid(c.out, column{title: "LINE", right: true}, column{title: "A SINK SAYS"})
	if c.json {
		c.beginObject()
		_ = c.object.BeginRows("checked") // Row returns a failed write
	}
	all, failed := c.flags.Bool("all"), error(nil)
	result.Lines, err = linecheck.CheckLines(c.ctx, in, c.flags.String("subject"), func(v *linecheck.Verdict) error {
		switch {
		case v.Reason == "" && !all:
		case c.json:
			failed = c.object.RowOf(v)
		case v.Reason != "":
			failed = g.addRow(human.Count(v.Line), v.Detail)
		default:
			failed = g.addRow(human.Count(v.Line), acceptedWords(v))
		}
		return failed
	})
	if failed != nil {
		return outputError(failed)
	}
	if !c.json {
		if werr := g.writePage(); werr != nil {
			return outputError(werr)
		}
	}
	switch {
	case c.interrupted():
		return c.ctx.Err()
	case err != nil:
		return cli.Exit(cli.CodeFailed, fmt.Errorf("%s: %w", name, err))
	}
	if n := result.Rejected; n > 0 {
		c.noteCondition(cli.CodeAnomalies, "a sink would reject %s", human.Plural(n, "line", "lines"))
	}
	if !c.json {
		c.showChecked(result)
	}
	return nil
}

func acceptedWords(v *linecheck.Verdict) string {
	if v.Sealed {
		return "accepted"
	}
	return "accepted, without a seal"
}

func (c *call) showChecked(r *checkResult) {
	word := c.out.paint(green, "ok")
	if r.Rejected > 0 {
		word = c.out.paint(red, "REJECTED")
	}
	c.out.printf("%s  %s of %s would be rejected", word, human.Count(r.Rejected), human.Plural(r.Lines.Lines-r.Blank, "line", "lines"))
	if r.Unsealed > 0 {
		c.out.printf("; %s without a seal: nobody can tell if one of these is lost", human.Count(r.Unsealed))
	}
	c.out.printf("\n")
}

// openInput opens a file, or stdin for "-".
func openInput(name string) (io.ReadCloser, error) {
	if name == "-" {
		return os.Stdin, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", papyra.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fmt.Errorf("%s is a directory: give a file", name)
	}
	return f, nil
}
