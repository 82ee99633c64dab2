package fileset_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// A writer killed in the middle of a stream: what it said was stored is there,
// in order, and at most one fragment is left, which merges with nothing.
func TestKilledWriter(t *testing.T) {
	rounds := 5
	if testkit.Long() {
		rounds = 100
	}
	for round := range rounds {
		f := fastFixture(t)
		cmd := childCommand("stream", f.path)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		said := 0
		for lines.Scan() {
			said, err = strconv.Atoi(lines.Text())
			must(t, err)
			if said >= 100*(round+1) {
				must(t, cmd.Process.Kill())
				break
			}
		}
		for lines.Scan() {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				said = n
			}
		}
		_ = cmd.Wait()
		checkStream(t, f, said)
	}
}

// checkStream makes sure of what childStream left when it was killed after it
// said that so many events were stored.
func checkStream(t *testing.T, f *fixture, said int) {
	t.Helper()
	if _, err := os.Stat(f.path); err != nil && said == 0 {
		return
	}
	r := f.scan(papyra.ScanOptions{})
	for _, a := range r.Anomalies {
		if a.Class != papyra.ClassTruncated || a.Offset+a.Length != r.Bytes {
			t.Errorf("scan found %+v, want at most a fragment at the end", a)
		}
	}
	next := testrecord.New(78).Event()
	f.store(next)
	src := testrecord.New(77)
	var want []string
	got := f.read(papyra.Query{})
	for range len(got) - 1 {
		want = append(want, string(src.Event()))
	}
	want = append(want, string(next))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got)-1 < said {
		t.Errorf("%d events are there, the writer said %d", len(got)-1, said)
	}
	if rec := f.recover(papyra.RecoverOptions{}); !rec.After.Clean() || rec.Moved > 1 {
		t.Errorf("recovery moved %d places and left %v", rec.Moved, rec.After.AnomalyCounts)
	}
}

// changing are the system calls that change files.
const changing = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdirat,fchmod,fchmodat,fchown"

// killPoint is the n-th call of a system call.
type killPoint struct {
	call string
	n    int
}

var traced = regexp.MustCompile(`^(\d+) +([a-z0-9_]+)\(`)

// killPoints runs an act once under strace and returns every call on its main
// thread that changes files.
func killPoints(t *testing.T, act, path string) []killPoint {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed: the sweep over system calls is skipped")
	}
	log := filepath.Join(t.TempDir(), "trace")
	cmd := childCommand(act, path)
	cmd.Args = append([]string{strace, "-f", "-qq", "-e", "trace=" + changing, "-e", "signal=none", "-o", log, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = strace
	if out, err := cmd.CombinedOutput(); err != nil {
		if bytes.Contains(out, []byte("ptrace")) {
			t.Skipf("strace may not trace here: the sweep over system calls is skipped: %s", out)
		}
		t.Fatalf("%s under strace: %v\n%s", act, err, out)
	}
	data, err := os.ReadFile(log)
	must(t, err)
	var (
		points []killPoint
		seen   = map[string]int{}
		main   string
	)
	for line := range strings.Lines(string(data)) {
		m := traced.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if main == "" {
			main = m[1]
		}
		if m[1] != main {
			continue
		}
		seen[m[2]]++
		if m[2] == "openat" && !strings.Contains(line, "O_CREAT") {
			continue
		}
		points = append(points, killPoint{m[2], seen[m[2]]})
	}
	if len(points) == 0 {
		t.Fatalf("no system calls in %s", data)
	}
	return points
}

// killAt runs an act and kills it right before a system call.
func killAt(t *testing.T, act, path string, p killPoint) (out []byte) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	must(t, err)
	cmd := childCommand(act, path)
	cmd.Args = append([]string{
		strace, "-f", "-qq", "-e", "trace=" + p.call, "-e", "signal=none",
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", p.call, p.n), "-o", "/dev/null", cmd.Path,
	}, cmd.Args[1:]...)
	cmd.Path = strace
	out, err = cmd.Output()
	if err == nil {
		t.Errorf("%s was not killed at %s %d", act, p.call, p.n)
	}
	return out
}

// some returns at most n of the points, spread evenly; all of them when the big
// numbers are wanted.
func some(t *testing.T, points []killPoint, n int) []killPoint {
	t.Helper()
	if strings.HasPrefix(t.Name(), onASet) {
		n /= 3 // the same act, which was killed at all of them in one file
	}
	if testkit.Long() || len(points) <= n {
		t.Logf("%d kill points", len(points))
		return points
	}
	var out []killPoint
	for i := range n {
		out = append(out, points[i*len(points)/n])
	}
	t.Logf("%d of %d kill points", n, len(points))
	return out
}

// Killed before any system call that changes files, an append leaves what it
// said, and at most a fragment.
func TestStraceKillAppend(t *testing.T) {
	t.Parallel()
	points := killPoints(t, "append", filepath.Join(testkit.FastDir(t), "a", "records.ndjson"))
	for _, p := range some(t, points, 60) {
		f := openFixture(t, filepath.Join(testkit.FastDir(t), "a", "records.ndjson"), fileset.SyncInterval)
		out := killAt(t, "append", f.path, p)
		said := 0
		for _, word := range strings.Fields(string(out)) {
			n, err := strconv.Atoi(word)
			must(t, err)
			said = n
		}
		checkStream(t, f, said)
		if t.Failed() {
			t.Fatalf("killed before %s %d", p.call, p.n)
		}
	}
}

