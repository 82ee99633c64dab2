// Package manual writes the manual page of a command from what its --help shows.
//
// It is no part of the programs: built with the tag manual, a command writes its
// page and ends.
//
//	go run -tags manual ./cmd/papyra-ctl > papyra-ctl.1
package manual

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra/internal/version"
)

// Main writes the page of app to stdout and ends the process.
func Main(app *urfave.App) {
	if err := Write(os.Stdout, app); err != nil {
		fmt.Fprintf(os.Stderr, "%s: write the manual page: %v\n", app.Name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Write writes the page of app, in section 1. The same app gives the same bytes,
// whatever the environment and the day. It changes app, which cannot run
// afterwards.
func Write(w io.Writer, app *urfave.App) error {
	app.HideHelpCommand = true
	app.Setup()
	var p page
	p.macro("TH", strings.ToUpper(app.Name), "1", "", "Papyra "+version.Number, "Papyra")
	p.macro("SH", "NAME")
	p.text(app.Name + " - " + app.Usage)
	p.macro("SH", "SYNOPSIS")
	if len(app.VisibleCommands()) > 0 {
		p.text(app.Name + " command [flags] [arguments]")
	} else {
		p.text(app.UsageText)
	}
	p.macro("SH", "DESCRIPTION")
	p.verbatim(app.Description)
	p.macro("SH", "OPTIONS")
	if categories := app.VisibleFlagCategories(); len(categories) > 0 {
		p.categories(categories)
	} else {
		p.flags(app.VisibleFlags())
	}
	if len(app.VisibleCommands()) > 0 {
		p.macro("SH", "COMMANDS")
		p.commands(app.Name, app.VisibleCommands())
	}
	_, err := w.Write(p.Bytes())
	return err
}

// page is a page in the language of man(7).
type page struct{ bytes.Buffer }

func (p *page) commands(parent string, commands []*urfave.Command) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		name := parent + " " + c.Name
		heading := name
		if c.ArgsUsage != "" {
			heading += " " + c.ArgsUsage
		}
		p.macro("SS", heading)
		p.text(c.Usage + ".")
		if c.Description != "" {
			p.macro("PP")
			p.verbatim(c.Description)
		}
		p.flags(c.VisibleFlags())
		p.commands(name, c.Subcommands)
	}
}

func (p *page) categories(categories []urfave.VisibleFlagCategory) {
	for _, c := range categories {
		if c.Name() != "" {
			p.macro("SS", c.Name())
		}
		flags := make([]urfave.Flag, 0, len(c.Flags()))
		for _, f := range c.Flags() {
			flags = append(flags, f)
		}
		p.flags(flags)
	}
}

// flags writes each flag as --help does: what stands before the tab is its name.
func (p *page) flags(flags []urfave.Flag) {
	for _, f := range flags {
		name, usage, _ := strings.Cut(f.String(), "\t")
		p.macro("TP")
		p.WriteString(`\fB` + escape(name) + `\fR` + "\n")
		p.text(usage)
	}
}

// macro writes a request with its arguments.
func (p *page) macro(name string, args ...string) {
	p.WriteString("." + name)
	for _, arg := range args {
		p.WriteString(` "` + strings.ReplaceAll(escape(arg), `"`, `\(dq`) + `"`)
	}
	p.WriteString("\n")
}

// verbatim keeps the lines of a text as they are.
func (p *page) verbatim(s string) {
	p.macro("nf")
	p.text(s)
	p.macro("fi")
}

func (p *page) text(s string) {
	for line := range strings.Lines(strings.TrimSpace(s)) {
		line = escape(strings.TrimRight(line, " \n"))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line // a line that begins so would be a request
		}
		p.WriteString(line + "\n")
	}
}

// escape makes groff show s as it is: a dash that can be copied, no escapes.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(s)
}
