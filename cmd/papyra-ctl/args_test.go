package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/sink/backend"
)

func TestTextBackends(t *testing.T) {
	got := textBackends([]string{
		"papyra-ctl", "recover", "--backend", "json:r\xff", "-b", "json:\xfe", "--backend=json:a\xff", "-b=json:b\xff",
		`-backend=json:r\xff`, "--quarantine-dir", "q\xff", "--backends", "\xff", "-b",
	})
	want := []string{
		"papyra-ctl", "recover", "--backend", `json:r\xff`, "-b", `json:\xfe`, `--backend=json:a\xff`, `-b=json:b\xff`,
		`-backend=json:r\xff`, "--quarantine-dir", "q\xff", "--backends", "\xff", "-b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// However a name that is not UTF-8 is given, the tool finds the file, moves its
// damage once, and has nothing to do the second time.
func TestNamesThatAreNotUTF8(t *testing.T) {
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		tl := &tool{open: backend.Open, now: time.Now}
		code := cli.Run(tl.app(), textBackends(append([]string{"papyra-ctl"}, args...)), &out, &out)
		return code, out.String()
	}
	for _, form := range []string{"r\xff", `r\xff`} {
		for _, flag := range []string{"-b", "--backend"} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "r\xff"), []byte(`{"kind":"event","system_id":"orders","actor_address":null,"event_type":"x","payload":{},"timestamp":1.7e9}`+"\njunk\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			url := "json:" + dir + "/" + form
			for _, step := range []struct {
				code int
				says string
				args []string
			}{
				{2, `r\\xff`, []string{"scan", flag, url, "--output", "json"}},
				{0, "moved 1", []string{"startup-check", flag, url, "--mode", "recover"}},
				{0, "nothing to recover", []string{"recover", flag, url, "--quarantine-dir", dir + "/q\xff", "--mode", "quarantine"}},
				{0, "clean", []string{"scan", flag, url}},
			} {
				if code, out := run(step.args...); code != step.code || !strings.Contains(out, step.says) {
					t.Errorf("%q: exit %d, want %d and %q:\n%s", step.args, code, step.code, step.says, out)
				}
			}
		}
	}
}
