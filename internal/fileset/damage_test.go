package fileset_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// A file cut at any byte is healed by the next open: the records before the cut
// survive, also a last one that lacks only its newline, and what is appended
// merges with nothing. A recovery conserves every byte.
func TestCutAtEveryByte(t *testing.T) {
	src := testrecord.New(1)
	lines := [][]byte{
		src.Event(), src.Line("a", papyra.KindAudit, ""), src.Line("é", papyra.KindDeadLetter, "ü\u2028 \\"),
		[]byte(`{"kind":"event","system_id":"orders","actor_address":"a:b","event_type":"Odd","payload":[1,{"x":null}],"timestamp":1.5}`),
		src.Event(),
	}
	whole := testrecord.Join(lines...)
	next := testrecord.New(2).Event()
	step := 1
	if testing.Short() || strings.HasPrefix(t.Name(), onASet) { // there the same code behind the list of files
		step = 7
	}
	dir := testkit.FastDir(t)
	for cut := 0; cut <= len(whole); cut += step {
		f := openFixture(t, filepath.Join(dir, "records.ndjson"), "none")
		f.write(whole[:cut])
		f.store(next)
		var want []string
		end := 0
		for _, line := range lines {
			if end += len(line); end > cut {
				break
			}
			want = append(want, string(line))
			end++
		}
		want = append(want, string(next))
		if diff := cmp.Diff(want, f.read(papyra.Query{})); diff != "" {
			t.Fatalf("cut at %d (-want +got):\n%s", cut, diff)
		}
		fragment := cut - len(testrecord.Join(lines[:len(want)-1]...))
		r := f.scan(papyra.ScanOptions{})
		if fragment > 0 && (len(r.Anomalies) != 1 || r.Anomalies[0].Class != papyra.ClassTruncated || r.Anomalies[0].Length != int64(fragment)) ||
			fragment <= 0 && !r.Clean() {
			t.Fatalf("cut at %d: anomalies %+v, want a fragment of %d bytes", cut, r.Anomalies, fragment)
		}
		before := f.bytes()
		rec := f.recover(papyra.RecoverOptions{})
		if !rec.After.Clean() {
			t.Fatalf("cut at %d: recovery left %+v", cut, rec.After.Anomalies)
		}
		f.checkConserved(before, rec)
		if diff := cmp.Diff(want, f.read(papyra.Query{})); diff != "" {
			t.Fatalf("cut at %d, after recovery (-want +got):\n%s", cut, diff)
		}
		must(t, f.Close())
	}
}

// A recovery of a file that does not end in a newline conserves it too, and
// keeps a complete last record.
func TestRecoverUnfinishedEnd(t *testing.T) {
	l := testrecord.New(1).Events(4)
	last := string(l[3])
	for name, c := range map[string]struct {
		end  string
		keep bool
	}{
		"complete record":                  {last, true},
		"fragment":                         {last[:50], false},
		"fragment and a whole record":      {last[:50] + last, true},
		"whole record and a fragment":      {last + last[:50], true},
		"two records merged":               {string(l[2]) + last, true},
		"two records, fragments around":    {last[:9] + string(l[2]) + "x" + last + last[:30], true},
		"NULs":                             {string(make([]byte, 5000)), false},
		"whole record and NULs":            {last + string(make([]byte, 5000)), true},
		"a line too long":                  {strings.Repeat("x", papyra.MaxStoredLine+10), false},
		"blank":                            {"  ", false},
		"only the newline is missing (CR)": {last + "\r", true},
	} {
		for _, damaged := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, damage before %v", name, damaged), func(t *testing.T) {
				f := fastFixture(t)
				before := testrecord.Join(l[:2]...)
				if damaged {
					before = append(before, "junk\n"...)
				}
				before = append(before, c.end...)
				f.write(before)
				r := f.recover(papyra.RecoverOptions{})
				if !r.After.Clean() {
					t.Errorf("left %+v", r.After.Anomalies)
				}
				f.checkConserved(before, r)
				got := f.read(papyra.Query{Duplicates: true})
				kept := slices.ContainsFunc(got, func(s string) bool { return strings.TrimSuffix(s, "\r") == last })
				if kept != c.keep || len(got) < 2 {
					t.Errorf("%d records, the last is kept: %v, want %v", len(got), kept, c.keep)
				}
				again := f.recover(papyra.RecoverOptions{})
				if again.Moved != 0 {
					t.Errorf("again: %+v", again)
				}
			})
		}
	}
}

