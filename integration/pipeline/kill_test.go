package pipeline

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend"
)

// mostBuffered is from how many events on in its buffer a publisher of these tests
// gets no more: enough for several messages on their way and a queue behind them.
const mostBuffered = 3000

// stream records from several goroutines until stop is called, which returns
// how many there were. It never outruns the publisher's buffer, so that no
// record is dropped.
func stream(p *publisher.Publisher) (stop func() uint64) {
	var n atomic.Int64
	end := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if p.Stats().Events.Buffered > mostBuffered {
					time.Sleep(time.Millisecond)
					continue
				}
				for range 100 {
					record(p, int(n.Add(1)))
				}
			}
		})
	}
	return func() uint64 {
		close(end)
		callers.Wait()
		return uint64(n.Load())
	}
}

// confirmed returns how many records of a run are confirmed.
func confirmed(p *publisher.Publisher) uint64 { return p.Stats().Events.Confirmed }

// grows blocks until the sink has written a megabyte more.
func grows(t *testing.T, path string) {
	t.Helper()
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	before := size()
	testkit.Await(t, "the file to grow", func() bool { return size() > before+1<<20 })
}

// TestKilledSinkMergesNothing kills the sink with SIGKILL in the middle of a
// stream, several times. What stands in the file afterwards are whole records
// and at most one torn fragment for each kill; nothing was merged or changed.
func TestKilledSinkMergesNothing(t *testing.T) {
	kills := times(5, 50)
	dir, url := t.TempDir(), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	args := []string{"--server", url, "--backend", "json:" + path}
	sink := startSink(t, dir, args...)
	p := connect(t, url, publisher.Config{})
	stop := stream(p)
	for range kills {
		grows(t, path)
		sink.kill()
		sink = startSink(t, dir, args...)
	}
	accepted := stop()
	stats := finish(t, p)
	sink.terminate()

	s := load(t, path)
	if len(s.damaged) > kills || !s.whole {
		t.Errorf("%d damaged lines after %d kills, want at most one each", len(s.damaged), kills)
	}
	for _, fragment := range s.damaged {
		if string(fragment[:min(len(fragment), 8)]) != `{"kind":`[:min(len(fragment), 8)] {
			t.Errorf("damaged line is not the beginning of a record: %.100q", fragment)
		}
	}
	// A record is stored once or not at all, and twice only where it was sent
	// again. What a killed sink had taken and not written is missing, and known
	// by its number: the final report says how many there were.
	numbers := s.numbers(p.Run(), papyra.KindEvent)
	if stats.Events.Accepted != accepted || stats.Events.Confirmed != accepted {
		t.Errorf("publisher: %+v, want %d accepted and confirmed", stats.Events, accepted)
	}
	for seq := range numbers {
		if seq < 1 || seq > accepted {
			t.Errorf("record %d was never recorded", seq)
		}
	}
	if last := lastReport[papyra.PublisherReport](t, s, papyra.ReportPublisher); !last.Final || last.Categories["events"].Accepted != accepted {
		t.Errorf("final PublisherReport: %+v, want %d events accepted", last, accepted)
	}
	t.Logf("%d records, %d kills: %d missing, %d torn", accepted, kills, int(accepted)-len(numbers), len(s.damaged))

	// The tools agree: exactly the fragments, and none after recover.
	want := 0
	if len(s.damaged) > 0 {
		want = 2
	}
	ctl(t, want, "scan", "--full", "--backend", "json:"+path)
	ctl(t, 0, "recover", "--mode", "repair", "--backend", "json:"+path)
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
	complete := load(t, path).numbers(p.Run(), papyra.KindEvent)
	if len(complete) != len(numbers) {
		t.Errorf("recover left %d records of %d", len(complete), len(numbers))
	}
}

// The test executable is also a runtime, where a test kills one: it prints the
// run of its publisher, and then, before every few records, how many it has
// recorded.
const publisherVariable = "PAPYRA_PIPELINE_PUBLISHER"

