package papyra

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// framedLines are records of several kinds, systems and runs, with runs of the
// same frame among them.
func framedLines(t testing.TB) [][]byte {
	t.Helper()
	var (
		out [][]byte
		enc Encoder
		now = time.Unix(1_700_000_000, 123_456_000)
	)
	for i := range 300 {
		id, err := NewIdentityRun(fmt.Sprintf("n%d", i/40%3), fmt.Sprintf("%016d", i/30%4))
		if err != nil {
			t.Fatal(err)
		}
		system := []string{"orders", "é", "a.b"}[i/20%3]
		switch i / 10 % 4 {
		case 0, 1:
			err = enc.Event(id, system, &Event{Type: "T", Actor: Address{ID: 1}, Payload: i, Time: now.Add(time.Duration(i) * time.Second)}, nil, now)
		case 2:
			err = enc.Audit(id, system, &Audit{TotalActors: int64(i), Time: now}, now)
		case 3:
			err = enc.DeadLetter(id, system, &DeadLetter{MessageType: "M", Time: time.Unix(int64(i), 0)}, nil, now)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bytes.TrimSuffix(enc.AppendLine(nil, uint64(1)<<(i%63)), []byte("\n")))
	}
	return out
}

// Parser.Sealed and ParseSealed say the same of every line, damaged ones too.
func TestParserSealedLikeParseSealed(t *testing.T) {
	var p Parser
	rng := rand.New(rand.NewPCG(5, 5))
	check := func(line []byte) {
		t.Helper()
		var want, got Record
		ok := ParseSealed(&want, line)
		if fast := p.Sealed(&got, line); fast != ok || ok && !reflect.DeepEqual(want, got) {
			t.Fatalf("%s\nParseSealed  %v %+v\nParser.Sealed %v %+v", line, ok, want, fast, got)
		}
	}
	lines := framedLines(t)
	for _, line := range lines {
		check(line)
	}
	for range 50_000 {
		line := bytes.Clone(lines[rng.IntN(len(lines))])
		switch rng.IntN(4) {
		case 0:
			line[rng.IntN(len(line))] ^= 1 << rng.IntN(8)
		case 1:
			line = line[:rng.IntN(len(line))]
		case 2: // a foreign middle or end with a checksum that is right
			at := rng.IntN(len(line) - crcLen)
			line = append(line[:at:at], line[at+rng.IntN(len(line)-crcLen-at):len(line)-crcLen]...)
			line = reseal(line)
		case 3:
			from := lines[rng.IntN(len(lines))]
			line = reseal(append(line[:rng.IntN(len(line))], from[rng.IntN(len(from)-crcLen):len(from)-crcLen]...))
		}
		check(line)
	}
	for _, line := range []string{"", "}", `"}`, `,"crc":"00000000"}`} {
		check([]byte(line))
	}
}

// reseal appends the right checksum.
func reseal(line []byte) []byte {
	line = line[:len(line):len(line)]
	return fmt.Appendf(line, `,"crc":"%08x"}`, crc32.Checksum(line, castagnoli))
}

// Lines of one frame cost no allocation.
func TestParserSealedAllocates(t *testing.T) {
	var (
		p     Parser
		rec   Record
		lines = framedLines(t)
	)
	p.Sealed(&rec, lines[0])
	if n := testing.AllocsPerRun(100, func() { p.Sealed(&rec, lines[1]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSealed(b *testing.B) {
	line := framedLines(b)[1]
	var rec Record
	b.Run("ParseSealed", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			if !ParseSealed(&rec, line) {
				b.Fatal("not sealed")
			}
		}
	})
	b.Run("Parser", func(b *testing.B) {
		var p Parser
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			if !p.Sealed(&rec, line) {
				b.Fatal("not sealed")
			}
		}
	})
}
