package papyra

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	goodEvent  = `{"kind":"event","system_id":"orders","actor_address":{"system":"orders","actor_id":42},"event_type":"ActorCrashed","payload":{"error":"ValueError: bad input"},"timestamp":1700000000.123456}`
	goodAudit  = `{"kind":"audit","system_id":"orders","timestamp":1700000001.0,"total_actors":10,"alive_actors":9,"stopping_actors":1,"restarting_actors":0,"registry_size":3,"registry_orphans":["a"],"registry_dead":[],"dead_letters_count":2}`
	goodDead   = `{"kind":"dead_letter","system_id":"orders","target":null,"message_type":"PaymentRequest","payload":{"amount":3},"timestamp":1700000002.5}`
	goodReport = `{"kind":"report","system_id":"orders","report":"PublisherReport","payload":{},"timestamp":1700000003.0}`
)

// sealedLines returns one record of each kind as the encoder writes it.
func sealedLines(t testing.TB) []string {
	t.Helper()
	id, err := NewIdentityRun("eu-1", "k3f9x2ab7q04mzt1")
	if err != nil {
		t.Fatal(err)
	}
	now := time.UnixMicro(1700000000123456)
	var e Encoder
	var lines []string
	add := func(err error, seq uint64) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSuffix(string(e.AppendLine(nil, seq)), "\n"))
	}
	add(e.Event(id, "orders", &Event{Actor: Address{ID: 42}, Type: ActorCrashed, Payload: map[string]any{"error": "ValueError: bad input"}}, nil, now), 17)
	add(e.Audit(id, "orders", &Audit{TotalActors: 10, AliveActors: 9, StoppingActors: 1, RegistrySize: 3, RegistryOrphans: []string{"a"}, DeadLetters: 2}, now), 1)
	add(e.DeadLetter(id, "orders", &DeadLetter{MessageType: "PaymentRequest", Payload: map[string]any{"amount": 3}}, nil, now), 2)
	add(e.Report(id, "orders", &Report{Name: ReportPublisher, Payload: PublisherReport{Final: true}}, now), 3)
	return lines
}

func TestParseGood(t *testing.T) {
	for _, line := range append(sealedLines(t), goodEvent, goodAudit, goodDead, goodReport,
		" \t"+goodEvent+" \r",                                          // white space is JSON's
		strings.Replace(goodEvent, `{"kind"`, `{"x":[1,{}],"kind"`, 1), // unknown members are kept
		strings.Replace(goodEvent, `"system_id"`, `"system\u005fid"`, 1),
		strings.Replace(goodEvent, `1700000000.123456`, `1.7e9`, 1),
		strings.Replace(goodEvent, `1700000000.123456`, `1700000000`, 1),
		strings.Replace(goodEvent, `1700000000.123456`, `0`, 1),
		strings.Replace(goodEvent, `{"system":"orders","actor_id":42}`, `"orders:cart"`, 1),
		strings.Replace(goodEvent, `"ValueError: bad input"`, `"\ud83d\ude00 \u00e9\n\"\\\/"`, 1),
	) {
		rec, err := Parse([]byte(line))
		if err != nil {
			t.Errorf("Parse(%s) = %v", line, err)
			continue
		}
		if string(rec.System) != "orders" || rec.Kind == KindUnknown {
			t.Errorf("Parse(%s): system %q kind %v", line, rec.System, rec.Kind)
		}
	}
}

func TestParseFields(t *testing.T) {
	line := sealedLines(t)[0]
	rec, err := Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	addr, ok := rec.Address()
	if !ok || addr != (Address{System: "orders", ID: 42}) || addr.String() != "orders:42" {
		t.Errorf("address = %+v %v", addr, ok)
	}
	if !rec.Sealed || string(rec.Node) != "eu-1" || string(rec.Run) != "k3f9x2ab7q04mzt1" || rec.Seq != 17 {
		t.Errorf("seal = %v %s %s %d", rec.Sealed, rec.Node, rec.Run, rec.Seq)
	}
	if string(rec.Type) != ActorCrashed || string(rec.Payload) != `{"error":"ValueError: bad input"}` || rec.Time != 1700000000123456 {
		t.Errorf("type %s payload %s time %d", rec.Type, rec.Payload, rec.Time)
	}
}

