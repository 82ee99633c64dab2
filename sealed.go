package papyra

import (
	"bytes"
	"hash/crc32"
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

// SealedParser is [ParseSealed] for lines that come one after the other: it
// remembers how the last one began and how its seal named its sender, which the
// next one most likely shares, and then has little left to look at but the
// checksum. The zero SealedParser is ready; it is not safe for concurrent use.
type SealedParser struct {
	kind   Kind
	system int    // offset of the system id in head
	head   []byte // `{"kind":"…","system_id":"…"`
	tail   []byte // `,"node":"…","run":"…","seq":`
	node   int    // length of the node
}

const (
	crcHead   = `,"crc":"`
	timeHead  = `,"timestamp":`
	nodeStart = len(`,"node":"`)
	maxDigits = 19 // of a sequence number
)

// Parse does what [ParseSealed] does, with the same result.
func (p *SealedParser) Parse(rec *Record, line []byte) bool {
	if p.again(rec, line) {
		return true
	}
	if !ParseSealed(rec, line) {
		return false
	}
	p.learn(rec)
	return true
}

// learn remembers the frame of a record that ParseSealed has filled.
func (p *SealedParser) learn(rec *Record) {
	p.kind = rec.Kind
	p.head = append(p.head[:0], `{"kind":"`...)
	p.head = append(p.head, rec.Kind.String()...)
	p.head = append(p.head, `","system_id":"`...)
	p.system = len(p.head)
	p.head = append(append(p.head, rec.System...), '"')
	p.tail = append(p.tail[:0], sealed.node...)
	p.tail = append(append(p.tail, rec.Node...), sealed.run...)
	p.tail = append(append(p.tail, rec.Run...), sealed.seq...)
	p.node = len(rec.Node)
}

// again fills rec if the line has the frame of the one before. False means
// nothing but that ParseSealed must decide.
func (p *SealedParser) again(rec *Record, line []byte) bool {
	end := len(line) - crcLen // of what is summed up
	if len(p.head) == 0 || len(line)+1 > MaxLine || end < len(p.head)+len(p.tail)+1 ||
		string(line[:len(p.head)]) != string(p.head) ||
		string(line[end:end+len(crcHead)]) != crcHead || string(line[len(line)-2:]) != `"}` {
		return false
	}
	first := end
	for first > len(p.head) && line[first-1]-'0' <= 9 {
		first--
	}
	seq, ok := parseSeq(line[first:end])
	start := first - len(p.tail)
	if !ok || start < len(p.head) || string(line[start:first]) != string(p.tail) {
		return false
	}
	raw := line[len(p.head):start]
	if p.kind == KindAudit {
		if len(raw) < len(timeHead) || string(raw[:len(timeHead)]) != timeHead {
			return false
		}
		raw = raw[len(timeHead):]
		n := 0
		for n < len(raw) && raw[n] != ',' {
			n++
		}
		if n == len(raw) {
			return false
		}
		raw = raw[:n]
	} else {
		n := len(raw)
		for n > 0 && (raw[n-1]-'0' <= 9 || raw[n-1] == '.') {
			n--
		}
		if n < len(timeHead) || string(raw[n-len(timeHead):n]) != timeHead {
			return false
		}
		raw = raw[n:]
	}
	t, ok := parseTimestamp(raw)
	if !ok || !hexEqual(line[end+len(crcHead):len(line)-2], crc32.Checksum(line[:end], castagnoli)) {
		return false
	}
	node := start + nodeStart
	run := node + p.node + len(sealed.run)
	*rec = Record{
		Line: line, Kind: p.kind, System: line[p.system : len(p.head)-1], Time: t,
		Sealed: true, Node: line[node : node+p.node], Run: line[run : run+runLen], Seq: seq,
	}
	return true
}

// hexEqual reports whether eight digits spell v in lower case.
func hexEqual(digits []byte, v uint32) bool {
	for i := len(digits) - 1; i >= 0; i-- {
		if digits[i] != hexTail[v&15] {
			return false
		}
		v >>= 4
	}
	return true
}