// No flipped bit in a sealed record goes unnoticed, not in its seal either, and
// a recovery spares every other record.
func TestFlippedBits(t *testing.T) {
	src := testrecord.New(1)
	var lines [][]byte
	for i := range 40 {
		lines = append(lines, src.Line("orders", papyra.Kinds()[i%3], "some text, some more"))
	}
	whole := testrecord.Join(lines...)
	flips := 20_000
	if strings.HasPrefix(t.Name(), onASet) {
		flips = 1000 // the same code behind the list of files
	}
	if testkit.Long() {
		flips = 1_000_000
	}
	if testing.Short() {
		flips = 1000
	}
	rng := rand.New(rand.NewPCG(7, 7))
	f := openFixture(t, filepath.Join(testkit.FastDir(t), "records.ndjson"), "none")
	for n, round := 0, 0; n < flips; round++ {
		// Each scan tries several lines, with others between them.
		data, flipped := bytes.Clone(whole), map[int]int{}
		for i := rng.IntN(2); i < len(lines); i += []int{2, 2, 3, 5}[round%4] {
			start := len(testrecord.Join(lines[:i]...))
			bit := 8*start + rng.IntN(8*(len(lines[i])+1))
			data[bit/8] ^= 1 << (bit % 8)
			flipped[i] = bit
		}
		f.write(data)
		full := round/4%2 == 0
		r := f.scan(papyra.ScanOptions{Full: full})
		checkFlipsAreNamed(t, lines, flipped, r)
		n += len(flipped)
		if n/100 != (n-len(flipped))/100 {
			checkFlipsAreRecovered(t, f, data, lines, flipped)
		}
		if t.Failed() {
			t.Fatalf("full %v, flipped bits by line: %v", full, flipped)
		}
	}
}

// checkFlipsAreNamed makes sure that a scan names each line in which a bit was
// flipped and no other.
func checkFlipsAreNamed(t *testing.T, lines [][]byte, flipped map[int]int, r *papyra.ScanReport) {
	t.Helper()
	joined := false // with the line before, whose newline was hit
	start := int64(0)
	for i, line := range lines {
		end := start + int64(len(line)) + 1
		bit, hit := flipped[i]
		newline := hit && int64(bit/8) == end-1
		until := end
		if newline && i+1 < len(lines) {
			until += int64(len(lines[i+1])) // which of the two is named is not said
		}
		named := slices.ContainsFunc(r.Anomalies, func(a papyra.Anomaly) bool {
			return a.Offset < until && a.Offset+max(a.Length, 1) > start
		})
		switch {
		case newline && i == len(lines)-1:
			// It became white space, or something that ends the file too.
		case hit && !named:
			t.Errorf("bit %d of byte %d: not noticed in %q", bit%8, bit/8, line)
		case !hit && !joined && named:
			t.Errorf("line %d is damaged by a flip in another one", i)
		}
		joined, start = newline, end
	}
}

// checkFlipsAreRecovered makes sure that a recovery spares every line in which no
// bit was flipped, and conserves the others.
func checkFlipsAreRecovered(t *testing.T, f *fixture, data []byte, lines [][]byte, flipped map[int]int) {
	t.Helper()
	rec := f.recover(papyra.RecoverOptions{})
	if !rec.After.Clean() {
		t.Errorf("recovery left %+v", rec.After.Anomalies)
	}
	f.checkConserved(data, rec)
	got := f.read(papyra.Query{})
	for i, line := range lines {
		if _, hit := flipped[i]; !hit && !slices.Contains(got, string(line)) {
			t.Errorf("an undamaged record is gone: %s", line)
		}
	}
}