// TestParseRejects holds a case for each class and each known mistake of other readers.
func TestParseRejects(t *testing.T) {
	sealed := sealedLines(t)[0]
	swap := func(old, with string) string {
		if !strings.Contains(goodEvent, old) {
			t.Fatalf("the good event lacks %q", old)
		}
		return strings.Replace(goodEvent, old, with, 1)
	}
	for _, c := range []struct {
		name, line string
		class      Class
	}{
		{"empty", "", ClassCorrupted},
		{"blank", "  ", ClassCorrupted},
		{"number", "12", ClassCorrupted},
		{"string", `"x"`, ClassCorrupted},
		{"array", "[]", ClassCorrupted},
		{"empty object", "{}", ClassMissingField},
		{"junk", "hello", ClassCorrupted},
		{"cut", goodEvent[:40], ClassTruncated},
		{"cut within a number", goodEvent[:len(goodEvent)-1], ClassTruncated},
		{"cut within a character", `{"kind":"` + "\xc3", ClassTruncated},
		{"trailing bytes", goodEvent + "x", ClassCorrupted},
		{"two records", goodEvent + goodEvent, ClassCorrupted},
		{"byte order mark", "\xef\xbb\xbf" + goodEvent, ClassCorrupted},
		{"invalid UTF-8", swap("bad", "b\xffd"), ClassInvalidUTF8},
		{"invalid UTF-8 outside a string", "\xff" + goodEvent, ClassInvalidUTF8},
		{"overlong UTF-8", swap("bad", "\xc0\xaf"), ClassInvalidUTF8},
		{"surrogate in UTF-8", swap("bad", "\xed\xa0\x80"), ClassInvalidUTF8},
		{"first half alone", swap("bad", `\ud800`), ClassInvalidUTF8},
		{"second half alone", swap("bad", `\udc00`), ClassInvalidUTF8},
		{"halves swapped", swap("bad", `\udc00\ud800`), ClassInvalidUTF8},
		{"NULs", "\x00\x00\x00", ClassNULRun},
		{"NULs behind a cut", goodEvent[:30] + "\x00\x00", ClassNULRun},
		{"NaN", swap(`{"error":"ValueError: bad input"}`, "NaN"), ClassCorrupted},
		{"Infinity", swap(`{"error":"ValueError: bad input"}`, "-Infinity"), ClassCorrupted},
		{"control character", swap("bad", "b\x01d"), ClassCorrupted},
		{"bad escape", swap("bad", `\x`), ClassCorrupted},
		{"leading zero", swap("42", "042"), ClassCorrupted},
		{"trailing comma", swap("42}", "42,}"), ClassCorrupted},
		{"duplicate", swap(`{"kind"`, `{"kind":"audit","kind"`), ClassDuplicateKey},
		{"duplicate by escape", swap(`{"kind"`, `{"k\u0069nd":"event","kind"`), ClassDuplicateKey},
		{"duplicate that means nothing", swap(`{"kind"`, `{"a":1,"a":2,"kind"`), ClassDuplicateKey},
		{"case matters", swap(`"kind"`, `"Kind"`), ClassMissingField},
		{"no system", swap(`"system_id":"orders",`, ``), ClassMissingField},
		{"empty system", swap(`"system_id":"orders"`, `"system_id":""`), ClassMissingField},
		{"system with a control character", swap(`"system_id":"orders"`, `"system_id":"a\u0007"`), ClassMissingField},
		{"system that is a number", swap(`"system_id":"orders"`, `"system_id":7`), ClassMissingField},
		{"no payload", swap(`"payload":{"error":"ValueError: bad input"},`, ``), ClassMissingField},
		{"type that is a number", swap(`"ActorCrashed"`, `3`), ClassMissingField},
		{"timestamp is a string", swap("1700000000.123456", `"1700000000"`), ClassBadTimestamp},
		{"no timestamp", swap(`,"timestamp":1700000000.123456`, ``), ClassMissingField},
		{"negative timestamp", swap("1700000000.123456", "-1"), ClassBadTimestamp},
		{"endless timestamp", swap("1700000000.123456", "1e400"), ClassBadTimestamp},
		{"timestamp in milliseconds", swap("1700000000.123456", "1700000000123"), ClassBadTimestamp},
		{"part of a seal", swap(`{"kind"`, `{"run":"x","kind"`), ClassChecksumMismatch},
		{"seal with a wrong checksum", sealed[:len(sealed)-3] + `z"}`, ClassChecksumMismatch},
		{"seal not at the end", strings.TrimSuffix(sealed, "}") + `,"x":1}`, ClassChecksumMismatch},
		{"nested too deeply", swap(`{"error":"ValueError: bad input"}`, strings.Repeat("[", 64)+strings.Repeat("]", 64)), ClassCorrupted},
		{"100,000 levels", strings.Repeat(`{"a":`, 100_000), ClassCorrupted},
		{"oversize", swap("bad", strings.Repeat("x", MaxStoredLine)), ClassOversize},
	} {
		_, err := Parse([]byte(c.line))
		var le *LineError
		if !errors.As(err, &le) || le.Class != c.class {
			t.Errorf("%s: Parse(%.120q) = %v, want class %s", c.name, c.line, err, c.class)
		}
	}
}

