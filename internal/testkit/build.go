package testkit

import (
	"fmt"
	"os"
	"os/exec"
)

// Build compiles programs of this module into dir. With [Race] they have the race
// detector as well: it then looks at whole processes, and what was compiled for
// the tests is not compiled a second time without it.
func Build(dir string, packages ...string) error {
	args := []string{"build", "-o", dir + "/"}
	if Race {
		args = append(args, "-race")
		if err := EndAtOnce(); err != nil {
			return err
		}
	}
	if out, err := exec.Command("go", append(args, packages...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", packages, err, out)
	}
	return nil
}

// EndAtOnce lets the programs that this one starts end without waiting: under the
// race detector each waits for a second, for reports of its other goroutines.
func EndAtOnce() error {
	if err := os.Setenv("GORACE", "atexit_sleep_ms=10 "+os.Getenv("GORACE")); err != nil {
		return fmt.Errorf("set GORACE: %w", err)
	}
	return nil
}
