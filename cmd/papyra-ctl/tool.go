package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/version"
)

// tool holds what the verbs get from outside, and tests replace.
type tool struct {
	open func(rawURL string) (papyra.Store, error)
	now  func() time.Time
}

const appDescription = `Papyra is the flight recorder of a fleet of actor runtimes. papyra-ctl works
on the storage itself. It finds damage (scan), moves it into quarantine (recover),
shows what was moved and puts it back (quarantine), removes what is no longer
wanted (compact), copies a store into another of any kind (copy), shows what was
recorded (inspect), says what became of every record (account), and whether a
store can be written to (startup-check, doctor).

accept-start says once that a store may begin late.

Where a sink holds a store in files, scan, inspect, account, doctor, recover and compact
go through that sink; with --server URL they ask running sinks over NATS.
Of a living fleet it shows the sinks (fleet) and the records as they come (tail),
asks the runtimes for their counts (audit) and publishes a record by hand (emit).
check says what a sink would say of the lines in a file.

scan, inspect, account, doctor, check and every --dry-run change nothing.

If something is wrong, begin with:
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
			t.quarantineCommand(),
			t.compactCommand(),
			t.copyCommand(),
			t.inspectCommand(),
			t.accountCommand(),
			t.acceptStartCommand(),
			t.startupCheckCommand(),
			t.doctorCommand(),
			t.checkCommand(),
			t.fleetCommand(),
			t.emitCommand(),
			t.auditCommand(),
			t.jobsCommand(),
			t.cancelCommand(),
			t.tailCommand(),
			t.completionCommand(),
		},
	}
}

// exit is an exit code in the help of a verb.
type exit struct {
	code    string
	meaning string
}

// describe composes the help of a verb: what it does, examples, its exit codes
// and those that every verb has.
func describe(text string, examples []string, codes ...exit) string {
	var b strings.Builder
	b.WriteString(text)
	b.WriteString("\n\nExample:\n")
	for _, e := range examples {
		b.WriteString("   " + e + "\n")
	}
	b.WriteString("\nExit codes (if several apply: the first of 64, 78, 77, 69, 4, 3, 5, 2, 1):\n")
	for _, every := range []exit{
		{"64", "wrong usage"},
		{"69", "the backend or the broker cannot be reached"},
		{"77", "the broker, or the sink that holds the store, does not allow it to you"},
		{"78", "wrong configuration, such as an unknown option in the URL"},
		{"129, 130, 143", "interrupted: the current step was finished, or nothing of it was done"},
	} {
		if i := slices.IndexFunc(codes, func(own exit) bool { return own.code == every.code }); i >= 0 {
			every.meaning = codes[i].meaning + ", or " + every.meaning
			codes = slices.Delete(codes, i, i+1)
		}
		codes = append(codes, every)
	}
	for _, c := range codes {
		fmt.Fprintf(&b, "   %-8s  %s\n", c.code, c.meaning)
	}
	return strings.TrimRight(b.String(), "\n")
}

// notHeld is the last paragraph of the help of verbs that change a store.
const notHeld = `No sink may hold the store meanwhile: stop the sink first, or the exit code is 4.`

// heldByASink is the last paragraph of the help of verbs that a running sink does too.
const heldByASink = `Where a sink holds the store, that sink does it and goes on appending. If it does
not answer, the exit code is 4. With --server the sinks of a group do it, one after
the other.`

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

func yesFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "yes", Usage: "go on where the store or the moment looks like the wrong one"}
}
