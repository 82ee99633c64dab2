package compat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
)

// removed returns how many records a RemovalReport counts.
func removed(t testing.TB, payload []byte) (n int) {
	t.Helper()
	var r papyra.RemovalReport
	if err := json.Unmarshal(payload, &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Categories {
		n += int(c.Records)
	}
	return n
}

// set is a rotating set that both sides use.
type set struct {
	t    testing.TB
	path string
	ours sink.Backend
	args []string // what the Python side is told
}

const setBytes, setFiles = 2000, 40

// newSet opens a set that does not exist yet, with bounds that nothing here
// reaches unless it says so.
func newSet(t testing.TB, maxBytes, maxFiles int) *set {
	path := filepath.Join(t.TempDir(), "records.ndjson")
	return &set{
		t: t, path: path,
		ours: openStore(t, fmt.Sprintf("rotating:%s?max_bytes=%d&max_files=%d", backend.EscapePath(path), maxBytes, maxFiles)),
		args: []string{"--max-bytes", strconv.Itoa(maxBytes), "--max-files", strconv.Itoa(maxFiles), "--layout", "rotating"},
	}
}

// files returns the members that are there, the oldest first.
func (s *set) files() (paths []string) {
	for n := setFiles; n >= 0; n-- {
		path := s.path
		if n > 0 {
			path += fmt.Sprintf(".%d", n)
		}
		if _, err := os.Stat(path); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// content returns all bytes of the set, the oldest first.
func (s *set) content() (all []byte) {
	s.t.Helper()
	for _, path := range s.files() {
		all = append(all, content(s.t, path)...)
	}
	return all
}

// reads fails the test unless the Python side reads these facts, by category, and
// finds nothing wrong.
func (s *set) reads(want map[string][]object) {
	s.t.Helper()
	sameReading(s.t, peer[map[string][]object](s.t, nil, "read", s.path, s.args...), want)
}

// factsOf returns the facts of lines, as the Python side reads them.
func factsOf(t testing.TB, records []papyra.Record) map[string][]object {
	t.Helper()
	var lines []byte
	for _, rec := range records {
		lines = append(append(lines, rec.Line...), '\n')
	}
	return decoded(t, lines)
}

// sameReading compares all that the Python side reads with what was written.
func sameReading(t testing.TB, got, want map[string][]object) {
	t.Helper()
	for _, category := range []string{"events", "audits", "dead_letters"} {
		sameFacts(t, category, got[category], want[category])
	}
	if len(got["anomalies"]) != 0 {
		t.Errorf("the Python side finds %v", got["anomalies"])
	}
}

func TestSetPythonReadsWhatPapyraWrites(t *testing.T) {
	s := newSet(t, setBytes, setFiles)
	lines, want := written(t)
	add(t, s.ours, lines)
	if n := len(s.files()); n < 4 {
		t.Fatalf("the set has %d files: the test proves nothing", n)
	}
	if !bytes.Equal(s.content(), lines) {
		t.Fatal("the files, from the oldest on, are not the lines")
	}
	s.reads(want)
}

// The bound drops files; what is left is the same to both sides, and the report
// of what went is nothing to the Python side.
func TestSetPythonReadsWhatTheBoundLeaves(t *testing.T) {
	s := newSet(t, setBytes, 3)
	lines, whole := written(t)
	for line := range bytes.Lines(lines) {
		add(t, s.ours, line)
	}
	ours := factsOf(t, all(t, s.ours, papyra.Query{}))
	if n := len(ours["events"]); n == 0 || n >= len(whole["events"]) {
		t.Fatalf("%d of %d events are left: the test proves nothing", n, len(whole["events"]))
	}
	if len(all(t, s.ours, papyra.Query{Types: []string{papyra.ReportRemoval}})) == 0 {
		t.Fatal("no report says what went")
	}
	s.reads(ours)
}

// many are facts for several files.
func many(n int) (out []object) {
	for i := range n {
		f := object{}
		for k, v := range facts[i%len(facts)] {
			f[k] = v
		}
		f["timestamp"] = 1_700_000_000 + float64(i)/4
		out = append(out, f)
	}
	return out
}

// ofKind splits facts by category, as list returns them.
func ofKind(t testing.TB, list []object) map[string][]object {
	t.Helper()
	out := map[string][]object{}
	for i, o := range numbers(t, list...) {
		category := papyra.ParseKind(list[i]["kind"].(string)).Category()
		out[category] = append(out[category], o)
	}
	return out
}

func TestSetPapyraReadsWhatPythonWrites(t *testing.T) {
	s := newSet(t, setBytes, setFiles)
	wrote := many(60)
	peer[int](t, wrote, "append", s.path, s.args...)
	if n := len(s.files()); n < 4 {
		t.Fatalf("the set has %d files: the test proves nothing", n)
	}
	before := s.content()
	report := scan(t, s.ours)
	if !report.Clean() || report.Records != int64(len(wrote)) || report.Files != int64(len(s.files())) {
		t.Errorf("scan: clean %t, %d records in %d files: %v; want %d in %d", report.Clean(), report.Records, report.Files, report.AnomalyCounts, len(wrote), len(s.files()))
	}
	sameReading(t, factsOf(t, all(t, s.ours, papyra.Query{})), ofKind(t, wrote))
	if newest := all(t, s.ours, papyra.Query{Limit: 1}); len(newest) != 1 || newest[0].Time != int64(1_700_000_000e6+59*250_000) {
		t.Errorf("the newest record is %+v, want the one that was written last", newest)
	}
	if r, err := s.ours.Recover(t.Context(), papyra.RecoverOptions{Now: time.Now()}); err != nil || r.Moved != 0 || !bytes.Equal(s.content(), before) {
		t.Errorf("recover of a clean set: %+v, %v; the files must stay as they were", r, err)
	}

	// We go on, and rotate; then the Python side does, and rotates.
	lines, _ := written(t)
	add(t, s.ours, lines)
	more := many(20)
	peer[int](t, more, "append", s.path, s.args...)
	if got := s.content(); !bytes.HasPrefix(got, append(bytes.Clone(before), lines...)) {
		t.Error("the bytes from before are not where they were")
	}
	ours := factsOf(t, all(t, s.ours, papyra.Query{}))
	if n := len(ours["events"]) + len(ours["audits"]) + len(ours["dead_letters"]); n != 60+20+bytes.Count(lines, []byte("\n"))-1 { // one line is a report
		t.Errorf("we read %d records of three writings", n)
	}
	s.reads(ours)
}

// A set in which the active file is beyond its bound, because the other side
// stopped rotating when its last number was taken: we go on with it.
func TestSetWhoseRotationStopped(t *testing.T) {
	s := newSet(t, setBytes, 3)
	wrote := many(60)
	peer[int](t, wrote, "append", s.path, s.args...)
	if n := len(content(t, s.path)); n <= 2*setBytes {
		t.Fatalf("the active file has %d bytes: the test proves nothing", n)
	}
	if report := scan(t, s.ours); !report.Clean() || report.Records != int64(len(wrote)) {
		t.Errorf("scan: %d records, %v; want %d", report.Records, report.AnomalyCounts, len(wrote))
	}
	add(t, s.ours, sealedLine(t, 1))
	if n := len(content(t, s.path)); n > setBytes {
		t.Errorf("after an append of ours the active file has %d bytes: it was not rotated", n)
	}
	// What the rotation dropped, the oldest file, is written down.
	dropped := 0
	for _, rec := range all(t, s.ours, papyra.Query{Types: []string{papyra.ReportRemoval}}) {
		dropped += removed(t, rec.Payload)
	}
	left := all(t, s.ours, papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter}})
	if dropped == 0 || dropped+len(left) != len(wrote)+1 {
		t.Errorf("%d records are left and %d reported as removed, of %d", len(left), dropped, len(wrote)+1)
	}
	s.reads(factsOf(t, left))
}

// harm puts a torn line behind a file and garbage after it, and returns the
// damaged bytes without their newlines.
func harm(t testing.TB, path string) []byte {
	t.Helper()
	const torn, garbage = `{"system_id": "orders", "actor_addr`, "not-json"
	data := append(content(t, path), torn+"\n"+garbage+"\n"...)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return []byte(torn + garbage)
}

func TestSetPapyraRecoversWhatPythonWrote(t *testing.T) {
	for _, mode := range []string{"repair", "quarantine"} {
		t.Run(mode, func(t *testing.T) {
			s := newSet(t, setBytes, setFiles)
			wrote := many(60)
			peer[int](t, wrote, "append", s.path, s.args...)
			s.crash("compact", "--crash", "written") // leaves MEMBER.compact.tmp
			leftovers, err := filepath.Glob(s.path + "*.compact.tmp")
			if err != nil || len(leftovers) < 2 {
				t.Fatalf("the Python side left %v (%v): the test proves nothing", leftovers, err)
			}
			good := s.content()
			files := s.files()
			damage := len(harm(t, files[1])) + len(harm(t, s.path))
			for _, l := range leftovers {
				damage += len(content(t, l))
			}

			report := scan(t, s.ours)
			want := map[papyra.Class]int64{papyra.ClassTruncated: 2, papyra.ClassCorrupted: 2, papyra.ClassLeftover: int64(len(leftovers))}
			if !reflect.DeepEqual(report.AnomalyCounts, want) || report.Records != int64(len(wrote)) {
				t.Errorf("scan: %v and %d records, want %v and %d", report.AnomalyCounts, report.Records, want, len(wrote))
			}
			o := papyra.RecoverOptions{Now: time.Now()}
			if mode == "quarantine" {
				o.QuarantineDir = filepath.Join(t.TempDir(), "quarantine")
			}
			recovered, err := s.ours.Recover(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !recovered.After.Clean() || recovered.Moved != 4+int64(len(leftovers)) || recovered.MovedBytes < int64(damage) {
				t.Errorf("recover moved %d places of %d bytes and left %v; want %d of %d", recovered.Moved, recovered.MovedBytes, recovered.After.AnomalyCounts, 4+len(leftovers), damage)
			}
			// The good lines are where they were, and the account's reports behind them.
			if !bytes.HasPrefix(s.content(), good) {
				t.Error("the good lines are not what they were")
			}
			s.reads(ofKind(t, wrote))
		})
	}
}

// A compaction of the Python side that ends between its two steps leaves no
// member of the set at all, only its temporary files. Nothing is lost of them:
// they are found, moved, and can be put back by their names.
func TestSetOfWhichPythonLeftOnlyTemporaryFiles(t *testing.T) {
	s := newSet(t, setBytes, setFiles)
	wrote := many(60)
	peer[int](t, wrote, "append", s.path, s.args...)
	s.crash("compact", "--crash", "unlinked")
	if n := len(s.files()); n != 0 {
		t.Fatalf("%d members are left: the test proves nothing", n)
	}
	leftovers, err := filepath.Glob(s.path + "*.compact.tmp")
	if err != nil || len(leftovers) < 2 {
		t.Fatalf("the Python side left %v (%v)", leftovers, err)
	}
	report := scan(t, s.ours)
	if report.AnomalyCounts[papyra.ClassLeftover] != int64(len(leftovers)) || report.Records != 0 {
		t.Fatalf("scan: %v and %d records, want %d leftovers", report.AnomalyCounts, report.Records, len(leftovers))
	}
	for _, l := range leftovers {
		if err := os.Rename(l, strings.TrimSuffix(l, ".compact.tmp")); err != nil {
			t.Fatal(err)
		}
	}
	if report := scan(t, s.ours); !report.Clean() || report.Records != int64(len(wrote)) {
		t.Errorf("scan after they were put back: %v and %d records, want %d", report.AnomalyCounts, report.Records, len(wrote))
	}
	s.reads(factsOf(t, all(t, s.ours, papyra.Query{})))
}

// crash runs a command of the Python side that ends too early.
func (s *set) crash(verb string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(python(s.t), append([]string{"-S", filepath.Join("testdata", "peer.py"), verb, s.path}, append(s.args, args...)...)...)
	cmd.Env = append(os.Environ(), "PYTHONUTF8=1", "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 9 {
		s.t.Fatalf("peer %s did not crash: %v\n%s", verb, err, out)
	}
}

func TestSetPapyraCompactsWhatPythonWrote(t *testing.T) {
	s := newSet(t, setBytes, setFiles)
	wrote := many(60)
	peer[int](t, wrote, "append", s.path, s.args...)
	lines := bytes.SplitAfter(s.content(), []byte("\n"))
	if _, err := s.ours.Compact(t.Context(), papyra.CompactOptions{At: time.Now(),
		Retention: papyra.Retention{General: papyra.Limits{Records: 3}}}); err != nil {
		t.Fatal(err)
	}
	// The newest three of each of the four streams, verbatim and in order.
	var want [][]byte
	left := map[papyra.Stream]int{}
	for i := len(wrote) - 1; i >= 0; i-- {
		rec, err := papyra.Parse(bytes.TrimSuffix(lines[i], []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		if left[rec.Stream()]++; left[rec.Stream()] <= 3 {
			want = append([][]byte{lines[i]}, want...)
		}
	}
	var got [][]byte
	kept := all(t, s.ours, papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter}})
	for _, rec := range kept {
		got = append(got, append(bytes.Clone(rec.Line), '\n'))
	}
	if len(left) != 4 || !reflect.DeepEqual(got, want) {
		t.Errorf("compact to three records of each of %d streams\ngot:  %s\nwant: %s", len(left), got, want)
	}
	s.reads(factsOf(t, kept))
}

// The Python side loads our set and writes it anew, in files of other sizes. The
// records are the same.
func TestSetRewriteByPythonKeepsTheIdentity(t *testing.T) {
	for _, rewrite := range []struct {
		name string
		verb string
		args []string
	}{
		{"compact", "compact", nil},
		{"repair", "recover", []string{"--mode", "repair"}},
		{"quarantine", "recover", []string{"--mode", "quarantine"}},
	} {
		t.Run(rewrite.name, func(t *testing.T) {
			s := newSet(t, setBytes, setFiles)
			lines, facts := written(t)
			add(t, s.ours, lines)
			sealed := all(t, s.ours, papyra.Query{})
			if rewrite.verb == "recover" {
				harm(t, s.files()[1])
			}
			before := s.content()
			peer[object](t, nil, rewrite.verb, s.path, append(s.args, rewrite.args...)...)
			if bytes.Contains(s.content(), []byte(`,"crc":`)) {
				t.Fatal("the Python side kept a line as it was: the test proves nothing")
			}
			// The MEMBER.quarantine.<ms> beside the set are the result of a finished act.
			report := scan(t, s.ours)
			if !report.Clean() || report.Sealed != int64(len(sealed)) || len(report.NoticeCounts) != 0 {
				t.Errorf("scan after the rewrite: %v, notices %v, %d sealed; want none and %d", report.AnomalyCounts, report.NoticeCounts, report.Sealed, len(sealed))
			}
			sameIdentities(t, all(t, s.ours, papyra.Query{}), sealed)
			if rewrite.name != "quarantine" {
				s.reads(facts)
				return
			}
			// They are the whole set as it was, and our recovery leaves them alone.
			if r, err := s.ours.Recover(t.Context(), papyra.RecoverOptions{Now: time.Now()}); err != nil || r.Moved != 0 {
				t.Errorf("recover: %+v, %v; want nothing moved", r, err)
			}
			aside, err := filepath.Glob(s.path + "*.quarantine.*")
			if err != nil || len(aside) < 4 {
				t.Fatalf("set aside are %v, %v", aside, err)
			}
			slices.SortFunc(aside, func(a, b string) int { return cmp.Compare(memberNumber(t, b), memberNumber(t, a)) })
			var was []byte
			for _, path := range aside {
				was = append(was, content(t, path)...)
				if err := os.Remove(path); err != nil { // the Python side takes them for orphans
					t.Fatal(err)
				}
			}
			if !bytes.Equal(was, before) {
				t.Errorf("%d bytes were set aside, want the %d of the set", len(was), len(before))
			}
			s.reads(facts)
		})
	}
}

// memberNumber returns n of a name NAME.<n>.quarantine.<ms>, 0 without one.
func memberNumber(t testing.TB, path string) int {
	t.Helper()
	name := strings.TrimPrefix(filepath.Base(path), "records.ndjson.")
	if strings.HasPrefix(name, "quarantine.") {
		return 0
	}
	digits, _, _ := strings.Cut(name, ".")
	n, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
