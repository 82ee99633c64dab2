package manual

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra/internal/version"
)

func tool() *urfave.App {
	return &urfave.App{
		Name: "tool", Usage: "try things", Version: "1.2.3",
		Description: "It tries.\n\n.A line that looks like a request, and a \\ between.\n'Another.",
		Commands: []*urfave.Command{
			{
				Name: "look", Usage: "Look at things", ArgsUsage: "FILE", Description: "Example:\n   tool look --deep FILE",
				Flags:       []urfave.Flag{&urfave.IntFlag{Name: "depth", Aliases: []string{"d"}, EnvVars: []string{"TOOL_DEPTH"}, Value: 3, Usage: "how far, `N`"}},
				Subcommands: []*urfave.Command{{Name: "far-away", Usage: "Look beyond"}},
			},
			{Name: "secret", Usage: "Not shown", Hidden: true},
		},
	}
}

func TestPage(t *testing.T) {
	t.Setenv("TOOL_DEPTH", "7") // what is set where the page is written is not a default
	var got bytes.Buffer
	if err := Write(&got, tool()); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`.TH "TOOL" "1" "" "Papyra VERSION" "Papyra"
.SH "NAME"
tool \- try things
.SH "SYNOPSIS"
tool command [flags] [arguments]
.SH "DESCRIPTION"
.nf
It tries.

\&.A line that looks like a request, and a \e between.
\&'Another.
.fi
.SH "OPTIONS"
.TP
\fB\-\-help, \-h\fR
show help
.TP
\fB\-\-version, \-v\fR
print the version
.SH "COMMANDS"
.SS "tool look FILE"
Look at things.
.PP
.nf
Example:
   tool look \-\-deep FILE
.fi
.TP
\fB\-\-depth N, \-d N\fR
how far, N (default: 3) [$TOOL_DEPTH]
.SS "tool look far\-away"
Look beyond.
`, "VERSION", version.Number)
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("the page (-want +got):\n%s", diff)
	}
}

// A tool without commands has its flags by category.
func TestPageOfFlags(t *testing.T) {
	app := &urfave.App{Name: "tool", Usage: "try", UsageText: "tool [flags]", Description: "It tries.", HideVersion: true, Flags: []urfave.Flag{
		&urfave.StringFlag{Name: "store", Category: "Store", Usage: "a `URL`"},
		&urfave.StringFlag{Name: "http", Category: "Health", Usage: "an `ADDRESS`"},
	}}
	var got bytes.Buffer
	if err := Write(&got, app); err != nil {
		t.Fatal(err)
	}
	_, options, _ := strings.Cut(got.String(), `.SH "OPTIONS"`)
	want := `
.TP
\fB\-\-help, \-h\fR
show help
.SS "Health"
.TP
\fB\-\-http ADDRESS\fR
an ADDRESS
.SS "Store"
.TP
\fB\-\-store URL\fR
a URL
`
	if diff := cmp.Diff(want, options); diff != "" {
		t.Errorf("the options (-want +got):\n%s", diff)
	}
}

func TestWriteFails(t *testing.T) {
	if err := Write(full{}, tool()); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }
