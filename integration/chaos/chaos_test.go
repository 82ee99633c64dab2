package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
)

// seedVariable reruns one seed.
const seedVariable = "PAPYRA_CHAOS_SEED"

// bin holds papyra-sink, built with the tests' own race detector setting.
var bin string

func TestMain(m *testing.M) {
	natstest.Main()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "papyra-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the programs:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	if err := testkit.Build(dir, "github.com/papyra/papyra/cmd/papyra-sink"); err != nil {
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

// here returns what this machine has. In CI there must be a Redis.
func here(t *testing.T) (has host) {
	_, err := exec.LookPath("redis-server")
	if has.redis = err == nil || os.Getenv("CI") != ""; !has.redis {
		t.Log("redis-server is not installed: no run stores into Redis; apt-get install redis-server")
	}
	if has.root = os.Geteuid() == 0; !has.root {
		t.Log("not root: no run fills a disk")
	}
	return has
}

// seeds returns the seeds of this test: the one that is asked for, or new ones.
func seeds(t *testing.T) []uint64 {
	if text := os.Getenv(seedVariable); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
		return []uint64{seed}
	}
	n := 32 // at least as many as there are themes
	if testkit.Long() {
		n = 1000
	}
	first := rand.Uint64N(1_000_000_000)
	list := make([]uint64, n)
	for i := range list {
		list[i] = first + uint64(i)
	}
	return list
}

// TestChaos lets random faults loose on publishers, broker, stores and sinks, and
// then balances the account of each group to the record. With -v it prints what
// all runs tried.
func TestChaos(t *testing.T) {
	has, count, list := here(t), newTally(), seeds(t)
	t.Run("runs", func(t *testing.T) {
		for _, seed := range list {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				run(t, seed, has, count)
			})
		}
	})
	t.Logf("%d seeds from %d on:\n%s", len(list), list[0], count)
	if len(list) < len(themes()) || t.Failed() {
		return
	}
	if list := count.lacks(has); len(list) > 0 {
		t.Errorf("no run tried %q, or nothing came of it", list)
	}
}

func run(t *testing.T, seed uint64, has host, count *tally) {
	p := newPlan(seed, has)
	if again := newPlan(seed, has); again.String() != p.String() {
		t.Fatalf("one seed, two plans:\n%s%s", p, again)
	}
	defer func() {
		if t.Failed() {
			t.Logf("%sto run it again: %s=%d go test ./integration/chaos -run 'TestChaos$'", p, seedVariable, seed)
		}
	}()
	w := live(t, p, count)
	defer w.release()
	count.add("runs", 1)
	count.publishers(w.sources())
	for g := range w.workers {
		problems, r := w.audit(g)
		for _, problem := range problems {
			t.Error(problem)
		}
		if r != nil {
			count.group(r)
		}
		for _, worker := range w.workers[g] {
			if worker.copied != "" {
				if err := worker.sameAsCopy(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
