package backend

import (
	"os"
	"path/filepath"
	"strings"
)

// Overlap reports whether two URLs name stores that share files or keys, so that
// what is appended to one is seen in the other: the same path under whatever
// spelling, link or scheme, a file of the set of the other, the same keys of the
// same server. Two names of one server are not told apart from two servers, and
// a URL that is wrong overlaps with none.
func Overlap(a, b string) bool {
	pathA, numberedA, filesA := filePath(a)
	pathB, numberedB, filesB := filePath(b)
	if filesA != filesB {
		return false
	}
	if filesA {
		return samePath(pathA, pathB) ||
			numberedA && isMember(pathB, pathA) ||
			numberedB && isMember(pathA, pathB)
	}
	nameA, nameB := canonical(a), canonical(b)
	// Each "memory:" is a store of its own.
	return nameA == nameB && nameA != "" && nameA != "memory:"
}

// canonical returns what the store calls itself, or "" if the URL is wrong.
func canonical(rawURL string) string {
	b, err := Open(rawURL)
	if err != nil {
		return ""
	}
	name := b.URL()
	_ = b.Close() // nothing was connected
	return name
}

// filePath returns the place of a store of files, resolved as far as it exists.
func filePath(rawURL string) (path string, numbered, ok bool) {
	scheme, rest, _ := strings.Cut(rawURL, ":")
	if scheme != "json" && scheme != "rotating" {
		return "", false, false
	}
	rest, _, _ = strings.Cut(rest, "?")
	path = filepath.Clean(unescapePath(rest))
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	return path, scheme == "rotating", true
}

func samePath(a, b string) bool {
	if a == b {
		return true
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// isMember reports whether path is PATH.<n> of the set at set.
func isMember(path, set string) bool {
	digits, ok := strings.CutPrefix(path, set+".")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}
