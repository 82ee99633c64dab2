// Package version says which Papyra a program was built from.
//
// The number stands in the source, so that a commit has one number however it
// is built: by make, by go build, by go install, from an archive without git.
// The commit comes from the first of these that knows it:
//
//	make      writes commit and date into the program (-ldflags -X)
//	go build  records them itself in a clone of the repository (-buildvcs)
//	go install module@version  records only the module's version
package version

import (
	"runtime/debug"
	"strings"
)

// Number is the semantic version of this source. A release changes it together
// with the CHANGELOG, and its tag is v and this number.
const Number = "0.1.0"

// module is the path of the module that [Number] belongs to.
const module = "github.com/papyra/papyra"

// dirtyMark ends a stamped commit when tracked files differed from it.
const dirtyMark = "-dirty"

// make sets these: the whole hash, with -dirty behind it where files were
// changed, and the commit's date in UTC, as 2026-11-26T16:49:08Z.
var commit, date string

// Info is what is known of a build. What is not known is empty.
type Info struct {
	Number string // always [Number]
	Commit string // the whole hash
	Date   string // of the commit, RFC 3339
	Dirty  bool   // files differed from the commit
	Module string // the module's version, where Commit is not known
}

// Get returns what is known of the running program.
func Get() Info {
	build, _ := debug.ReadBuildInfo()
	return get(commit, date, build)
}

func get(commit, date string, build *debug.BuildInfo) Info {
	if commit != "" {
		hash, dirty := strings.CutSuffix(commit, dirtyMark)
		return Info{Number: Number, Commit: hash, Date: date, Dirty: dirty}
	}
	i := Info{Number: Number}
	// The commit of a program that only uses Papyra is not Papyra's.
	if build == nil || build.Main.Path != module {
		return i
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = s.Value
		case "vcs.time":
			i.Date = s.Value
		case "vcs.modified":
			i.Dirty = s.Value == "true"
		}
	}
	if i.Commit == "" && build.Main.Version != "(devel)" {
		i.Module = build.Main.Version
	}
	return i
}

// String returns the version as people read it:
//
//	0.1.0 (commit 2a3924758f0c of 2026-11-26T16:49:08Z)
//	0.1.0 (commit 2a3924758f0c of 2026-11-26T16:49:08Z, with changes)
//	0.1.0 (module v0.1.0)
//	0.1.0 (commit unknown)
func (i Info) String() string {
	var b strings.Builder
	b.WriteString(i.Number)
	switch {
	case i.Commit != "":
		b.WriteString(" (commit " + short(i.Commit))
		if i.Date != "" {
			b.WriteString(" of " + i.Date)
		}
		if i.Dirty {
			b.WriteString(", with changes")
		}
		b.WriteString(")")
	case i.Module != "":
		b.WriteString(" (module " + i.Module + ")")
	default:
		b.WriteString(" (commit unknown)")
	}
	return b.String()
}

// Label returns the version as one word, for logs and metrics. It is a semantic
// version with the commit as its build: 0.1.0+2a3924758f0c, with .dirty behind it
// where files were changed, or 0.1.0 alone.
func (i Info) Label() string {
	if i.Commit == "" {
		return i.Number
	}
	label := i.Number + "+" + short(i.Commit)
	if i.Dirty {
		label += ".dirty"
	}
	return label
}

// short cuts a hash to a length that names a commit of a large repository.
func short(hash string) string { return hash[:min(len(hash), 12)] }
