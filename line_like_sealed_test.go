package papyra

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/papyra/papyra/internal/checksum"
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

// mutateSealed returns one of the lines with something wrong or unusual in it.
func mutateSealed(rng *rand.Rand, lines [][]byte) []byte {
	line := bytes.Clone(lines[rng.IntN(len(lines))])
	switch rng.IntN(4) {
	case 0:
		line[rng.IntN(len(line))] ^= 1 << rng.IntN(8)
	case 1:
		line = line[:rng.IntN(len(line))]
	case 2: // a foreign middle or end with a checksum that is right
		at := rng.IntN(len(line) - checksum.TailLen)
		line = append(line[:at:at], line[at+rng.IntN(len(line)-checksum.TailLen-at):len(line)-checksum.TailLen]...)
		line = reseal(line)
	case 3:
		from := lines[rng.IntN(len(lines))]
		line = reseal(append(line[:rng.IntN(len(line))], from[rng.IntN(len(from)-checksum.TailLen):len(from)-checksum.TailLen]...))
	}
	return line
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
		check(mutateSealed(rng, lines))
	}
	for _, line := range []string{"", "}", `"}`, `,"crc":"00000000"}`} {
		check([]byte(line))
	}
}

// reseal appends the right checksum.
func reseal(line []byte) []byte {
	line = line[:len(line):len(line)]
	return fmt.Appendf(line, `,"crc":"%08x"}`, checksum.Of(line))
}

// A line may have the frame of the last one and nothing but a number between its
// system and its seal, as long as a timestamp. It is no record, and no panic.
func TestParserSealedWithoutAnyMember(t *testing.T) {
	var (
		p   Parser
		rec Record
	)
	if !p.Sealed(&rec, framedLines(t)[0]) {
		t.Fatal("not sealed")
	}
	f := &p.frame
	for n := range 20 {
		line := append(bytes.Clone(f.head), "12345678901234567890"[:n]...)
		line = reseal(append(append(line, f.tail...), "17"...))
		if p.Sealed(&rec, line) {
			t.Errorf("%s is taken for a record", line)
		}
		p.Sealed(&rec, framedLines(t)[0])
	}
}

// Parser.SealedLines counts only what ParseSealed takes line by line, adds it up
// rightly, and hardly ever leaves a line that it could have counted.
func TestParserSealedLinesLikeParseSealed(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	lines := framedLines(t)
	var counted, left int
	for range 300 {
		var block []byte
		for _, line := range lines {
			if rng.IntN(20) == 0 {
				line = mutateSealed(rng, lines)
			}
			block = append(append(block, line...), '\n')
		}
		block = block[:len(block)-rng.IntN(2)] // the last line may lack its newline
		latest := time.Unix(1_700_000_000, 0).Add(time.Duration(rng.IntN(600)) * time.Second).UnixMicro()
		var p Parser
		for len(block) > 0 {
			line, rest, _ := bytes.Cut(block, []byte("\n"))
			block = rest
			var last Record
			if !p.Sealed(&last, line) {
				if got := p.SealedLines(block, latest); got.Lines > 0 {
					t.Fatalf("%d lines behind one that Sealed does not take", got.Lines)
				}
				continue
			}
			got := p.SealedLines(block, latest)
			want := Stretch{Oldest: math.MaxInt64, Newest: math.MinInt64}
			for range got.Lines {
				var rec Record
				line, rest, ended := bytes.Cut(block, []byte("\n"))
				if !ended || !ParseSealed(&rec, line) || rec.Time > latest || !rec.HasDate() || rec.Kind != last.Kind ||
					string(rec.System) != string(last.System) || string(rec.Run) != string(last.Run) {
					t.Fatalf("counted, behind %s:\n%s", last.Line, line)
				}
				want.Lines++
				want.Bytes += len(line) + 1
				want.Oldest, want.Newest = min(want.Oldest, rec.Time), max(want.Newest, rec.Time)
				block = rest
			}
			if counted += got.Lines; got.Lines > 0 {
				want.Kind, want.System = last.Kind, last.System
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("got %+v, want %+v", got, want)
				}
			}
			var next Record
			if line, _, ended := bytes.Cut(block, []byte("\n")); ended && p.framed && ParseSealed(&next, line) && next.Time <= latest && next.HasDate() &&
				next.Kind == last.Kind && string(next.System) == string(last.System) && string(next.Run) == string(last.Run) {
				left++
			}
		}
	}
	if counted < 30_000 || left > counted/1000 {
		t.Errorf("counted %d lines, left %d that it could have counted", counted, left)
	}
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
