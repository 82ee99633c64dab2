package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/admin"
	"github.com/papyra/papyra/sink/backend"
)

// doubled writes a store of n events, each of them twice, and returns its path.
func doubled(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(testkit.FastDir(t), "records.ndjson")
	events := testrecord.New(1).Events(n)
	text := append(bytes.Join(append(events, events...), []byte("\n")), '\n')
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// reportsOf returns the payloads of the reports of a name in a store, the oldest first.
func reportsOf[T any](t *testing.T, url, name string) []T {
	t.Helper()
	store, err := backend.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	list, err := testrecord.Reports[T](t.Context(), store, name)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// startCtl starts papyra-ctl and returns when the sink says that it was asked for an
// act.
func startCtl(t *testing.T, w *worker, args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	t.Helper()
	cmd, out = exec.Command(filepath.Join(bin, "papyra-ctl"), args...), &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, "the request", func() bool { return strings.Contains(w.text(), "an act on the store was asked for") })
	return cmd, out
}

// doors returns the flags by which a sink is asked through each door.
func doors(path, server string) map[string][]string {
	return map[string][]string{
		"socket": {"--backend", "json:" + path},
		"nats":   {"--server", server, "--group", "archive", "--instance", "eu-1"},
	}
}

// An act comes to its end though who asked for it was killed.
func TestActWhenWhoAskedIsKilled(t *testing.T) {
	t.Parallel()
	for name := range doors("", "") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, server, w := startDoubled(t, 20_000)
			cmd, _ := startCtl(t, w, append([]string{"compact", "--dedupe"}, doors(path, server)[name]...)...)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			testkit.Await(t, "the end of the act", func() bool { return strings.Contains(w.text(), "the act on the store has ended") })
			ends := reportsOf[papyra.CompactionPerformed](t, "json:"+path, papyra.ReportCompactionPerformed)
			// Killed before it could say yes to the plan, nothing is done; later everything.
			requests := reportsOf[papyra.ActRequested](t, "json:"+path, papyra.ReportActRequested)
			if len(requests) != 1 || len(ends) > 1 || len(ends) == 1 && ends[0].End != papyra.EndDone {
				t.Errorf("requests %+v with the ends %+v", requests, ends)
			}
			ctl(t, 0, "compact", "--dedupe", "--backend", "json:"+path)
			w.terminate()
			ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
		})
	}
}

// awaitSink waits until a sink answers through both doors.
func awaitSink(t *testing.T, path, server string) {
	t.Helper()
	nc := client(t, server)
	testkit.Await(t, "the sink", func() bool {
		_, err := nc.Request(papyra.AdminSubject("archive", "eu-1", admin.VerbHealth), nil, testkit.Patience)
		_, serr := os.Lstat(filepath.Join(filepath.Dir(path), ".records.ndjson.sock"))
		return err == nil && serr == nil
	})
}

// startDoubled starts a sink on a store of n events, each of them twice, and returns when
// it answers through both doors.
func startDoubled(t *testing.T, n int) (path, server string, w *worker) {
	t.Helper()
	path, server = doubled(t, n), broker(t)
	w = startSink(t, t.TempDir(), "--server", server, "--group", "archive", "--instance", "eu-1", "--backend", "json:"+path)
	awaitSink(t, path, server)
	return path, server, w
}

// A broker that restarts in the middle costs an act nothing, and who asked hears of its
// end.
func TestActWhileTheBrokerRestarts(t *testing.T) {
	t.Parallel()
	path := doubled(t, 100_000)
	server := natstest.Start(t, "")
	w := startSink(t, t.TempDir(), "--server", server.URL(), "--group", "archive", "--instance", "eu-1", "--backend", "json:"+path)
	awaitSink(t, path, server.URL())
	cmd, out := startCtl(t, w, append([]string{"compact", "--dedupe", "--output", "json"}, doors(path, server.URL())["nats"]...)...)
	// The plan is approved before the first byte is removed.
	testkit.Await(t, "the act to begin or to end", func() bool {
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".records.ndjson.tmp-*"))
		return len(left) > 0 || strings.Contains(w.text(), "the act on the store has ended")
	})
	server.Kill()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("papyra-ctl: %v\n%s", err, out)
	}
	var r papyra.CompactReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.RecordsBefore-r.RecordsAfter != 100_000 {
		t.Errorf("the result is %s", out)
	}
	if n := len(reportsOf[papyra.ActRequested](t, "json:"+path, papyra.ReportActRequested)); n != 1 {
		t.Errorf("%d requests are written down, want 1", n)
	}
}

