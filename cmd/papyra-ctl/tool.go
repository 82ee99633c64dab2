package main

import (
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra/internal/version"
	"github.com/papyra/papyra/sink"
)

// tool is what the verbs need from outside.
type tool struct {
	open func(rawURL string) (sink.Backend, error)
	now  func() time.Time
}

const appDescription = `Papyra is the flight recorder of a fleet of actor runtimes. papyra-ctl works
on the storage itself: it finds damage (scan), moves it into quarantine
(recover), removes what is no longer wanted (compact), moves a store into one of
another kind (copy), shows what was recorded (inspect), says what became of every
record (account), and whether a store is fit to be written to (startup-check,
doctor).

Nothing is changed by scan, inspect, account, doctor and every --dry-run.

At night begin with:
   papyra-ctl doctor --backend json:/var/lib/papyra/records.ndjson`

func (t *tool) app() *urfave.App {
	return &urfave.App{
		Name:                      "papyra-ctl",
		Usage:                     "scan, recover, compact and read the stores of a flight recorder",
		Description:               appDescription,
		Version:                   version.Get().String(),
		DisableSliceFlagSeparator: true, // a path may hold a comma
		Commands: []*urfave.Command{
			t.scanCommand(),
			t.recoverCommand(),
			t.compactCommand(),
			t.copyCommand(),
			t.inspectCommand(),
			t.accountCommand(),
			t.startupCheckCommand(),
			t.doctorCommand(),
			t.completionCommand(),
		},
	}
}

// exit is one row of a verb's help about its exit codes.
type exit struct {
	code    string
	meaning string
}

// describe composes the help of a verb: what it does, an example, its codes.
func describe(text string, examples []string, codes ...exit) string {
	var b strings.Builder
	b.WriteString(text)
	b.WriteString("\n\nExample:\n")
	for _, e := range examples {
		b.WriteString("   " + e + "\n")
	}
	b.WriteString("\nExit codes (with several, the first of 64, 78, 69, 4, 3, 5, 2, 1):\n")
	for _, c := range append(codes,
		exit{"64", "wrong usage"},
		exit{"69", "the backend cannot be reached"},
		exit{"78", "wrong configuration, as an unknown option in the URL"},
		exit{"130, 143", "interrupted: the step at hand was finished or abandoned whole"},
	) {
		fmt.Fprintf(&b, "   %-8s  %s\n", c.code, c.meaning)
	}
	return strings.TrimRight(b.String(), "\n")
}

const exampleStore = "json:/var/lib/papyra/records.ndjson"

func backendFlag(several bool) urfave.Flag {
	usage := "the store, a `URL` such as json:PATH"
	if several {
		usage += "; may be given more than once"
	}
	return &urfave.StringSliceFlag{Name: "backend", Aliases: []string{"b"}, EnvVars: []string{"PAPYRA_BACKEND"}, Usage: usage}
}

func outputFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "output", Aliases: []string{"o"}, EnvVars: []string{"PAPYRA_OUTPUT"}, Value: "table", Usage: "`FORMAT` of the result: table, or json (one object)"}
}

func dryRunFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "dry-run", Usage: "show what would be done and change nothing"}
}
