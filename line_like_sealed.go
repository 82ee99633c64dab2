package papyra

import (
	"bytes"
	"math"

	"github.com/papyra/papyra/internal/checksum"
	"github.com/papyra/papyra/internal/jsontext"
)

// frame is how a sealed line of the Encoder's layout began and how its seal named
// its sender:
//
//	{"kind":"event","system_id":"orders", …middle… ,"node":"eu-1","run":"k3f9x2ab7q04mzt1","seq":17,"crc":"fa2aaeff"}
//	└───────────── head ───────────────┘            └──────────────── tail ─────────────────────┘
//
// The next line most likely has the same head and tail. Then only its number, its
// timestamp and its checksum are left to look at.
type frame struct {
	kind   Kind
	system int // where the system id begins in head
	head   []byte
	sum    uint32 // checksum of head
	tail   []byte
	node   int // length of the node
	times  timestampReader
}

// learnLine remembers the frame of a record that ParseSealed has filled.
func (f *frame) learnLine(rec *Record) {
	f.kind = rec.Kind
	f.head = append(append(f.head[:0], beforeKind...), rec.Kind.String()...)
	f.head = append(append(f.head, beforeSystem...), '"')
	f.system = len(f.head)
	f.head = append(append(f.head, rec.System...), '"')
	f.sum = checksum.Of(f.head)
	f.tail = append(append(f.tail[:0], beforeNode...), rec.Node...)
	f.tail = append(append(f.tail, beforeRun...), rec.Run...)
	f.tail = append(f.tail, beforeSeq...)
	f.node = len(rec.Node)
}

// matchLine fills rec, as ParseSealed does, if the line has this frame and its
// seal verifies. False means nothing but that ParseSealed must decide.
func (f *frame) matchLine(rec *Record, line []byte) bool {
	t, seq, tail, ok := f.checkLine(line)
	if !ok {
		return false
	}
	rec.Line, rec.Kind, rec.System, rec.Time = line, f.kind, line[f.system:len(f.head)-1], t
	rec.Type, rec.Actor, rec.Payload = nil, nil, nil
	rec.Sealed, rec.Seq = true, seq
	node := tail + len(beforeNode)
	run := node + f.node + len(beforeRun)
	rec.Node, rec.Run = line[node:node+f.node], line[run:run+runLen]
	return true
}

// checkLine returns the timestamp and the number of a line that has this frame
// and verifies, and where its tail begins.
func (f *frame) checkLine(line []byte) (t int64, seq uint64, tail int, ok bool) {
	end := len(line) - checksum.TailLen // of what is summed
	if len(f.head) == 0 || len(line)+1 > MaxStoredLine || end < len(f.head)+len(f.tail)+1 ||
		string(line[:len(f.head)]) != string(f.head) || !checksum.HasTail(line[end:]) {
		return 0, 0, 0, false
	}
	seq, first := jsontext.ReadDigitsBefore(line, len(f.head), end)
	tail = first - len(f.tail)
	if first == end || line[first] == '0' || tail < len(f.head) || string(line[tail:first]) != string(f.tail) {
		return 0, 0, 0, false
	}
	raw, ok := cutTimestamp(line[len(f.head):tail], layouts[f.kind].timeFirst)
	if !ok {
		return 0, 0, 0, false
	}
	if t, ok = f.times.readTime(raw); !ok {
		return 0, 0, 0, false
	}
	sum := checksum.Extend(f.sum, line[len(f.head):end])
	return t, seq, tail, checksum.Spells(line[end+len(checksum.TailStart):], sum)
}

// Stretch is a number of sealed lines of one stream, one after the other.
type Stretch struct {
	Kind           Kind
	System         []byte // valid until the parser's next call
	Lines          int
	Bytes          int   // of the lines and their newlines
	Oldest, Newest int64 // timestamps in microseconds; without meaning if there is no line
}

// countLines counts the lines that block begins with, as far as they have this
// frame, verify, and have a timestamp that is a date and not behind latest.
func (f *frame) countLines(block []byte, latest int64) Stretch {
	s := Stretch{Kind: f.kind, System: f.head[f.system : len(f.head)-1], Oldest: math.MaxInt64, Newest: math.MinInt64}
	for {
		n := bytes.IndexByte(block[s.Bytes:], '\n')
		if n < 0 {
			return s
		}
		t, _, _, ok := f.checkLine(block[s.Bytes : s.Bytes+n])
		if !ok || t > latest || t < minDate {
			return s
		}
		s.Lines++
		s.Bytes += n + 1
		s.Oldest, s.Newest = min(s.Oldest, t), max(s.Newest, t)
	}
}
