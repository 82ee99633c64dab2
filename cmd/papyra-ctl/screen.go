package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"

	"github.com/papyra/papyra/internal/terminal"
)

// screen writes for people. printf escapes its arguments, so that no record, file
// name or error reaches the terminal as it is. The first error of a write is kept;
// nothing is written after it.
type screen struct {
	w     *bufio.Writer
	tty   bool
	color bool
	width int // columns of the terminal; 0: lines are never cut
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

// printf is fmt.Fprintf, and escapes every text among args that is not raw.
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

// raw is text that is safe to show: colour codes, or text that was escaped.
type raw string

// Colours of the few words that matter most.
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