// corpus damages a file of records in every way that the project knows. Each
// case says which records are to survive.
func corpus() map[string]struct {
	data    []byte
	class   papyra.Class
	survive []int
} {
	type damage = struct {
		data    []byte
		class   papyra.Class
		survive []int
	}
	l := testrecord.New(1).Events(8)
	insert := func(raw string) []byte {
		return append(append(testrecord.Join(l[:4]...), raw...), testrecord.Join(l[4:]...)...)
	}
	all := []int{0, 1, 2, 3, 4, 5, 6, 7}
	without := func(n int) []int { return slices.DeleteFunc(slices.Clone(all), func(i int) bool { return i == n }) }
	replaced := func(n int, line string) []byte {
		lines := slices.Clone(l)
		lines[n] = []byte(line)
		return testrecord.Join(lines...)
	}
	one := string(l[3])
	rng := rand.New(rand.NewPCG(3, 3))
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	return map[string]damage{
		"torn record, healed":          {replaced(3, one[:77]), papyra.ClassTruncated, without(3)},
		"torn record, merged":          {bytes.Replace(testrecord.Join(l...), []byte(one+"\n"), []byte(one[:77]), 1), papyra.ClassTruncated, without(3)},
		"newline lost":                 {bytes.Replace(testrecord.Join(l...), []byte(one+"\n"), []byte(one), 1), papyra.ClassCorrupted, all},
		"all newlines lost":            {bytes.ReplaceAll(testrecord.Join(l...), []byte("\n"), nil), papyra.ClassCorrupted, all},
		"junk line":                    {insert("junk\n"), papyra.ClassCorrupted, all},
		"junk before a record":         {insert("junk"), papyra.ClassCorrupted, all},
		"NULs before a record":         {insert(string(make([]byte, 8192))), papyra.ClassNULRun, all},
		"NULs on a line":               {insert(string(make([]byte, 8192)) + "\n"), papyra.ClassNULRun, all},
		"NULs for a record":            {replaced(3, string(make([]byte, len(one)))), papyra.ClassNULRun, without(3)},
		"NULs at the end":              {append(testrecord.Join(l...), make([]byte, 4096)...), papyra.ClassNULRun, all},
		"NULs without end":             {append(testrecord.Join(l...), make([]byte, 3<<20)...), papyra.ClassNULRun, all},
		"noise":                        {insert(string(noise) + "\n"), "", all},
		"invalid UTF-8":                {replaced(3, strings.Replace(one, "text", "te\xffxt", 1)), papyra.ClassInvalidUTF8, without(3)},
		"lone surrogate":               {replaced(3, strings.Replace(one, "text", `te\ud800xt`, 1)), papyra.ClassInvalidUTF8, without(3)},
		"a line too long":              {insert(strings.Repeat("x", papyra.MaxStoredLine) + "\n"), papyra.ClassOversize, all},
		"a line much too long":         {insert(strings.Repeat("x", 9<<20) + "\n"), papyra.ClassOversize, all},
		"nested too deeply":            {insert(`{"kind":` + strings.Repeat("[", 100_000) + "\n"), papyra.ClassCorrupted, all},
		"scalar":                       {insert("12\n"), papyra.ClassCorrupted, all},
		"array":                        {insert("[]\n"), papyra.ClassCorrupted, all},
		"empty object":                 {insert("{}\n"), papyra.ClassMissingField, all},
		"duplicate key":                {replaced(3, strings.Replace(one, `"system_id"`, `"kind":"event","system_id"`, 1)), papyra.ClassDuplicateKey, without(3)},
		"byte order mark":              {append([]byte("\xef\xbb\xbf"), testrecord.Join(l...)...), papyra.ClassCorrupted, all},
		"seal without its checksum":    {replaced(3, one[:strings.Index(one, `,"crc"`)]+"}"), papyra.ClassChecksumMismatch, without(3)},
		"wrong checksum":               {replaced(3, one[:len(one)-3]+"0\"}"), papyra.ClassChecksumMismatch, without(3)},
		"another record's checksum":    {replaced(3, one[:len(one)-10]+string(l[2][len(l[2])-10:])), papyra.ClassChecksumMismatch, without(3)},
		"two halves of two records":    {replaced(3, one[:100]+string(l[2][100:])), papyra.ClassChecksumMismatch, without(3)},
		"everything cut at both sides": {testrecord.Join(l...)[30 : len(testrecord.Join(l...))-30], "", []int{1, 2, 3, 4, 5, 6}},
	}
}

