package pipeline

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
)

// sealedLines returns n sealed events, each with its newline.
func sealedLines(t *testing.T, n int) [][]byte {
	t.Helper()
	id, err := papyra.NewIdentityRun("eu-1", "k3f9x2ab7q04mzt1")
	if err != nil {
		t.Fatal(err)
	}
	var e papyra.Encoder
	var out [][]byte
	for i := range n {
		if err := e.Event(id, "orders", &papyra.Event{Actor: papyra.Address{ID: int64(i)}, Type: papyra.ActorStarted, Payload: i},
			nil, time.Unix(1_700_000_000, 0)); err != nil {
			t.Fatal(err)
		}
		out = append(out, e.AppendLine(nil, uint64(i+1)))
	}
	return out
}

// flip returns a line with one bit of the byte at i turned over.
func flip(line []byte, i int) []byte {
	line = bytes.Clone(line)
	line[i] ^= 1
	return line
}

// TestDamageIsFoundAndMovedAway damages a file in every way, and lets the tools
// find each place, change nothing while they look, and move exactly the damage.
func TestDamageIsFoundAndMovedAway(t *testing.T) {
	good := sealedLines(t, 12)
	huge := 20 << 20 // many times the longest line, over several blocks of a scan
	if testkit.Long() {
		huge = 100 << 20
	}
	cut := func(b []byte, n int) []byte { return b[:n] }
	type piece struct {
		class papyra.Class // "" for a good line
		bytes []byte       // with the newline
	}
	var file []piece
	ok := func(i int) { file = append(file, piece{"", good[i]}) }
	bad := func(class papyra.Class, line []byte) {
		file = append(file, piece{class, append(bytes.Clone(line), '\n')})
	}
	ok(0)
	bad(papyra.ClassTruncated, cut(good[1], 70))
	ok(1)
	bad(papyra.ClassChecksumMismatch, flip(cut(good[2], len(good[2])-1), bytes.Index(good[2], []byte(`"payload":`))+10)) // 2 becomes 3
	ok(2)
	bad(papyra.ClassChecksumMismatch, flip(cut(good[3], len(good[3])-1), len(good[3])-5)) // in the checksum itself
	ok(3)
	bad(papyra.ClassNULRun, make([]byte, 4096))
	ok(4)
	bad(papyra.ClassCorrupted, []byte("hello, operator"))
	ok(5)
	bad(papyra.ClassInvalidUTF8, bytes.Replace(cut(good[6], len(good[6])-1), []byte(`orders`), []byte("ord\xffrs"), 1))
	ok(6)
	bad(papyra.ClassOversize, bytes.Repeat([]byte("x"), huge))
	ok(7)
	bad(papyra.ClassDuplicateKey, []byte(`{"kind":"event","kind":"event","system_id":"orders","actor_address":"a:1","event_type":"x","payload":{},"timestamp":1}`))
	ok(8)
	bad(papyra.ClassMissingField, []byte(`{"kind":"event","timestamp":1}`))
	ok(9)
	bad(papyra.ClassBadTimestamp, []byte(`{"kind":"event","system_id":"orders","actor_address":"a:1","event_type":"x","payload":{},"timestamp":"1"}`))
	ok(10)
	file = append(file, piece{papyra.ClassTruncated, cut(good[11], 40)}) // the end, without a newline

	path := filepath.Join(t.TempDir(), "records.ndjson")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := sha256.New()
	var kept []byte
	want := map[papyra.Class]int64{}
	for _, p := range file {
		if _, err := out.Write(p.bytes); err != nil {
			t.Fatal(err)
		}
		whole.Write(p.bytes)
		if p.class == "" {
			kept = append(kept, p.bytes...)
		} else {
			want[p.class]++
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}

	// Scan names every place and changes nothing.
	before := state(t, filepath.Dir(path))
	var found struct {
		Exit      int              `json:"exit"`
		Anomalies []papyra.Anomaly `json:"anomalies"`
	}
	answer := ctl(t, 2, "scan", "--full", "--output", "json", "--backend", "json:"+path)
	if err := json.Unmarshal(answer, &found); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	offset, i := int64(0), 0
	for n, p := range file {
		if p.class != "" && i < len(found.Anomalies) {
			if a := found.Anomalies[i]; a.Class != p.class || a.Offset != offset || a.Line != int64(n+1) {
				t.Errorf("place %d: got %s in line %d at %d, want %s in line %d at %d", i, a.Class, a.Line, a.Offset, p.class, n+1, offset)
			}
			i++
		}
		offset += int64(len(p.bytes))
	}
	if found.Exit != 2 || len(found.Anomalies) != i {
		t.Errorf("scan: exit %d with %d places, want 2 with %d: %s", found.Exit, len(found.Anomalies), i, answer)
	}
	ctl(t, 2, "recover", "--mode", "quarantine", "--quarantine-dir", filepath.Join(t.TempDir(), "q"), "--dry-run", "--backend", "json:"+path)
	if after := state(t, filepath.Dir(path)); after != before {
		t.Errorf("looking changed something\nbefore: %s\nafter:  %s", before, after)
	}

	// Recover keeps what is good and quarantines the rest; together they are the
	// original.
	quarantine := filepath.Join(t.TempDir(), "quarantine")
	ctl(t, 0, "recover", "--mode", "quarantine", "--quarantine-dir", quarantine, "--backend", "json:"+path)
	ctl(t, 0, "scan", "--full", "--backend", "json:"+path)
	var rest []byte
	for _, r := range load(t, path).of("orders", papyra.KindEvent) {
		rest = append(append(rest, r.Line...), '\n')
	}
	if !bytes.Equal(rest, kept) {
		t.Errorf("recover kept %d bytes of records, want %d", len(rest), len(kept))
	}
	if got, want := conserved(t, quarantine, kept), whole.Sum(nil); !bytes.Equal(got, want) {
		t.Errorf("kept and quarantined bytes are not the original: digest %x, want %x", got, want)
	}
}

// state names the files of a directory with their sizes, times and modes.
func state(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %s %s; ", e.Name(), info.Size(), info.ModTime().Format(time.RFC3339Nano), info.Mode())
	}
	return b.String()
}

