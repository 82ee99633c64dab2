package papyra

import (
	"bytes"

	"github.com/papyra/papyra/internal/checksum"
	"github.com/papyra/papyra/internal/jsontext"
)

// CheckSeal reports whether line, without its newline, ends in a seal whose
// checksum is right. It slices and does not parse: the line may still be no
// record if somebody sealed garbage.
func CheckSeal(line []byte) bool {
	s, ok := cutSeal(line, &sealed)
	return ok && s.verifySum(line)
}

// ParseSealed fills rec from a line in exactly the layout that [Encoder]
// writes, if its seal verifies: Line, Kind, System, Time, Sealed, Node, Run and
// Seq, and nothing else. It does not look at the rest of the line, which the
// checksum vouches for. False means nothing but that [ParseInto] must decide.
func ParseSealed(rec *Record, line []byte) bool {
	if len(line)+1 > MaxStoredLine {
		return false
	}
	s, ok := cutSeal(line, &sealed)
	if !ok {
		return false
	}
	rest, ok := bytes.CutPrefix(line[:s.start], []byte(beforeKind))
	n := bytes.IndexByte(rest, '"')
	if !ok || n < 0 {
		return false
	}
	kind := kindOf(rest[:n])
	rest, ok = bytes.CutPrefix(rest[n:], []byte(beforeSystem+`"`))
	n = bytes.IndexByte(rest, '"')
	if kind == KindUnknown || !ok || n < 0 {
		return false
	}
	system := rest[:n]
	if bytes.IndexByte(system, '\\') >= 0 || checkSystem(system) != "" {
		return false
	}
	raw, ok := cutTimestamp(rest[n+1:], layouts[kind].timeFirst)
	if !ok {
		return false
	}
	t, ok := parseTimestamp(raw)
	if !ok || !s.verifySum(line) {
		return false
	}
	*rec = Record{Line: line, Kind: kind, System: system, Time: t, Sealed: true, Node: s.node, Run: s.run, Seq: s.seq}
	return true
}

// cutTimestamp returns the timestamp of the part of a line that lies between the
// system and the seal: its first member in lines of some kinds, its last one in
// those of others.
func cutTimestamp(middle []byte, first bool) ([]byte, bool) {
	if first {
		if len(middle) < len(beforeTimestamp) || string(middle[:len(beforeTimestamp)]) != beforeTimestamp {
			return nil, false
		}
		raw := middle[len(beforeTimestamp):]
		n := bytes.IndexByte(raw, ',')
		return raw[:max(n, 0)], n >= 0
	}
	n := len(middle) - fullTimeLen // where most timestamps begin
	if _, ok := cutBefore(middle, n, beforeTimestamp); ok {
		return middle[n:], true
	}
	for n = len(middle); n > 0 && (middle[n-1]-'0' <= 9 || middle[n-1] == '.'); n-- {
	}
	_, ok := cutBefore(middle, n, beforeTimestamp)
	return middle[n:], ok
}

// seal is what the seal of a line says, and where it begins.
type seal struct {
	start     int
	node, run []byte
	seq       uint64
	crc       []byte
}

// cutSeal reads the seal of a line backwards. It does not compute the checksum.
func cutSeal(line []byte, sp *spelling) (s seal, ok bool) {
	end := len(line) - len(`00000000"}`)
	if end < 0 || line[len(line)-1] != '}' || line[len(line)-2] != '"' {
		return s, false
	}
	s.crc = line[end : end+8]
	if end, ok = cutBefore(line, end, sp.crc); !ok {
		return s, false
	}
	seq, first := jsontext.ReadDigitsBefore(line, 0, end)
	if first == end || line[first] == '0' {
		return s, false
	}
	s.seq = seq
	if end, ok = cutBefore(line, first, sp.seq); !ok || end < runLen {
		return s, false
	}
	s.run = line[end-runLen : end]
	if end, ok = cutBefore(line, end-runLen, sp.run); !ok || !legalRun(s.run) {
		return s, false
	}
	first = end
	for first > 0 && nodeByte(line[first-1]) {
		first--
	}
	s.node = line[first:end]
	if s.start, ok = cutBefore(line, first, sp.node); !ok || !legalNode(s.node) {
		return s, false
	}
	return s, true
}

// cutBefore returns where word begins if it ends at end.
func cutBefore(line []byte, end int, word string) (int, bool) {
	start := end - len(word)
	return start, start >= 0 && string(line[start:end]) == word
}

// verifySum reports whether the checksum of a line with this seal is right.
func (s *seal) verifySum(line []byte) bool {
	return checksum.Spells(s.crc, checksum.Of(line[:len(line)-checksum.TailLen]))
}
