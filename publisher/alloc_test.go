package publisher

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Typed records cost no allocation, whether the broker takes them or not. They are
// counted in a program without the race detector, which allocates on its own.
func TestTypedRecordsAllocateNothing(t *testing.T) {
	t.Parallel()
	s := embeddedFor(t)
	discard(t, s.ClientURL())
	program := filepath.Join(t.TempDir(), "allocs")
	if out, err := exec.Command("go", "build", "-race=false", "-o", program, "../integration/allocs").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if out, err := exec.Command(program, s.ClientURL(), "nats://127.0.0.1:1").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