func TestParseDepthLimit(t *testing.T) {
	deepest := strings.Replace(goodEvent, `{"error":"ValueError: bad input"}`, strings.Repeat("[", MaxDepth-1)+strings.Repeat("]", MaxDepth-1), 1)
	if _, err := Parse([]byte(deepest)); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
}

func TestParseUnknownKindIsNoDamage(t *testing.T) {
	rec, err := Parse([]byte(`{"kind":"metric","system_id":"orders","timestamp":1}`))
	if err != nil || rec.Kind != KindUnknown {
		t.Errorf("got %v, %v", rec.Kind, err)
	}
}

// TestOrderOfMembersMeansNothing shuffles the members of each kind, with and
// without foreign ones and spaces, and wants the same record.
func TestOrderOfMembersMeansNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, line := range []string{goodEvent, goodAudit, goodDead, goodReport} {
		want, err := Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &members); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			var parts []string
			for name, value := range members {
				colon := []string{":", ": ", " :"}[rnd.IntN(3)]
				parts = append(parts, `"`+name+`"`+colon+string(value))
			}
			if rnd.IntN(2) == 0 {
				parts = append(parts, `"kinds":1`, `"x":{"kind":"audit"}`)
			}
			rnd.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			shuffled := "{" + strings.Join(parts, []string{",", ", "}[rnd.IntN(2)]) + "}"
			got, err := Parse([]byte(shuffled))
			if err != nil || got.Kind != want.Kind || string(got.System) != string(want.System) || got.Time != want.Time ||
				string(got.Type) != string(want.Type) || string(got.Actor) != string(want.Actor) || string(got.Payload) != string(want.Payload) {
				t.Fatalf("%s\ngot  %+v, %v\nwant %+v", shuffled, got, err, want)
			}
		}
	}
}

