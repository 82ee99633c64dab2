package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/backend/memory"
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
	redis  *redisServer
	memory *memory.Memory
	gate   gate
	// stopTimeout bounds the next graceful stop of a goroutine; 0 is the default.
	stopTimeout time.Duration
	copied      string // where copies of the store go
	done        func(faultKind)

	// storm makes every publisher record a flood.
	storm *atomic.Bool

	mu   sync.Mutex
	log  strings.Builder // of the process
	end  func() error    // stops it gracefully and waits; nil while it is down
	kill func()
	pid  int
	now  *sink.Sink   // of a goroutine
	past []sink.Stats // of the goroutines before
}

// smallBuffer is the least that a sink takes.
const smallBuffer = 4 * papyra.MaxLine

// hungStop is how long a stop may take where its store will hang.
const hungStop = 3 * time.Second

func newWorker(world *world, group, index int) *worker {
	t, p := world.t, world.plan
	w := &worker{
		t: t, group: &p.groups[group], plan: p.groups[group].workers[index], broker: world.broker.url(),
		redis: world.redis, done: world.did, storm: &world.storm,
	}
	var store sink.Backend
	switch w.plan.store {
	case storeMemory:
		w.url = "memory:"
		w.memory = memory.New(nil)
		store = memoryBackend{w.memory.Open()}
	case storeRedis:
		w.prefix = fmt.Sprintf("chaos-%d-%d", group, index)
		w.url = w.redis.url(w.prefix)
	default:
		if w.dir = t.TempDir(); w.plan.small {
			w.dir = newDisk(t)
		}
		w.url = string(w.plan.store) + ":" + filepath.Join(w.dir, "records.ndjson")
		if w.plan.store == storeRotating {
			w.url += fmt.Sprintf("?max_bytes=%dKiB&max_files=%d", w.plan.size, w.plan.files)
		}
	}
	if store == nil {
		var err error
		if store, err = backend.Open(w.url); err != nil {
			t.Fatal(err)
		}
	}
	w.store = store
	t.Cleanup(func() {
		w.mu.Lock()
		end := w.kill
		w.mu.Unlock()
		if end != nil {
			end()
		}
		if err := w.store.Close(); err != nil {
			t.Errorf("close %s: %v", w.url, err)
		}
		w.store, w.memory = nil, nil // a test keeps its cleanups, and what they hold, to its parent's end
		if t.Failed() && w.plan.process {
			t.Logf("log of %s:\n%s", w.name(), w.text())
		}
		for i := range w.past {
			if t.Failed() {
				t.Logf("sink %d of %s ended with %+v", i, w.name(), w.past[i])
			}
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

// start runs the sink until it receives. The broker or the store may be away: it
// tries again.
func (w *worker) start() {
	for deadline := time.Now().Add(testkit.Patience); ; {
		err := w.run()
		if err == nil {
			return
		}
		if !errors.Is(err, papyra.ErrUnavailable) && !errors.Is(err, papyra.ErrBusy) || time.Now().After(deadline) {
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
		ReportEvery: 50 * time.Millisecond, SyncEvery: 100 * time.Millisecond, BufferBytes: smallBuffer,
		StopTimeout: w.stopTimeout,
	}, gated{w.store, &w.gate})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var result error
	go func() {
		result = s.Run(ctx)
		w.mu.Lock()
		w.past = append(w.past, s.Stats())
		w.mu.Unlock()
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
		w.mu.Lock()
		w.now = s
		w.mu.Unlock()
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

// The exit codes of a sink that found no broker or store, and of one whose store
// is held.
const unavailable, busy = 69, 4

func (w *worker) runProcess() error {
	// It may take as long as a slow disk needs for what a flood left in its buffer.
	args := []string{"--server", w.broker, "--group", w.group.name, "--instance", w.plan.name, "--backend", w.url, "--stop-timeout", "3m"}
	for _, kind := range w.group.kinds {
		args = append(args, "--category", kind.Category())
	}
	cmd := exec.Command(filepath.Join(bin, "papyra-sink"), args...)
	cmd.Dir = w.t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive the test
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
		if errors.As(result, &exit) {
			switch exit.ExitCode() {
			case unavailable:
				result = papyra.ErrUnavailable
			case busy:
				result = papyra.ErrBusy
			}
		}
	}()
	select {
	case <-receiving:
		w.mu.Lock()
		w.pid = cmd.Process.Pid
		w.mu.Unlock()
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
	case <-time.After(testkit.Patience):
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
	if err := w.ended(); err != nil {
		w.t.Errorf("stop %s: %v", w.name(), err)
	}
}

func (w *worker) ended() error {
	w.mu.Lock()
	end := w.end
	w.end, w.kill = nil, nil
	w.mu.Unlock()
	if end == nil {
		return nil
	}
	return end()
}

// harm does a fault, to its end.
func (w *worker) harm(f fault) {
	switch f.kind {
	case sinkRestart:
		w.stop()
		time.Sleep(f.long)
		w.start()
	case sinkKill:
		w.mu.Lock()
		kill := w.kill
		w.end, w.kill = nil, nil
		w.mu.Unlock()
		if kill != nil {
			kill()
		}
		w.killed()
		time.Sleep(f.long)
		w.start()
	case sinkStall:
		w.gate.shut(false)
		time.Sleep(f.long)
		w.gate.unlock()
	case sinkFull:
		w.overrun()
	case sinkGiveUp:
		w.hang(f.long)
	case diskFull:
		w.fillDisk(f.long)
	case diskLimit:
		w.limitFiles(f.long)
	case actCompact:
		w.compact()
	case actRecover:
		w.recover(f.long)
	case actCopy:
		w.copy()
	}
	w.done(f.kind)
}

// stats are those of the sink that runs as a goroutine.
func (w *worker) stats() sink.Stats {
	w.mu.Lock()
	now := w.now
	w.mu.Unlock()
	return now.Stats()
}

// overrun keeps the store still until the sink has dropped records.
func (w *worker) overrun() {
	w.gate.shut(false)
	w.storm.Store(true)
	await(w.t, "a sink to drop what its buffer cannot hold", func() bool { return w.stats().Dropped[papyra.DropSinkFull] > 0 })
	w.storm.Store(false)
	w.gate.unlock()
}

// hang stops the sink while its store does not answer, and with records in its
// buffer. The store is back for the last report.
func (w *worker) hang(long time.Duration) {
	w.stop()
	w.stopTimeout = hungStop
	w.start()
	w.gate.shut(true)
	await(w.t, "records in the buffer of a sink", func() bool { return w.stats().Pending > 0 })
	if err := w.ended(); !errors.Is(err, sink.ErrNotStored) {
		w.t.Errorf("stop %s before a store that hangs: %v, want %v", w.name(), err, sink.ErrNotStored)
	}
	w.gate.unlock()
	w.stopTimeout = 0
	time.Sleep(long)
	w.start()
}
