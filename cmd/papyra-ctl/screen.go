package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/terminal"
)

// screen writes for people. What printf is given as an argument is escaped, so
// that no record, file name or error can reach the terminal raw. The first
// failed write is kept, and nothing is written after it.
type screen struct {
	w     *bufio.Writer
	tty   bool
	color bool
	width int // columns; 0 where lines are never cut
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: bufio.NewWriterSize(w, 64<<10)}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.tty = true
		s.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			s.width = width
		} else if width, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && width > 0 {
			s.width = width // a terminal that does not know its size
		}
	}
	return s
}

// printf is fmt.Fprintf with every text among args escaped.
func (s *screen) printf(format string, args ...any) {
	for i, arg := range args {
		switch v := arg.(type) {
		case raw:
			args[i] = string(v)
		case string:
			args[i] = terminal.Escape(v)
		case error:
			args[i] = terminal.Escape(v.Error())
		case fmt.Stringer:
			args[i] = terminal.Escape(v.String())
		case []byte:
			args[i] = terminal.Escape(string(v))
		}
	}
	fmt.Fprintf(s.w, format, args...)
}

// raw is text that is known to be safe: colour codes, or escaped before.
type raw string

// Colours, for the few words that decide.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
	faint  = "2"
)

func (s *screen) paint(color, text string) raw {
	if text = terminal.Escape(text); !s.color || color == "" {
		return raw(text)
	}
	return raw("\x1b[" + color + "m" + text + "\x1b[0m")
}

func (s *screen) flush() error { return s.w.Flush() }

// showBytes is a size that is easy to read: "12 MB".
func showBytes(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

// showCount is a number with its thousands apart: "45,678".
func showCount(n int64) string { return human.Count(n) }

// showUnsigned is showCount of a sequence number or counter.
func showUnsigned(n uint64) string { return human.Count(n) }

// plural is "1 record", "45,678 records".
func plural(n int64, one, many string) string { return human.Plural(n, one, many) }
