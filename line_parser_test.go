package papyra

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/papyra/papyra/internal/checksum"
)

// sameAsParse wants that p says of line what Parse says: the record, or the
// error with its class and place.
func sameAsParse(t *testing.T, p *Parser, line []byte) error {
	t.Helper()
	want, wantErr := Parse(line)
	var got Record
	// Rubbish of a line before must not shine through.
	got.Type, got.Actor, got.Payload, got.Node, got.Run, got.Seq, got.Sealed = line, line, line, line, line, 7, true
	err := p.Parse(&got, line)
	if !reflect.DeepEqual(err, wantErr) || err == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q behind %q\nParse  %+v, %v\nParser %+v, %v", line, p.shape.line, want, wantErr, got, err)
	}
	return err
}

// parserLines are lines of many shapes: each kind with and without a seal, in
// other spellings, with members that mean nothing.
func parserLines(t testing.TB) [][]byte {
	lines := framedLines(t)[:80]
	for _, s := range append(sealedLines(t), goodEvent, goodAudit, goodDead, goodReport,
		" \t"+goodEvent+" \r",
		strings.ReplaceAll(strings.ReplaceAll(goodEvent, ",", ", "), ":", ": "),
		strings.ReplaceAll(goodAudit, ",", "\t,\t"),
		strings.Replace(goodEvent, `{"kind"`, `{"x":[1,{"kind":"y"},null,true,false,-1.5e3],"y":"","kind"`, 1),
		strings.Replace(goodEvent, `"system_id"`, `"system\u005fid"`, 1),
		strings.Replace(goodEvent, `"orders","actor_address"`, `"ord\u0065rs","actor_address"`, 1),
		strings.Replace(goodEvent, `{"system":"orders","actor_id":42}`, `"orders:cart"`, 1),
		strings.Replace(goodEvent, `{"error":"ValueError: bad input"}`, `"a text"`, 1),
		strings.Replace(goodEvent, `{"error":"ValueError: bad input"}`, `12`, 1),
		strings.Replace(goodEvent, `{"error":"ValueError: bad input"}`, `["\u00e9",1,2,[],{}]`, 1),
		strings.Replace(goodEvent, `"event","system`, `"metric","system`, 1),
		`{"timestamp":1,"kind":"report","payload":null,"system_id":"a","report":"R"}`,
		`{"kind": "event", "system_id": "orders", "actor_address": "orders:cart", "event_type": "ActorStarted", "payload": {}, "timestamp": 1700000000.5, "node": "eu-1", "run": "k3f9x2ab7q04mzt1", "seq": 17, "crc": "1a2b3c4d"}`,
	) {
		lines = append(lines, []byte(s))
	}
	return lines
}

