package version

import (
	"regexp"
	"runtime/debug"
	"testing"
)

const (
	hash = "2a3924758f0c6c4be3a1d6f9a9b0c1d2e3f40516"
	at   = "2026-11-26T16:49:08Z"
)

// built is what the Go command records: the main module's version and settings.
func built(path, version string, settings ...string) *debug.BuildInfo {
	b := &debug.BuildInfo{Main: debug.Module{Path: path, Version: version}}
	for i := 0; i < len(settings); i += 2 {
		b.Settings = append(b.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
	}
	return b
}

func TestForms(t *testing.T) {
	clone := func(modified string) *debug.BuildInfo {
		return built(module, "v0.0.0-20261126164908-2a3924758f0c", "vcs", "git", "vcs.revision", hash, "vcs.time", at, "vcs.modified", modified)
	}
	for _, tt := range []struct {
		name         string
		commit, date string
		build        *debug.BuildInfo
		text, label  string
	}{
		{"make", hash, at, built(module, "(devel)"),
			"N (commit 2a3924758f0c of 2026-11-26T16:49:08Z)", "N+2a3924758f0c"},
		{"make with changes", hash + "-dirty", at, built(module, "(devel)"),
			"N (commit 2a3924758f0c of 2026-11-26T16:49:08Z, with changes)", "N+2a3924758f0c.dirty"},
		{"make wins over go build", hash, at, built(module, "v9.9.9", "vcs.revision", "ffff", "vcs.modified", "true"),
			"N (commit 2a3924758f0c of 2026-11-26T16:49:08Z)", "N+2a3924758f0c"},
		{"make without a date", hash, "", nil,
			"N (commit 2a3924758f0c)", "N+2a3924758f0c"},
		{"go build in a clone", "", "", clone("false"),
			"N (commit 2a3924758f0c of 2026-11-26T16:49:08Z)", "N+2a3924758f0c"},
		{"go build with changes", "", "", clone("true"),
			"N (commit 2a3924758f0c of 2026-11-26T16:49:08Z, with changes)", "N+2a3924758f0c.dirty"},
		{"go install of a tag", "", "", built(module, "v0.1.0"),
			"N (module v0.1.0)", "N"},
		{"go install of a commit", "", "", built(module, "v0.1.1-0.20261126164908-2a3924758f0c"),
			"N (module v0.1.1-0.20261126164908-2a3924758f0c)", "N"},
		{"go build without git", "", "", built(module, "(devel)"),
			"N (commit unknown)", "N"},
		{"a short hash", "", "", built(module, "(devel)", "vcs.revision", "2a39"),
			"N (commit 2a39)", "N+2a39"},
		{"a program that uses Papyra", "", "", built("example.com/own", "v7.0.0", "vcs.revision", hash, "vcs.time", at),
			"N (commit unknown)", "N"},
		{"a test", "", "", built("", ""),
			"N (commit unknown)", "N"},
		{"no record of the build", "", "", nil,
			"N (commit unknown)", "N"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := get(tt.commit, tt.date, tt.build)
			if i.Number != Number {
				t.Errorf("number: got %q, want %q", i.Number, Number)
			}
			i.Number = "N"
			if got := i.String(); got != tt.text {
				t.Errorf("text: got %q, want %q", got, tt.text)
			}
			if got := i.Label(); got != tt.label {
				t.Errorf("label: got %q, want %q", got, tt.label)
			}
		})
	}
}

// The services framework of NATS refuses a version that is not a semantic one.
func TestSemantic(t *testing.T) {
	semantic := regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	for _, v := range []string{Number, get(hash, at, nil).Label(), get(hash+"-dirty", at, nil).Label()} {
		if !semantic.MatchString(v) {
			t.Errorf("%q is not a semantic version", v)
		}
	}
}

func TestGet(t *testing.T) {
	if i := Get(); i.Number != Number {
		t.Errorf("got %+v, want the number %q", i, Number)
	}
}