// Whatever the damage: the scan names it and changes nothing; the recovery ends
// clean, keeps every undamaged record, and conserves every byte.
func TestDamage(t *testing.T) {
	lines := testrecord.New(1).Events(8)
	for name, c := range corpus() {
		t.Run(name, func(t *testing.T) {
			f := fastFixture(t)
			f.write(c.data)
			old := time.Now().Add(-time.Hour)
			must(t, os.Chtimes(f.path, old, old))
			before, err := os.Stat(f.path)
			must(t, err)
			r := f.scan(papyra.ScanOptions{})
			if r.Clean() || c.class != "" && r.AnomalyCounts[c.class] == 0 {
				t.Errorf("scan found %v, want %s", r.AnomalyCounts, c.class)
			}
			f.recover(papyra.RecoverOptions{DryRun: true})
			after, err := os.Stat(f.path)
			must(t, err)
			if !bytes.Equal(f.bytes(), c.data) || !after.ModTime().Equal(before.ModTime()) || len(f.beside()) > 0 {
				t.Errorf("scan or dry run changed something; beside the file lie %v", f.beside())
			}
			rec := f.recover(papyra.RecoverOptions{})
			if !rec.After.Clean() {
				t.Errorf("recovery left %+v", rec.After.Anomalies)
			}
			f.checkConserved(c.data, rec)
			var want []string
			for _, i := range c.survive {
				want = append(want, string(lines[i]))
			}
			if diff := cmp.Diff(want, f.read(papyra.Query{})); diff != "" {
				t.Errorf("kept records (-want +got):\n%s", diff)
			}
			if again := f.recover(papyra.RecoverOptions{}); again.Moved != 0 {
				t.Errorf("a second recovery moved %d places", again.Moved)
			}
		})
	}
}

