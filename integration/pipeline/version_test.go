package pipeline

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Built without make, the programs know their number, and what Go recorded.
func TestVersion(t *testing.T) {
	form := regexp.MustCompile(`^(papyra-\w+) version (\d+\.\d+\.\d+ \((commit [0-9a-f]{12} of [0-9TZ:-]{20}(, with changes)?|module v\S+|commit unknown)\))\n$`)
	said := map[string]bool{}
	for _, program := range []string{"papyra-sink", "papyra-ctl"} {
		out, err := exec.Command(filepath.Join(bin, program), "--version").CombinedOutput()
		parts := form.FindStringSubmatch(string(out))
		if err != nil || parts == nil || parts[1] != program {
			t.Fatalf("%s --version: got %q, %v, want the form %s", program, out, err, form)
		}
		said[parts[2]] = true
	}
	if len(said) != 1 {
		t.Errorf("the programs of one build say different versions: %v", said)
	}
}