// crashContent is a file with damage, its undamaged records, and its damaged
// bytes.
func crashContent() (content []byte, records []string, damaged [][]byte) {
	src := testrecord.New(1)
	for i := range 6 {
		events := src.Events(3)
		content = append(content, testrecord.Join(events...)...)
		records = append(records, text(events)...)
		d := fmt.Appendf(nil, "junk %d\n", i)
		content = append(content, d...)
		damaged = append(damaged, d)
	}
	last := src.Event()
	damaged = append(damaged, last[:99])
	return append(content, last[:99]...), records, damaged
}

// Killed before any system call that changes files, a recovery leaves the old
// file or the new one and every damaged byte in the file or in quarantine, and
// the next one finishes the job.
func TestStraceKillRecover(t *testing.T) {
	t.Parallel()
	content, records, damaged := crashContent()
	fresh := func() *fixture {
		f := fastFixture(t)
		f.write(content)
		must(t, os.WriteFile(filepath.Join(filepath.Dir(f.path), ".records.ndjson.tmp-0123456789abcdef"), []byte("leftover"), 0o600))
		return f
	}
	points := killPoints(t, "recover", fresh().path)
	for _, p := range some(t, points, 60) {
		f := fresh()
		killAt(t, "recover", f.path, p)
		check := func(when string) {
			t.Helper()
			if diff := cmp.Diff(records, f.read(papyra.Query{})); diff != "" {
				t.Errorf("%s: records (-want +got):\n%s", when, diff)
			}
			saved := completeActs(t, f)
			for _, d := range append(slices.Clone(damaged), []byte("leftover")) {
				inFile := bytes.Contains(f.bytes(), d)
				if entries, _ := os.ReadFile(filepath.Join(filepath.Dir(f.path), ".records.ndjson.tmp-0123456789abcdef")); string(d) == "leftover" {
					inFile = string(entries) == "leftover"
				}
				if !inFile && !slices.ContainsFunc(saved, func(s testrecord.Saved) bool { return bytes.Equal(s.Bytes, d) }) {
					t.Errorf("%s: %q is nowhere any more", when, d)
				}
			}
		}
		check("after the kill")
		r := f.recover(papyra.RecoverOptions{Now: testrecord.Start.Add(time.Hour)})
		if !r.After.Clean() {
			t.Errorf("the second recovery left %+v", r.After.Anomalies)
		}
		check("after the second recovery")
		if t.Failed() {
			t.Fatalf("killed before %s %d", p.call, p.n)
		}
	}
}

// completeActs returns what lies in the acts that have an index.
func completeActs(t *testing.T, f *fixture) (out []testrecord.Saved) {
	t.Helper()
	indexes, err := filepath.Glob(filepath.Join(filepath.Dir(f.path), ".records.ndjson.saved", "*", "index.ndjson"))
	must(t, err)
	for _, index := range indexes {
		saved, err := testrecord.ReadAct(filepath.Dir(index))
		must(t, err)
		out = append(out, saved...)
	}
	return out
}

// Killed before any system call that changes files, a compaction leaves the old
// file or the new one, both with the same view, and the next one finishes the
// job. Only a recovery takes away what is left over.
func TestStraceKillCompact(t *testing.T) {
	t.Parallel()
	content, records, _ := crashContent()
	content = content[:bytes.LastIndexByte(content, '\n')+1]
	fresh := func() *fixture {
		f := fastFixture(t)
		f.write(content)
		return f
	}
	view := records[len(records)-3:]
	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 3}}, At: testrecord.Start}
	points := killPoints(t, "compact", fresh().path)
	for _, p := range some(t, points, 60) {
		f := fresh()
		killAt(t, "compact", f.path, p)
		if diff := cmp.Diff(view, f.read(papyra.Query{Retention: o.Retention, At: o.At})); diff != "" {
			t.Errorf("the view (-want +got):\n%s", diff)
		}
		if got := f.read(papyra.Query{}); len(got) != 3 && len(got) != len(records) {
			t.Errorf("%d records: neither the old file nor the new one", len(got))
		}
		if _, err := f.Compact(t.Context(), o); err != nil {
			t.Errorf("compact again: %v", err)
		}
		if diff := cmp.Diff(view, f.read(papyra.Query{})); diff != "" {
			t.Errorf("after the second compaction (-want +got):\n%s", diff)
		}
		r := f.scan(papyra.ScanOptions{})
		if n := r.AnomalyCounts[papyra.ClassCorrupted]; n != 6 || len(r.AnomalyCounts) > 2 {
			t.Errorf("scan: %v, want the 6 damaged lines and perhaps a leftover", r.AnomalyCounts)
		}
		if rec := f.recover(papyra.RecoverOptions{}); !rec.After.Clean() {
			t.Errorf("recovery left %v", rec.After.AnomalyCounts)
		}
		if t.Failed() {
			t.Fatalf("killed before %s %d", p.call, p.n)
		}
	}
}