func playPublisher(url string) int {
	p, err := publisher.Connect(url, publisher.Config{System: "orders", Node: "killed"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(p.Run())
	for n := 0; ; n++ {
		for p.Stats().Events.Buffered > mostBuffered {
			time.Sleep(time.Millisecond)
		}
		if n%100 == 0 {
			if _, err := fmt.Println(n); err != nil {
				return 1 // nobody is there any more
			}
		}
		record(p, n)
	}
}

// TestKilledPublisherLeavesAnUnknownTail kills runtimes with SIGKILL in the
// middle of their streams. What of a run had left its process is stored whole,
// in order and without a hole; of what had not, the account says that it is not
// known, unless a report had named it before.
func TestKilledPublisherLeavesAnUnknownTail(t *testing.T) {
	kills := times(3, 50)
	dir, url := t.TempDir(), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	sink := startSink(t, dir, "--server", url, "--backend", "json:"+path)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]uint64{} // by run: so many at least, and at most 100 more
	for range kills {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), publisherVariable+"="+url)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		if !said.Scan() {
			t.Fatalf("the runtime says nothing: %v", said.Err())
		}
		run := said.Text()
		told := make(chan uint64)
		go func() {
			var n uint64
			for said.Scan() {
				n, _ = strconv.ParseUint(said.Text(), 10, 64)
			}
			told <- n
		}()
		grows(t, path)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		recorded[run] = <-told
		_ = cmd.Wait()
	}
	sink.terminate()

	s := load(t, path)
	if len(s.damaged) > 0 || !s.whole {
		t.Errorf("%d damaged lines", len(s.damaged))
	}
	lost := uint64(0)
	for _, c := range []struct {
		at    time.Time
		state account.RunState
	}{
		{time.Now(), account.RunOpen},
		{time.Now().Add(time.Hour), account.RunEnded},
	} {
		backend, err := backend.Open("json:" + path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := account.Read(t.Context(), account.Options{At: c.at}, nil, backend)
		if err := errors.Join(err, backend.Close()); err != nil {
			t.Fatal(err)
		}
		for run, n := range recorded {
			i := slices.IndexFunc(r.Runs, func(r account.Run) bool { return r.Run == run })
			if i < 0 {
				t.Fatalf("the account lacks run %s", run)
			}
			if got := r.Runs[i].State; got != c.state {
				t.Errorf("run %s is %s, want %s", run, got, c.state)
			}
			numbers := s.numbers(run, papyra.KindEvent)
			complete(t, numbers, uint64(len(numbers)))
			got := r.Runs[i].Categories[0]
			known := uint64(len(numbers))
			if got.Reported != nil {
				known = max(known, got.Reported.Accepted)
			}
			if got.Category != papyra.KindEvent.Category() || got.Highest != known || got.Stored != uint64(len(numbers)) ||
				got.Missing+got.Pending != known-got.Stored || got.Duplicates > 0 || known > n+100 {
				t.Errorf("run %s: %+v, want %d of %d stored; the runtime recorded %d to %d", run, got, len(numbers), known, n, n+100)
			}
			if c.state == account.RunEnded {
				lost += n - min(n, known)
			}
		}
	}
	t.Logf("%d kills: about %d events of which nothing is known", kills, lost)
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
}

// TestTerminatedSinkLosesNothing ends the sink with SIGTERM in the middle of a
// stream, several times. Every record is stored exactly once.
func TestTerminatedSinkLosesNothing(t *testing.T) {
	stops := times(4, 40)
	dir, url := t.TempDir(), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	args := []string{"--server", url, "--backend", "json:" + path}
	sink := startSink(t, dir, args...)
	p := connect(t, url, publisher.Config{})
	stop := stream(p)
	for range stops {
		grows(t, path)
		sink.terminate()
		sink = startSink(t, dir, args...)
	}
	accepted := stop()
	finish(t, p)
	sink.terminate()
	s := load(t, path)
	if len(s.damaged) > 0 || !s.whole {
		t.Errorf("%d damaged lines", len(s.damaged))
	}
	complete(t, s.numbers(p.Run(), papyra.KindEvent), accepted)
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
}

// TestSecondSinkIsRefused starts two sinks on one file.
func TestSecondSinkIsRefused(t *testing.T) {
	dir, url := t.TempDir(), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	startSink(t, dir, "--server", url, "--backend", "json:"+path)
	code, text := runSink(t, dir, "--server", url, "--backend", "json:"+path)
	if code != 4 {
		t.Errorf("the second sink exits with %d, want 4: %s", code, text)
	}
	ctl(t, 0, "recover", "--mode", "repair", "--backend", "json:"+path) // the sink that holds it does it
	ctl(t, 0, "scan", "--backend", "json:"+path)
}
