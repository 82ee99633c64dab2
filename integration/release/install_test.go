package release

import (
	"debug/buildinfo"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra/internal/version"
)

const (
	commit = "2a3924758f0c6c4be3a1d6f9a9b0c1d2e3f40516"
	date   = "2026-11-26T16:49:08Z"
)

func TestInstall(t *testing.T) {
	root := install(t)

	got := map[string]fs.FileMode{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		got[strings.TrimPrefix(path, root+"/")] = info.Mode()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{
		"usr/bin/papyra-ctl":                               0o755,
		"usr/bin/papyra-sink":                              0o755,
		"usr/share/man/man1/papyra-ctl.1":                  0o644,
		"usr/share/man/man1/papyra-sink.1":                 0o644,
		"usr/share/bash-completion/completions/papyra-ctl": 0o644,
		"usr/share/zsh/site-functions/_papyra-ctl":         0o644,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("installed files (-want +got):\n%s", diff)
	}

	t.Run("version", func(t *testing.T) {
		for _, program := range []string{"papyra-ctl", "papyra-sink"} {
			out, err := exec.Command(filepath.Join(root, "usr/bin", program), "--version").CombinedOutput()
			want := program + " version " + version.Number + " (commit 2a3924758f0c of " + date + ")\n"
			if err != nil || string(out) != want {
				t.Errorf("got %q, %v, want %q", out, err, want)
			}
		}
	})

	// A program that is small and starts at once holds only what it needs.
	t.Run("modules", func(t *testing.T) {
		writers := []string{"github.com/cpuguy83/go-md2man/v2", "github.com/russross/blackfriday/v2"}
		for program, without := range map[string][]string{
			"papyra-ctl":  append([]string{"github.com/nats-io/nats-server/v2", "github.com/prometheus/client_golang"}, writers...),
			"papyra-sink": writers,
		} {
			build, err := buildinfo.ReadFile(filepath.Join(root, "usr/bin", program))
			if err != nil {
				t.Fatal(err)
			}
			if len(build.Deps) == 0 {
				t.Errorf("%s names no modules", program)
			}
			for _, m := range build.Deps {
				for _, path := range without {
					if m.Path == path {
						t.Errorf("%s holds %s", program, path)
					}
				}
			}
		}
	})

	t.Run("pages", func(t *testing.T) {
		for program, words := range map[string][]string{
			"papyra-ctl":  {`papyra\-ctl inspect dead\-letters`, `\fB\-\-dry\-run\fR`, "Exit codes", "[$PAPYRA_BACKEND]", "doctor"},
			"papyra-sink": {`\fB\-\-stop\-timeout DURATION\fR`, "Exit codes", "[$PAPYRA_BACKEND]", "Embedded NATS server"},
		} {
			page := read(t, root, "usr/share/man/man1/"+program+".1")
			if !strings.HasPrefix(page, `.TH "`+strings.ToUpper(strings.ReplaceAll(program, "-", `\-`))+`" "1"`) {
				t.Errorf("%s.1 begins with %.40q", program, page)
			}
			for _, w := range words {
				if !strings.Contains(page, w) {
					t.Errorf("%s.1 does not say %q", program, w)
				}
			}
		}
	})

	t.Run("completion", func(t *testing.T) {
		for file, word := range map[string]string{
			"bash-completion/completions/papyra-ctl": "complete -o default -F _papyra_ctl papyra-ctl",
			"zsh/site-functions/_papyra-ctl":         "#compdef papyra-ctl",
		} {
			if script := read(t, root, "usr/share/"+file); !strings.Contains(script, word) {
				t.Errorf("%s does not say %q:\n%s", file, word, script)
			}
		}
	})
}

// install runs make install into a folder of its own, which it returns.
func install(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("make is missing")
		}
		t.Skip("make is missing: nothing is installed")
	}
	root := t.TempDir()
	cmd := exec.Command("make", "install", "DESTDIR="+root, "PREFIX=/usr", "BIN="+t.TempDir(), "COMMIT="+commit, "DATE="+date)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "MAKEFLAGS=") // not those of a make that runs the tests
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	return root
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