// A sink that is killed in the middle of a compaction leaves a whole store. Its job is
// gone, also for another process of the sink, and the next act ends what was begun.
func TestSinkKilledInACompaction(t *testing.T) {
	t.Parallel()
	for name := range doors("", "") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, server := doubled(t, 150_000), broker(t)
			args := []string{"--server", server, "--group", "archive", "--instance", "eu-1", "--backend", "json:" + path}
			w := startSink(t, t.TempDir(), args...)
			awaitSink(t, path, server)
			cmd, out := startCtl(t, w, append([]string{"compact", "--dedupe"}, doors(path, server)[name]...)...)
			testkit.Await(t, "a new file", func() bool {
				left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".records.ndjson.tmp-*"))
				return len(left) > 0 || strings.Contains(w.text(), "the act on the store has ended")
			})
			w.kill()
			err := cmd.Wait()
			var exit *exec.ExitError
			if strings.Contains(w.text(), "the act on the store has ended") {
				t.Logf("the act was faster than the kill: %v", err)
			} else if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(out.String(), "gone") {
				t.Errorf("who asked hears %v: %s; want exit code 5 and that the job is gone", err, out)
			}
			requests := reportsOf[papyra.ActRequested](t, "json:"+path, papyra.ReportActRequested)
			if len(requests) != 1 {
				t.Fatalf("requests: %+v", requests)
			}
			var scanned papyra.ScanReport
			store, err := backend.Open("json:" + path)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			if r, err := store.Scan(t.Context(), papyra.ScanOptions{Full: true}); err != nil {
				t.Fatal(err)
			} else if scanned = *r; scanned.Damaged() > scanned.AnomalyCounts[papyra.ClassLeftover] {
				t.Errorf("the killed sink left %v", scanned.AnomalyCounts)
			}
			again := startSink(t, t.TempDir(), args...)
			awaitSink(t, path, server)
			fleet, err := admin.Connect(admin.FleetConfig{URL: server, By: "test"})
			if err != nil {
				t.Fatal(err)
			}
			defer fleet.Close()
			members, err := fleet.Find(t.Context(), admin.Find{Group: "archive", Instance: "eu-1", Verb: admin.VerbInspect})
			if err != nil || len(members) != 1 {
				t.Fatalf("find the sink: %+v, %v", members, err)
			}
			through, ok := members[0].Store.(*admin.Store)
			if !ok {
				t.Fatalf("the sink cannot be asked: %v", members[0].Err)
			}
			if st, err := through.Result(t.Context(), requests[0].Job); err != nil || st.State != "gone" || st.Proven != requests[0].Proven {
				t.Errorf("the job is %+v, %v; want it gone", st, err)
			}
			ctl(t, 0, append([]string{"compact", "--dedupe"}, doors(path, server)[name]...)...)
			again.terminate()
			ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
			var summary struct {
				Unended []any `json:"unended"`
			}
			if err := json.Unmarshal(ctl(t, 0, "inspect", "summary", "--backend", "json:"+path, "--output", "json"), &summary); err != nil || len(summary.Unended) > 0 {
				t.Errorf("left without an end: %v, %v", summary.Unended, err)
			}
			n := 0
			if _, err := store.Read(t.Context(), papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}, Duplicates: true}, func(*papyra.Record, papyra.Place) error { n++; return nil }); err != nil || n != 150_000 {
				t.Errorf("the store has %d events, want each once: %v", n, err)
			}
		})
	}
}

