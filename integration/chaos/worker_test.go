package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
)

// worker is a sink of a group with its store: a goroutine of the test or a
// papyra-sink process, which may end and start again.
type worker struct {
	t      *testing.T
	plan   workerPlan
	group  *groupPlan
	broker string // its URL
	killed func() // is told
	url    string // of the store
	dir    string // of a store of files
	prefix string // of a store in Redis
	store  sink.Backend

	mu   sync.Mutex
	log  strings.Builder // of the process
	end  func() error    // stops it gracefully and waits; nil while it is down
	kill func()
}

func newWorker(t *testing.T, p *plan, group, index int, broker, redis string) *worker {
	w := &worker{t: t, group: &p.groups[group], plan: p.groups[group].workers[index], broker: broker}
	switch w.plan.store {
	case storeMemory:
		w.url = "memory:"
	case storeRedis:
		w.prefix = fmt.Sprintf("chaos-%d-%d-%d", p.seed, group, index)
		w.url = "redis://" + redis + "/0?prefix=" + url.QueryEscape(w.prefix)
	default:
		w.dir = t.TempDir()
		w.url = string(w.plan.store) + ":" + filepath.Join(w.dir, "records.ndjson")
		if w.plan.store == storeRotating {
			w.url += fmt.Sprintf("?max_bytes=%dKiB&max_files=%d", w.plan.size, w.plan.files)
		}
	}
	store, err := backend.Open(w.url)
	if err != nil {
		t.Fatal(err)
	}
	w.store = store
	t.Cleanup(func() {
		w.mu.Lock()
		end := w.kill
		w.mu.Unlock()
		if end != nil {
			end()
		}
		if err := store.Close(); err != nil {
			t.Errorf("close %s: %v", w.url, err)
		}
		if t.Failed() && w.plan.process {
			t.Logf("log of %s:\n%s", w.name(), w.text())
		}
	})
	return w
}

// name is what the broker calls it.
func (w *worker) name() string { return w.group.name + "/" + w.plan.name }

// subscriptions is how many it has when it receives.
func (w *worker) subscriptions() int {
	if len(w.group.kinds) == 0 {
		return 1
	}
	return len(w.group.kinds) + 1 // the reports
}

// start runs the sink until it receives. The broker may be away: it tries again.
func (w *worker) start() {
	for deadline := time.Now().Add(patience); ; {
		err := w.run()
		if err == nil {
			return
		}
		if !errors.Is(err, papyra.ErrUnavailable) || time.Now().After(deadline) {
			w.t.Errorf("start %s: %v", w.name(), err)
			return
		}
	}
}

func (w *worker) run() error {
	if w.plan.process {
		return w.runProcess()
	}
	s, err := sink.New(sink.Config{
		URL: w.broker, Group: w.group.name, Instance: w.plan.name, Kinds: w.group.kinds,
		ReportEvery: 50 * time.Millisecond, SyncEvery: 100 * time.Millisecond,
	}, w.store)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var result error
	go func() {
		result = s.Run(ctx)
		close(ended)
	}()
	end := func() error {
		cancel()
		<-ended
		return result
	}
	select {
	case <-s.Receiving():
		w.running(end, func() { _ = end() })
		return nil
	case <-ended:
		return end()
	}
}

func (w *worker) running(end func() error, kill func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end, w.kill = end, kill
}

// unavailable is the exit code of a sink that found no broker.
const unavailable = 69

func (w *worker) runProcess() error {
	args := []string{"--server", w.broker, "--group", w.group.name, "--instance", w.plan.name, "--backend", w.url}
	for _, kind := range w.group.kinds {
		args = append(args, "--category", kind.Category())
	}
	cmd := exec.Command(filepath.Join(bin, "papyra-sink"), args...)
	cmd.Dir = w.t.TempDir()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	receiving, ended := make(chan struct{}), make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		told := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			w.mu.Lock()
			fmt.Fprintln(&w.log, lines.Text())
			w.mu.Unlock()
			if !told && strings.Contains(lines.Text(), "receiving") {
				told = true
				close(receiving)
			}
		}
		result = cmd.Wait()
		var exit *exec.ExitError
		if errors.As(result, &exit) && exit.ExitCode() == unavailable {
			result = papyra.ErrUnavailable
		}
	}()
	select {
	case <-receiving:
		w.running(
			func() error {
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					return err
				}
				<-ended
				return result
			},
			func() {
				_ = cmd.Process.Kill()
				<-ended
			})
		return nil
	case <-ended:
		if result == nil {
			result = errors.New("papyra-sink ended without a reason")
		}
		return result
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
		return errors.New("papyra-sink is not ready")
	}
}

func (w *worker) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// stop ends the sink gracefully: everything that it received is stored.
func (w *worker) stop() {
	w.mu.Lock()
	end := w.end
	w.end, w.kill = nil, nil
	w.mu.Unlock()
	if end == nil {
		return
	}
	if err := end(); err != nil {
		w.t.Errorf("stop %s: %v", w.name(), err)
	}
}

// harm does a fault, to its end.
func (w *worker) harm(f fault) {
	switch f.kind {
	case sinkRestart:
		w.stop()
	case sinkKill:
		w.mu.Lock()
		kill := w.kill
		w.end, w.kill = nil, nil
		w.mu.Unlock()
		kill()
		w.killed()
	}
	time.Sleep(f.long)
	w.start()
}
