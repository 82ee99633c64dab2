package papyra

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
)

// ParseSealed fills rec from a line in exactly the layout that [Encoder]
// writes, if its seal verifies: Line, Kind, System, Time, Sealed, Node, Run and
// Seq, and nothing else. It does not look at the rest of the line, which the
// checksum vouches for. False means nothing but that [ParseInto] must decide.
func ParseSealed(rec *Record, line []byte) bool {
	const (
		head = `{"kind":"`
		sys  = `","system_id":"`
		ts   = `,"timestamp":`
	)
	if len(line)+1 > MaxLine || len(line) < len(head) || string(line[:len(head)]) != head {
		return false
	}
	s, ok := cutSeal(line, &sealed)
	if !ok {
		return false
	}
	i := len(head)
	n := bytes.IndexByte(line[i:s.start], '"')
	if n < 0 {
		return false
	}
	kind := kindOf(line[i : i+n])
	i += n
	if kind == KindUnknown || i+len(sys) > s.start || string(line[i:i+len(sys)]) != sys {
		return false
	}
	i += len(sys)
	n = bytes.IndexByte(line[i:s.start], '"')
	if n < 0 || bytes.IndexByte(line[i:i+n], '\\') >= 0 || checkSystem(line[i:i+n]) != "" {
		return false
	}
	system := line[i : i+n]
	var raw []byte
	if kind == KindAudit {
		rest, ok := bytes.CutPrefix(line[i+n+1:s.start], []byte(ts))
		end := bytes.IndexByte(rest, ',')
		if !ok || end < 0 {
			return false
		}
		raw = rest[:end]
	} else {
		first := s.start
		for first > i && (line[first-1] >= '0' && line[first-1] <= '9' || line[first-1] == '.') {
			first--
		}
		if _, ok := cutBefore(line, first, ts); !ok {
			return false
		}
		raw = line[first:s.start]
	}
	t, ok := parseTimestamp(raw)
	if !ok || !s.verify(line) {
		return false
	}
	*rec = Record{Line: line, Kind: kind, System: system, Time: t, Sealed: true, Node: s.node, Run: s.run, Seq: s.seq}
	return true
}

// frame is how a sealed line began and how its seal named its sender. The next
// line most likely shares both, and then has little left to look at but the
// checksum.
type frame struct {
	kind   Kind
	system int    // offset of the system id in head
	head   []byte // `{"kind":"…","system_id":"…"`
	sum    uint32 // checksum of head
	tail   []byte // `,"node":"…","run":"…","seq":`
	node   int    // length of the node
	second second
}

// second is the last timestamp's second, which the next one's most likely is.
type second struct {
	digits [secondsLen + 1]byte // and the dot
	micros int64                // of the second
}

// parse does what parseTimestamp does. In the same second it looks at the
// fraction only.
func (s *second) parse(raw []byte) (int64, bool) {
	if len(raw) == len(s.digits)+6 && string(raw[:len(s.digits)]) == string(s.digits[:]) {
		if word, n := lastDigits(raw[len(raw)-8:]); n == 6 {
			return s.micros + int64(value8(word)), true
		}
	}
	t, ok := parseTimestamp(raw)
	if ok && len(raw) == len(s.digits)+6 && raw[secondsLen] == '.' {
		copy(s.digits[:], raw)
		s.micros = t - t%1e6
	}
	return t, ok
}

const (
	crcHead   = `,"crc":"`
	timeHead  = `,"timestamp":`
	nodeStart = len(`,"node":"`)
)

// learn remembers the frame of a record that ParseSealed has filled.
func (f *frame) learn(rec *Record) {
	f.kind = rec.Kind
	f.head = append(f.head[:0], `{"kind":"`...)
	f.head = append(f.head, rec.Kind.String()...)
	f.head = append(f.head, `","system_id":"`...)
	f.system = len(f.head)
	f.head = append(append(f.head, rec.System...), '"')
	f.sum = crc32.Checksum(f.head, castagnoli)
	f.tail = append(f.tail[:0], sealed.node...)
	f.tail = append(append(f.tail, rec.Node...), sealed.run...)
	f.tail = append(append(f.tail, rec.Run...), sealed.seq...)
	f.node = len(rec.Node)
}