// A flood of requests harms nothing: every record that comes meanwhile is stored, and
// the sink answers afterwards.
func TestFloodOfRequests(t *testing.T) {
	t.Parallel()
	path, server, w := startDoubled(t, 1000)
	nc := client(t, server)
	inbox := nats.NewInbox()
	var answered atomic.Int64
	sub, err := nc.Subscribe(inbox, func(*nats.Msg) { answered.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	src := testrecord.New(2)
	verbs := []string{admin.VerbScan, admin.VerbHealth, admin.VerbInspect, admin.VerbJobs, admin.VerbCompact, admin.VerbResult, admin.VerbCancel, admin.VerbRecover, admin.VerbRejects, admin.VerbStats}
	for i := range 10_000 {
		m := nats.NewMsg(papyra.AdminSubject("archive", "eu-1", verbs[i%len(verbs)]))
		m.Reply = inbox
		switch i % 7 {
		case 0:
			m.Data = []byte(`{"dry_run":true,"dedupe":true}`)
		case 1:
			m.Data = []byte("no JSON at all")
		case 2:
			m.Header.Set("Papyra-Op", "more")
			m.Header.Set("Papyra-Job", fmt.Sprint("none", i))
			m.Header.Set("Papyra-Credits", "99999999999999999999")
		case 3:
			m.Data = bytes.Repeat([]byte("["), 100_000)
		case 4:
			m.Header.Set("Papyra-Job", "same")
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), src.Event()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nc.FlushTimeout(testkit.Patience); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, "the records", func() bool {
		raw, err := os.ReadFile(path)
		return err == nil && bytes.Count(raw, []byte(src.Run())) >= 2000
	})
	testkit.Await(t, "an answer after the flood", func() bool {
		cmd := exec.Command(filepath.Join(bin, "papyra-ctl"), append([]string{"scan"}, doors(path, server)["nats"]...)...)
		return cmd.Run() == nil
	})
	w.terminate()
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
	if answered.Load() == 0 {
		t.Error("nothing was answered")
	}
}

// A sink that stands still is a holder that does not answer: acts are exit 4, reads look
// at the files.
func TestSinkThatStandsStill(t *testing.T) {
	t.Parallel()
	path, server, w := startDoubled(t, 10)
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.cmd.Process.Signal(syscall.SIGCONT) }()
	ctl(t, 4, "compact", "--dedupe", "--backend", "json:"+path)
	ctl(t, 5, append([]string{"scan"}, doors(path, server)["nats"]...)...)
}

// An interrupted act ends at a step, exit 130, and the store is whole.
func TestInterruptedActOfASink(t *testing.T) {
	t.Parallel()
	for name := range doors("", "") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, server, w := startDoubled(t, 100_000)
			cmd, out := startCtl(t, w, append([]string{"compact", "--dedupe"}, doors(path, server)[name]...)...)
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 130) {
				t.Errorf("interrupted: %v: %s", err, out)
			}
			if !strings.Contains(w.text(), "the act on the store has ended") {
				testkit.Await(t, "the end of the act", func() bool { return strings.Contains(w.text(), "the act on the store has ended") })
				t.Error("who asked was told of the end before it came")
			}
			w.terminate()
			ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
		})
	}
}

// Another user than the owner of a store gets 77, whether the socket's mode keeps him
// away or the sink looks at who he is.
func TestSocketOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "records.ndjson")
	for _, d := range []string{dir, filepath.Dir(dir), bin} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	server := broker(t)
	w := startSink(t, t.TempDir(), "--server", server, "--group", "archive", "--instance", "eu-1", "--backend", "json:"+path)
	awaitSink(t, path, server)
	stranger := func(what string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "papyra-ctl"), "compact", "--dedupe", "--backend", "json:"+path)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 77 {
			t.Errorf("%s: exit code %d, want 77: %s", what, code, out)
		}
	}
	stranger("the mode of the socket")
	if err := errors.Join(os.Chmod(path, 0o644), os.Chmod(filepath.Join(dir, ".records.ndjson.sock"), 0o666)); err != nil {
		t.Fatal(err)
	}
	stranger("the sink")
	if n := len(reportsOf[papyra.ActRequested](t, "json:"+path, papyra.ReportActRequested)); n != 0 {
		t.Errorf("%d requests of a stranger are written down", n)
	}
	w.terminate()
	if _, err := os.Lstat(filepath.Join(dir, ".records.ndjson.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
