package papyra

import "hash/crc32"

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
