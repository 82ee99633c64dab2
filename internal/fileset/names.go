package fileset

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
)

// names makes and knows the names of everything that belongs to the store PATH =
// DIR/NAME. What is no file of the set does not begin with NAME: the Python
// implementation would take it for a file of its own.
type names struct {
	dir, name string
	numbered  bool // the set has NAME.<n> too
}

// longestSuffix is what the longest of our names adds to NAME.
const longestSuffix = len(".") + len(".dropping-") + hexDigits

// newNames returns the names of the store at path. Its error wraps
// papyra.ErrConfig.
func newNames(path string, numbered bool) (names, error) {
	switch {
	case path == "":
		return names{}, fmt.Errorf("the path is empty: name the file: %w", papyra.ErrConfig)
	case strings.IndexByte(path, 0) >= 0:
		return names{}, fmt.Errorf("path %q has a NUL byte: %w", path, papyra.ErrConfig)
	case strings.HasSuffix(path, "/"):
		return names{}, fmt.Errorf("path %q ends in a slash: name the file, not its directory: %w", path, papyra.ErrConfig)
	}
	path = filepath.Clean(path)
	n := names{dir: filepath.Dir(path), name: filepath.Base(path), numbered: numbered}
	if n.name == "." || n.name == ".." {
		return names{}, fmt.Errorf("path %q is a directory: name a file in it: %w", path, papyra.ErrConfig)
	}
	if len(n.name)+longestSuffix > unix.NAME_MAX {
		return names{}, fmt.Errorf("file name %q has more than %d bytes: %w", n.name, unix.NAME_MAX-longestSuffix, papyra.ErrConfig)
	}
	return n, nil
}

func (n names) path() string                  { return filepath.Join(n.dir, n.name) }
func (n names) member(number int) string      { return n.path() + "." + strconv.Itoa(number) }
func (n names) beside(name string) string     { return filepath.Join(n.dir, name) }
func (n names) lock() string                  { return n.beside("." + n.name + ".lock") }
func (n names) saved() string                 { return n.beside("." + n.name + ".saved") }
func (n names) reserve() string               { return n.beside("." + n.name + ".reserve") }
func (n names) rejected() string              { return n.beside("." + n.name + ".rejected") }
func (n names) temporary() string             { return n.beside("." + n.name + ".tmp-" + randomHex()) }
func (n names) dropping(digits string) string { return n.beside("." + n.name + ".dropping-" + digits) }
func (n names) isTemporary(base string) bool  { return hexBehind(base, "."+n.name+".tmp-") }
func (n names) isDropping(base string) bool   { return hexBehind(base, "."+n.name+".dropping-") }

// isForeignRest reports whether base is a file that an interrupted act of the
// Python implementation leaves beside a member of this set. NAME.quarantine.<ms> is
// none: that is the result of a finished act.
func (n names) isForeignRest(base string) bool {
	rest, ok := strings.CutPrefix(base, n.name+".")
	if !ok {
		return false
	}
	if digits, tail, ok := strings.Cut(rest, "."); ok && n.numbered && isDigits(digits) {
		rest = tail
	}
	return rest == "compact.tmp" || rest == "recovered.tmp"
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// numberOf returns n for a file name NAME.<n>, if it is written as a rotation writes
// it: without leading zeros.
func (n names) numberOf(base string) (int, bool) {
	digits, ok := strings.CutPrefix(base, n.name+".")
	if !ok || digits == "" || digits[0] == '0' {
		return 0, false
	}
	number, err := strconv.Atoi(digits)
	return number, err == nil && number > 0 && strconv.Itoa(number) == digits
}

// hexBehind reports whether base is the prefix and hexDigits digits behind it.
func hexBehind(base, prefix string) bool {
	digits, ok := strings.CutPrefix(base, prefix)
	if !ok || len(digits) != hexDigits {
		return false
	}
	for i := range len(digits) {
		if d := digits[i]; (d < '0' || d > '9') && (d < 'a' || d > 'f') {
			return false
		}
	}
	return true
}

// hexDigits is how many digits the <hex> of a name has.
const hexDigits = 16

func randomHex() string {
	var random [hexDigits / 2]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}