// match fills rec, as ParseSealed does, if the line has this frame. False means
// nothing but that ParseSealed must decide.
func (f *frame) match(rec *Record, line []byte) bool {
	t, seq, tail, ok := f.check(line)
	if !ok {
		return false
	}
	rec.Line, rec.Kind, rec.System, rec.Time = line, f.kind, line[f.system:len(f.head)-1], t
	rec.Type, rec.Actor, rec.Payload = nil, nil, nil
	rec.Sealed, rec.Seq = true, seq
	node := tail + nodeStart
	run := node + f.node + len(sealed.run)
	rec.Node, rec.Run = line[node:node+f.node], line[run:run+runLen]
	return true
}

// check returns the timestamp and the number of a line that has this frame, and
// where its tail begins.
func (f *frame) check(line []byte) (t int64, seq uint64, tail int, ok bool) {
	end := len(line) - crcLen // of what is summed up
	if len(f.head) == 0 || len(line)+1 > MaxLine || end < len(f.head)+len(f.tail)+1 ||
		string(line[:len(f.head)]) != string(f.head) ||
		string(line[end:end+len(crcHead)]) != crcHead || string(line[len(line)-2:]) != `"}` {
		return 0, 0, 0, false
	}
	seq, first := digitsBefore(line, len(f.head), end)
	tail = first - len(f.tail)
	if first == end || line[first] == '0' || tail < len(f.head) || string(line[tail:first]) != string(f.tail) {
		return 0, 0, 0, false
	}
	raw, ok := f.timestamp(line[len(f.head):tail])
	if !ok {
		return 0, 0, 0, false
	}
	if t, ok = f.second.parse(raw); !ok {
		return 0, 0, 0, false
	}
	ok = hexEqual(line[end+len(crcHead):len(line)-2], crc32.Update(f.sum, castagnoli, line[len(f.head):end]))
	return t, seq, tail, ok
}

// lines counts the lines that block begins with and that have this frame, up to
// one whose timestamp is behind latest.
func (f *frame) lines(block []byte, latest int64) Stretch {
	s := Stretch{Kind: f.kind, System: f.head[f.system : len(f.head)-1], Oldest: math.MaxInt64, Newest: math.MinInt64}
	for {
		n := bytes.IndexByte(block[s.Bytes:], '\n')
		if n < 0 {
			return s
		}
		t, _, _, ok := f.check(block[s.Bytes : s.Bytes+n])
		if !ok || t > latest {
			return s
		}
		s.Lines++
		s.Bytes += n + 1
		s.Oldest, s.Newest = min(s.Oldest, t), max(s.Newest, t)
	}
}

// timestamp returns the timestamp of what stands between head and tail: the
// first member of an audit, the last one of others.
func (f *frame) timestamp(middle []byte) ([]byte, bool) {
	if f.kind == KindAudit {
		if len(middle) < len(timeHead) || string(middle[:len(timeHead)]) != timeHead {
			return nil, false
		}
		raw := middle[len(timeHead):]
		n := bytes.IndexByte(raw, ',')
		return raw[:max(n, 0)], n >= 0
	}
	n := len(middle) - secondsLen - len(".123456") // most likely
	if n < 1 || middle[n]-'0' > 9 || middle[n-1] != ':' {
		for n = len(middle); n > 0 && (middle[n-1]-'0' <= 9 || middle[n-1] == '.'); n-- {
		}
	}
	if n < len(timeHead) || string(middle[n-len(timeHead):n]) != timeHead {
		return nil, false
	}
	return middle[n:], true
}

// hexEqual reports whether eight digits spell v in lower case.
func hexEqual(digits []byte, v uint32) bool {
	return binary.BigEndian.Uint64(digits) == hex32(v)
}
