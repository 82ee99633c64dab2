package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/papyra/papyra/sink/backend/redis/redistest"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what must happen: far beyond what the
// slowest machine needs.
const patience = time.Minute

// seedVariable reruns one seed.
const seedVariable = "PAPYRA_CHAOS_SEED"

// bin holds papyra-sink, built with the tests' own race detector setting.
var bin string

func TestMain(m *testing.M) {
	if conf := os.Getenv(brokerVariable); conf != "" {
		os.Exit(playBroker(conf))
	}
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
	args := []string{"build", "-o", dir + "/"}
	if raceEnabled {
		args = append(args, "-race")
		// A program waits a second at its end for reports of other goroutines.
		if err := os.Setenv("GORACE", "atexit_sleep_ms=10 "+os.Getenv("GORACE")); err != nil {
			fmt.Fprintln(os.Stderr, "set GORACE:", err)
			return 1
		}
	}
	args = append(args, "github.com/papyra/papyra/cmd/papyra-sink")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build papyra-sink: %v\n%s", err, out)
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

// sharedRedis starts one Redis for all runs, or returns "" where there is none;
// in CI there must be one.
func sharedRedis(t *testing.T) string {
	if _, err := exec.LookPath("redis-server"); err != nil && os.Getenv("CI") == "" {
		t.Log("redis-server is not installed: no run stores into Redis; apt-get install redis-server")
		return ""
	}
	return redistest.Start(t).Addr()
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
	n := 24
	if os.Getenv("PAPYRA_LONG") != "" {
		n = 1000
	}
	first := rand.Uint64N(1_000_000_000)
	list := make([]uint64, n)
	for i := range list {
		list[i] = first + uint64(i)
	}
	return list
}

// TestChaos lets random faults loose on publishers, broker and sinks, and then
// balances the account of each group to the record.
func TestChaos(t *testing.T) {
	redis := sharedRedis(t)
	for _, seed := range seeds(t) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			p := newPlan(seed, redis != "")
			if again := newPlan(seed, redis != ""); again.String() != p.String() {
				t.Fatalf("one seed, two plans:\n%s%s", p, again)
			}
			defer func() {
				if t.Failed() {
					t.Logf("%sto run it again: %s=%d go test ./integration/chaos -run 'TestChaos$'", p, seedVariable, seed)
				}
			}()
			w := live(t, p, redis)
			for g := range w.workers {
				problems, r := w.audit(g)
				for _, problem := range problems {
					t.Error(problem)
				}
				if r != nil {
					t.Logf("group %s: %+v", r.Group, r.Total)
				}
				for _, worker := range w.workers[g] {
					if worker.plan.store == storeRedis {
						if err := worker.forget(redis); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
}
