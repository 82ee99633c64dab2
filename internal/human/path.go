package human

import (
	"errors"
	"strings"
)

// CheckPath refuses a path that was surely meant to be another: one that begins
// with "~", which only a shell replaces, or that begins or ends with a space or a
// line end, which a file of settings may leave there. A file of such a name can
// be given as "./~…"; one with a space or a line end at its end cannot.
func CheckPath(path string) error {
	switch {
	case strings.TrimSpace(path) != path:
		return errors.New("it begins or ends with a space or a line end: remove it")
	case strings.HasPrefix(path, "~"):
		return errors.New("only a shell replaces ~: write the directory, or ./~ for a file of that name")
	}
	return nil
}
