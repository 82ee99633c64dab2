package pipeline

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
)

// bin holds the programs, built once with the tests' own race detector setting.
var bin string

func TestMain(m *testing.M) {
	natstest.Main()
	if url := os.Getenv(publisherVariable); url != "" {
		os.Exit(playPublisher(url))
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "papyra-pipeline-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the programs:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	if err := testkit.Build(dir, "github.com/papyra/papyra/cmd/papyra-sink", "github.com/papyra/papyra/cmd/papyra-ctl"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "leak:", err)
		return 1
	}
	return 0
}

// times is how often something is broken.
func times(short, long int) int {
	if testkit.Long() {
		return long
	}
	return short
}

// broker starts a broker in the test's own process.
func broker(t *testing.T) string {
	t.Helper()
	return natstest.Embedded(t, nil).ClientURL()
}

// client is a stranger: a plain NATS connection.
func client(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// worker is a papyra-sink process.
type worker struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended, with err set
	err  error

	mu  sync.Mutex
	log strings.Builder
}

// startSink starts papyra-sink in a directory and waits until it receives.
func startSink(t *testing.T, dir string, args ...string) *worker {
	t.Helper()
	w := &worker{t: t, cmd: exec.Command(filepath.Join(bin, "papyra-sink"), args...), done: make(chan struct{})}
	w.cmd.Dir = dir
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	receiving := make(chan struct{})
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.done)
		told := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			w.mu.Lock()
			fmt.Fprintln(&w.log, lines.Text())
			w.mu.Unlock()
			if !told && strings.Contains(lines.Text(), `receiving`) {
				told = true
				close(receiving)
			}
		}
		w.err = w.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-w.done
		if t.Failed() {
			t.Logf("log of papyra-sink %s:\n%s", strings.Join(args, " "), w.text())
		}
	})
	select {
	case <-receiving:
	case <-w.done:
		t.Fatalf("papyra-sink ended at once: %v", w.err)
	case <-time.After(testkit.Patience):
		t.Fatal("papyra-sink is not ready")
	}
	return w
}

func (w *worker) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// terminate sends SIGTERM and expects exit 0.
func (w *worker) terminate() {
	w.t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatalf("SIGTERM: %v", err)
	}
	w.wait()
	if w.err != nil {
		w.t.Fatalf("papyra-sink after SIGTERM: %v", w.err)
	}
}

// kill sends SIGKILL.
func (w *worker) kill() {
	w.t.Helper()
	if err := w.cmd.Process.Kill(); err != nil {
		w.t.Fatalf("SIGKILL: %v", err)
	}
	w.wait()
}

func (w *worker) wait() {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(testkit.Patience):
		w.t.Fatal("papyra-sink does not end")
	}
}

// ctl runs papyra-ctl and returns its standard output; the exit code must be the
// wanted one.
func ctl(t *testing.T, want int, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "papyra-ctl"), args...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != want {
		t.Fatalf("papyra-ctl %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, problems.String())
	}
	return out
}

// seconds is for messages.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) + " s" }

// runSink runs papyra-sink to its end.
func runSink(t *testing.T, dir string, args ...string) (code int, output string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "papyra-sink"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}