// A hundred megabytes without a newline are measured and moved without being
// held.
func TestLineOfHundredMegabytes(t *testing.T) {
	f := fastFixture(t)
	lines := testrecord.New(1).Events(4)
	f.write(testrecord.Join(lines[:2]...))
	const size = 100 << 20
	file, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	must(t, err)
	defer file.Close()
	start := int64(len(testrecord.Join(lines[:2]...)))
	_, err = file.WriteAt([]byte("{"), start)
	must(t, err)
	_, err = file.WriteAt(append([]byte("x\n"), testrecord.Join(lines[2:]...)...), start+size-1) // a hole lies between
	must(t, err)
	r := f.scan(papyra.ScanOptions{})
	if len(r.Anomalies) != 1 || r.Anomalies[0].Class != papyra.ClassOversize || r.Anomalies[0].Offset != start || r.Anomalies[0].Length != size || r.Anomalies[0].Line != 3 {
		t.Errorf("scan: %+v, want line 3, oversize, %d bytes at %d", r.Anomalies, size, start)
	}
	if got := f.read(papyra.Query{Limit: 3}); len(got) != 3 {
		t.Errorf("read from the end: %d records, want 3", len(got))
	}
	rec := f.recover(papyra.RecoverOptions{})
	if !rec.After.Clean() || rec.Moved != 1 || rec.MovedBytes != size+1 {
		t.Errorf("recover: %+v", rec)
	}
	if diff := cmp.Diff(text(lines), f.read(papyra.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Leftovers of acts that did not finish, ours and the Python implementation's,
// are found and moved away; the neighbours are none of our business.
func TestLeftovers(t *testing.T) {
	f := newFixture(t)
	f.store(testrecord.New(1).Events(3)...)
	dir := filepath.Dir(f.path)
	ours := []string{
		".records.ndjson.tmp-0123456789abcdef", ".records.ndjson.dropping-0123456789abcdef",
		"records.ndjson.compact.tmp", "records.ndjson.recovered.tmp",
	}
	neighbours := []string{
		"records.ndjson.1", "records.ndjson.bak", "records.ndjson2", "records.ndjson.compact.tmp.old", ".records.ndjson.tmp-xyz",
		".records.ndjson.tmp-0123456789ABCDEF", "records.ndjson.quarantine.x", "records.ndjson.quarantine.1700000000000", // the latter of a finished act
		".records.ndjson.rejected", "records.ndjson.7.compact.tmp",
	}
	for _, name := range slices.Concat(ours, neighbours) {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("bytes of "+name), 0o600))
	}
	r := f.scan(papyra.ScanOptions{})
	if r.AnomalyCounts[papyra.ClassLeftover] != int64(len(ours)) || len(r.AnomalyCounts) != 1 {
		t.Fatalf("scan: %+v", r.Anomalies)
	}
	rec := f.recover(papyra.RecoverOptions{})
	if rec.Moved != int64(len(ours)) || !rec.After.Clean() {
		t.Errorf("recover: %+v, left %+v", rec, rec.After.Anomalies)
	}
	saved, err := testrecord.ReadAct(rec.Quarantine)
	must(t, err)
	for _, s := range saved {
		if string(s.Bytes) != "bytes of "+s.File || s.Class != string(papyra.ClassLeftover) {
			t.Errorf("quarantine holds %+v", s)
		}
	}
	for _, name := range ours {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range neighbours {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != "bytes of "+name {
			t.Errorf("%s was touched: %q, %v", name, data, err)
		}
	}
	if got := f.read(papyra.Query{}); len(got) != 3 {
		t.Errorf("%d records, want 3", len(got))
	}
}

// A leftover that is no file is reported and left.
func TestLeftoverThatIsASymlink(t *testing.T) {
	f := newFixture(t)
	f.write(append(testrecord.Join(testrecord.New(1).Events(3)...), "junk\n"...))
	victim := filepath.Join(filepath.Dir(f.path), "victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o600))
	must(t, os.Symlink(victim, filepath.Join(filepath.Dir(f.path), ".records.ndjson.tmp-0123456789abcdef")))
	rec := f.recover(papyra.RecoverOptions{})
	if rec.Moved != 1 || rec.After.AnomalyCounts[papyra.ClassUnexpectedFile] != 1 {
		t.Errorf("recover: %+v, left %+v", rec, rec.After.AnomalyCounts)
	}
	if data, _ := os.ReadFile(victim); string(data) != "precious" {
		t.Errorf("the victim holds %q", data)
	}
}

// A record inside another one's payload does not become one of its own when the
// outer one is damaged.
func TestRecordInAPayloadStaysThere(t *testing.T) {
	f := newFixture(t)
	inner := testrecord.New(1).Event()
	id, err := papyra.NewIdentityRun("outer", "0000000000000002")
	must(t, err)
	var enc papyra.Encoder
	must(t, enc.DeadLetter(id, "orders", &papyra.DeadLetter{MessageType: "m", Payload: rawJSON(inner), Time: testrecord.Start}, nil, testrecord.Start))
	outer := bytes.TrimSuffix(enc.AppendLine(nil, 1), []byte("\n"))
	if !bytes.Contains(outer, inner) {
		t.Fatalf("the payload is not embedded as it is: %s", outer)
	}
	flipped := bytes.Clone(outer)
	flipped[bytes.Index(flipped, []byte("dead"))] ^= 1
	f.write(testrecord.Join(flipped))
	rec := f.recover(papyra.RecoverOptions{})
	if got := f.read(papyra.Query{}); len(got) != 0 || rec.Moved != 1 {
		t.Errorf("recovery made %q of a damaged record's payload", got)
	}
}

// rawJSON is JSON that is written as it is.
type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// The store that a query sees is the one at the beginning.
func TestReadEndsAtItsBeginning(t *testing.T) {
	f := newFixture(t)
	src := testrecord.New(1)
	a := f.appender()
	f.append(a, src.Events(10)...)
	for _, q := range []papyra.Query{{}, {Reverse: true}, {Limit: 100}} {
		n := 0
		_, err := f.Read(context.Background(), q, func(*papyra.Record, papyra.Place) error {
			n++
			f.append(a, src.Event())
			return nil
		})
		if want := len(f.read(papyra.Query{})) - n; err != nil || n != want {
			t.Errorf("%+v: %d records, want %d, error %v", q, n, want, err)
		}
	}
}