func TestParseManyOtherMembers(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{`)
	for i := range 100 {
		b.WriteString(`"m` + string(rune('A'+i/10)) + string(rune('0'+i%10)) + `":1,`)
	}
	line := b.String() + goodEvent[1:]
	if _, err := Parse([]byte(line)); err != nil {
		t.Errorf("100 members: %v", err)
	}
	twice := b.String() + `"mJ9":2,` + goodEvent[1:]
	var le *LineError
	if _, err := Parse([]byte(twice)); !errors.As(err, &le) || le.Class != ClassDuplicateKey {
		t.Errorf("duplicate among 100 members: %v", err)
	}
}

// TestParseRewritten takes a line as a rewrite by Python's json module leaves
// it, with its identity; that its checksum is wrong is no damage.
func TestParseRewritten(t *testing.T) {
	line := `{"kind": "event", "system_id": "orders", "actor_address": "orders:cart", "event_type": "ActorStarted", "payload": {}, "timestamp": 1700000000.5, "node": "eu-1", "run": "k3f9x2ab7q04mzt1", "seq": 17, "crc": "1a2b3c4d"}`
	rec, err := Parse([]byte(line))
	if err != nil || rec.Sealed || rec.Seq != 17 || string(rec.Run) != "k3f9x2ab7q04mzt1" {
		t.Errorf("got %+v, %v", rec, err)
	}
	// Three of the four are damage, whatever the spacing.
	partial := strings.Replace(line, `, "seq": 17`, ``, 1)
	var le *LineError
	if _, err := Parse([]byte(partial)); !errors.As(err, &le) || le.Class != ClassChecksumMismatch {
		t.Errorf("partial: %v", err)
	}
}

// TestNoFlipGoesUnseen flips every bit of sealed lines: none of the results may
// be taken for a sealed record, nor for an unsealed one.
func TestNoFlipGoesUnseen(t *testing.T) {
	for _, line := range sealedLines(t) {
		for i := range len(line) * 8 {
			b := []byte(line)
			b[i/8] ^= 1 << (i % 8)
			if rec, err := Parse(b); err == nil {
				t.Fatalf("bit %d of %s: parsed as %+v", i, line, rec)
			}
			var rec Record
			if CheckSeal(b) || ParseSealed(&rec, b) {
				t.Fatalf("bit %d of %s: the seal verifies", i, line)
			}
		}
	}
}

// TestNoCutGoesUnseen cuts sealed lines at every byte.
func TestNoCutGoesUnseen(t *testing.T) {
	for _, line := range sealedLines(t) {
		for i := range line {
			if _, err := Parse([]byte(line[:i])); err == nil {
				t.Fatalf("cut at %d of %s: parsed", i, line)
			}
		}
	}
}

func TestParseSealedAgreesWithParse(t *testing.T) {
	for _, line := range sealedLines(t) {
		want, err := Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		var got Record
		if !ParseSealed(&got, []byte(line)) {
			t.Fatalf("ParseSealed(%s) = false", line)
		}
		if got.Kind != want.Kind || string(got.System) != string(want.System) || got.Time != want.Time ||
			string(got.Run) != string(want.Run) || string(got.Node) != string(want.Node) || got.Seq != want.Seq || !got.Sealed {
			t.Errorf("got %+v want %+v", got, want)
		}
	}
	var rec Record
	for _, line := range []string{goodEvent, "", "{", `{"kind":"event"`} {
		if ParseSealed(&rec, []byte(line)) {
			t.Errorf("ParseSealed(%q) = true", line)
		}
	}
}

// TestParseSealedFindsTheTimestamp writes timestamps of many lengths behind
// payloads that look like a part of one.
func TestParseSealedFindsTheTimestamp(t *testing.T) {
	id := testIdentity(t)
	var (
		e Encoder
		p Parser
	)
	for _, payload := range []any{1, 12, 123456, 1.5, 1700000000.123456, "1", []int{1}, nil} {
		for _, micros := range []int64{0, 1, 5_000_000, 35_500_000, 123_456_789, 999_999_999_999_999, 1_700_000_000_000_000, 1_700_000_000_123_456, maxTime - 1} {
			ev := Event{Actor: Address{ID: 1}, Type: "T", Payload: payload, Time: time.UnixMicro(micros)}
			if err := e.Event(id, "orders", &ev, nil, testNow); err != nil {
				t.Fatal(err)
			}
			line := bytes.TrimSuffix(e.AppendLine(nil, 1), []byte("\n"))
			var rec Record
			if !ParseSealed(&rec, line) || rec.Time != micros {
				t.Errorf("%s: time %d", line, rec.Time)
			}
			for range 2 { // the second time behind its own like
				if !p.Sealed(&rec, line) || rec.Time != micros {
					t.Errorf("%s: the parser's time is %d", line, rec.Time)
				}
			}
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	line := []byte(sealedLines(t)[0])
	var rec Record
	if n := testing.AllocsPerRun(100, func() {
		if err := ParseInto(&rec, line); err != nil {
			t.Fatal(err)
		}
		if !ParseSealed(&rec, line) {
			t.Fatal("not sealed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse wants that Parse never panics, that what it takes is valid JSON, and
// that the fast path takes nothing that the full one refuses if its text was
// written by the encoder.
func FuzzParse(f *testing.F) {
	for _, s := range append(sealedLines(f), goodEvent, goodAudit, goodDead, goodReport) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		rec, err := Parse(line)
		var fast Record
		_ = ParseSealed(&fast, line)
		if err != nil {
			return
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("Parse took %q, encoding/json says %v", line, err)
		}
		var system string
		if err := json.Unmarshal(m["system_id"], &system); err != nil || system != string(rec.System) {
			t.Fatalf("system %q, encoding/json reads %q (%v)", rec.System, system, err)
		}
		rec.Address()
	})
}

func BenchmarkParse(b *testing.B) {
	line := []byte(sealedLines(b)[0])
	var rec Record
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if err := ParseInto(&rec, line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseSealed(b *testing.B) {
	line := []byte(sealedLines(b)[0])
	var rec Record
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		ParseSealed(&rec, line)
	}
}

func BenchmarkJSONValid(b *testing.B) {
	line := []byte(sealedLines(b)[0])
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		json.Valid(line)
	}
}