// conserved puts the quarantined bytes back between the kept ones, in offset
// order and without the newlines that the index calls inserted, and returns the
// digest of the result.
func conserved(t *testing.T, quarantine string, kept []byte) []byte {
	t.Helper()
	acts, err := os.ReadDir(quarantine)
	if err != nil {
		t.Fatal(err)
	}
	if len(acts) != 1 {
		t.Fatalf("quarantine has %d acts, want 1", len(acts))
	}
	act := filepath.Join(quarantine, acts[0].Name())
	data, err := os.ReadFile(filepath.Join(act, "bytes"))
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.Open(filepath.Join(act, "index.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	type entry struct {
		Offset   int64  `json:"offset"`
		Length   int64  `json:"length"`
		Class    string `json:"class"`
		SHA256   string `json:"sha256"`
		Inserted int64  `json:"inserted_newlines"`
		bytes    []byte
	}
	var entries []entry
	for lines := bufio.NewScanner(index); lines.Scan(); {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		if int64(len(data)) < e.Length {
			t.Fatalf("the index tells of more bytes than there are: %+v", e)
		}
		e.bytes, data = data[:e.Length], data[e.Length:]
		if got := fmt.Sprintf("%x", sha256.Sum256(e.bytes)); got != e.SHA256 {
			t.Errorf("digest of the place at %d: got %s, want %s", e.Offset, got, e.SHA256)
		}
		entries = append(entries, e)
	}
	if len(data) > 0 {
		t.Errorf("%d quarantined bytes are in no index", len(data))
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.Offset, b.Offset) })

	digest := sha256.New()
	at := int64(0)
	for _, e := range entries {
		if n := e.Offset - at; n > 0 {
			digest.Write(kept[:n])
			kept = kept[n:]
			at += n
		}
		own := e.bytes[:int64(len(e.bytes))-e.Inserted]
		digest.Write(own)
		at += int64(len(own))
	}
	digest.Write(kept)
	return digest.Sum(nil)
}