var (
	aScalar = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*`)
	aLetter = []byte("{}[]\",:\\u0019aeE+-. \n\t\x00\x1f\xc3\xa9\xff truefalsnd8")
	others  = []string{
		`""`, `"a"`, `"orders"`, `"a longer text than the other one was"`, `"\u0041"`, `"\ud800"`, `"é"`, "\"\xff\"", "\"\x01\"", `"event"`, `"audit"`, `"kind"`,
		`0`, `1`, `-1`, `01`, `1.`, `1.5`, `1e400`, `12345678`, `123456789012345678`, `18446744073709551616`, `1700000000.123456`, `1700000000.1234567`, `253402300800`,
		`null`, `true`, `{}`, `[]`, `{"kind":1,"kind":2}`, strings.Repeat("[", 63) + strings.Repeat("]", 63), strings.Repeat("[", 64) + strings.Repeat("]", 64), ``, ` `,
		`"0000000000000001"`, `"eu-1"`, `"00000000"`, `"n/1"`,
	}
)

// mutate changes a line a little: mostly so that it keeps its shape.
func mutate(rng *rand.Rand, lines [][]byte, line []byte) []byte {
	line = bytes.Clone(line)
	for range 1 + rng.IntN(3) {
		if len(line) == 0 {
			break
		}
		at := rng.IntN(len(line))
		switch rng.IntN(9) {
		case 0:
			line[at] ^= 1 << rng.IntN(8)
		case 1:
			line = line[:at]
		case 2:
			line[at] = aLetter[rng.IntN(len(aLetter))]
		case 3:
			line = append(line[:at:at], append([]byte{aLetter[rng.IntN(len(aLetter))]}, line[at:]...)...)
		case 4: // the end of another
			from := lines[rng.IntN(len(lines))]
			line = append(line[:at:at], from[rng.IntN(len(from)):]...)
		case 5: // a member twice, or one more
			name := memberNames[1+rng.IntN(int(memberCount)-1)]
			line = bytes.Replace(line, []byte(`,"`), fmt.Appendf(nil, `,"%s":%s,"`, name, others[rng.IntN(len(others))]), 1+rng.IntN(2))
		default: // another scalar in the place of one
			all := aScalar.FindAllIndex(line, -1)
			if len(all) > 0 {
				s := all[rng.IntN(len(all))]
				line = append(line[:s[0]:s[0]], append([]byte(others[rng.IntN(len(others))]), line[s[1]:]...)...)
			}
		}
	}
	if rng.IntN(2) == 0 { // what follows from it where the checksum is right
		if i := bytes.LastIndex(line, []byte(checksum.TailStart)); i >= 0 {
			line = reseal(line[:i])
		}
	}
	return line
}

// A Parser and Parse say the same of every line, whatever came before.
func TestParserLikeParse(t *testing.T) {
	var (
		p     Parser
		rng   = rand.New(rand.NewPCG(7, 7))
		lines = parserLines(t)
		seen  [sameShape + 1]int
		good  [sameShape + 1]int
	)
	n := 30_000
	if os.Getenv("PAPYRA_LONG") != "" {
		n = 100_000
	}
	for range n / 40 {
		base := lines[rng.IntN(len(lines))]
		for range rng.IntN(2) * patience { // half of the time behind its own like
			sameAsParse(t, &p, base)
		}
		for range 40 {
			line := base
			switch rng.IntN(8) {
			case 0:
			case 1:
				line = lines[rng.IntN(len(lines))]
			default:
				line = mutate(rng, lines, base)
			}
			var rec Record
			like := p.shape.matchLine(&rec, line)
			seen[like]++
			if sameAsParse(t, &p, line) == nil {
				good[like]++
			}
		}
	}
	// Without enough of each the test says little.
	if good[otherShape] < n/100 || good[sameNames] < n/200 || good[sameShape] < n/20 {
		t.Errorf("of %d lines so many had another shape, the same names, the same shape, and were right: %v of %v", n, good, seen)
	}
}

// No bit of a sealed line can flip unseen behind the line itself, and no cut.
func TestParserSeesEveryFlip(t *testing.T) {
	for _, s := range sealedLines(t) {
		var p Parser
		line := []byte(s)
		sameAsParse(t, &p, line)
		for i := range len(line) * 8 {
			line[i/8] ^= 1 << (i % 8)
			if sameAsParse(t, &p, line) == nil {
				t.Fatalf("bit %d of %s: parsed", i, s)
			}
			line[i/8] ^= 1 << (i % 8)
		}
		for i := range line {
			sameAsParse(t, &p, line[:i])
		}
	}
}

// What a Parser remembers is bounded, whatever it is fed.
func TestParserRemembersLittle(t *testing.T) {
	var p Parser
	for _, payload := range []string{
		strings.Repeat("1,", maxShape/2), strings.Repeat(`{"":0},`, maxShape/7), strings.Repeat("1,", maxShape),
	} {
		line := strings.Replace(goodEvent, `{"error":"ValueError: bad input"}`, "["+payload+"1]", 1)
		for cut := 0; cut < 400; cut += 10 { // so that one of them just fits
			short := []byte(strings.Replace(line, payload[:cut], "", 1))
			for range patience {
				sameAsParse(t, &p, short)
			}
		}
	}
	s := &p.shape
	if n := cap(s.line) + 8*cap(s.scalars) + 12*cap(s.values) + 8*cap(s.places); n > 64<<10 {
		t.Errorf("holds %d bytes", n)
	}
}

func FuzzParser(f *testing.F) {
	lines := parserLines(f)
	for i, line := range lines {
		f.Add(line, lines[(i+1)%len(lines)])
		f.Add(line, mutate(rand.New(rand.NewPCG(1, uint64(i))), lines, line))
	}
	f.Fuzz(func(t *testing.T, before, line []byte) {
		var p Parser
		sameAsParse(t, &p, before)
		sameAsParse(t, &p, line)
		if end := len(line) - checksum.TailLen; end > 0 {
			sameAsParse(t, &p, reseal(line[:end]))
		}
		for range patience {
			sameAsParse(t, &p, line)
		}
		sameAsParse(t, &p, before)
	})
}

func TestAllocationsOfParser(t *testing.T) {
	var (
		p     Parser
		rec   Record
		lines = framedLines(t)[:10]
	)
	if n := testing.AllocsPerRun(100, func() {
		for _, line := range lines {
			if err := p.Parse(&rec, line); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParser(b *testing.B) {
	lines := framedLines(b)[:10]
	var (
		p   Parser
		rec Record
	)
	b.SetBytes(int64(len(lines[0])))
	for i := 0; b.Loop(); i++ {
		if err := p.Parse(&rec, lines[i%len(lines)]); err != nil {
			b.Fatal(err)
		}
	}
}
