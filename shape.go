package papyra

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"strings"
)

// shape is a line that was checked in full, and where its values lie. Another
// line that differs from it only within strings and numbers, names not counted,
// has the same grammar, depth and names: only what differs is looked at. Where
// it differs in more, but within one member's value, that value is looked at.
type shape struct {
	line    []byte
	kind    Kind
	sealed  bool
	scalars []extent           // strings and numbers, in order, at any depth
	marks   []int32            // where each member's value begins and ends, in order
	first   []string           // by member: what its value may begin with
	at      [memberCount]int32 // where a member's marks begin; -1 where it is absent
	pos     []int32            // the marks of the line that is looked at
}

// extent is a part of a line.
type extent struct{ start, end int32 }

// maxShape bounds the lines that are remembered.
const maxShape = 4 << 10

// likeness is what a line has in common with a shape.
type likeness uint8

const (
	otherShape likeness = iota // nothing is known of the line
	sameNames                  // right, but for the shape of a member's value the same
	sameShape                  // right, and only strings and numbers differ
)

// decoded is what a value that is decoded begins with. It must stay a string
// without escapes.
const decoded = aString

// match fills rec with a line that is like the shape, and right.
func (s *shape) match(rec *Record, line []byte) likeness {
	prev := s.line
	if len(prev) == 0 || len(line)+1 > MaxLine {
		return otherShape
	}
	var (
		sc   = scanner{b: line}
		i, j int // the same place in line and prev
		k    int // the first of scalars that may not be behind
		q    int // how many of pos are known
		like = sameShape
	)
	for {
		n := common(line[i:], prev[j:])
		i, j = i+n, j+n
		if j == len(prev) {
			break
		}
		for k < len(s.scalars) && int(s.scalars[k].end) < j {
			k++
		}
		if k < len(s.scalars) && int(s.scalars[k].start) <= j {
			// The difference lies in a scalar, or a number goes on.
			was := s.scalars[k]
			q = s.settle(q, int(was.start), i-j)
			if end, ok := s.scalar(&sc, was, i, j, q); ok {
				i, j = end, int(was.end)
				k++
				continue
			}
		}
		if q = s.settle(q, j, i-j); q&1 == 0 {
			return otherShape // it lies outside of a member's value
		}
		start := int(s.pos[q-1])
		first := s.first[q>>1]
		end := sc.value(start, 1)
		if end < 0 || first == decoded || first != anything && strings.IndexByte(first, line[start]) < 0 {
			return otherShape
		}
		i, j = end, int(s.marks[q])
		for k < len(s.scalars) && int(s.scalars[k].start) < j {
			k++
		}
		like = sameNames
	}
	s.settle(q, len(prev), i-j)
	if i != len(line) || !s.record(rec, line) {
		return otherShape
	}
	return like
}

// settle notes where the marks up to upto lie in the line that is shifted so
// much there.
func (s *shape) settle(q, upto, shift int) int {
	for q < len(s.marks) && int(s.marks[q]) <= upto {
		s.pos[q] = s.marks[q] + int32(shift)
		q++
	}
	return q
}

// scalar checks what stands in the place of a scalar, if it is of the same type,
// and returns the position behind it. i and j are where the difference is, and q
// how many marks stand before it.
func (s *shape) scalar(sc *scanner, was extent, i, j, q int) (int, bool) {
	start := int(was.start) + i - j
	if s.line[was.start] != '"' {
		end := sc.number(start)
		return end, end >= 0
	}
	if j == int(was.start) || j == int(was.end) {
		return 0, false
	}
	end, escaped := sc.str(start)
	if end < 0 {
		return 0, false
	}
	if escaped && q&1 == 1 && s.marks[q-1] == was.start && s.first[q>>1] == decoded {
		return 0, false
	}
	return end, true
}

// record fills rec from the places of the members' values.
func (s *shape) record(rec *Record, line []byte) bool {
	rec.Line, rec.Kind = line, s.kind
	if rec.System = s.text(line, memberSystem); !s.same(memberSystem, rec.System) && checkSystem(rec.System) != "" {
		return false
	}
	var ok bool
	if rec.Time, ok = parseTimestamp(s.raw(line, memberTimestamp)); !ok {
		return false
	}
	rec.Type, rec.Actor = nil, nil
	switch s.kind {
	case KindEvent:
		rec.Type, rec.Actor = s.text(line, memberEventType), s.raw(line, memberActor)
	case KindDeadLetter:
		rec.Type, rec.Actor = s.text(line, memberMessageType), s.raw(line, memberTarget)
	case KindReport:
		rec.Type = s.text(line, memberReport)
	}
	rec.Payload = s.raw(line, memberPayload)
	rec.Sealed, rec.Node, rec.Run, rec.Seq = false, nil, nil, 0
	return !s.sealed || s.seal(rec, line)
}

// seal checks the seal, of which only the spelling is known to be right.
func (s *shape) seal(rec *Record, line []byte) bool {
	node, run := s.text(line, memberNode), s.text(line, memberRun)
	seq, crc := s.raw(line, memberSeq), s.text(line, memberCRC)
	n, first := digitsBefore(seq, 0, len(seq))
	if len(crc) != 8 || first != 0 || len(seq) == 0 || seq[0] == '0' ||
		!s.same(memberRun, run) && !legalRun(run) || !s.same(memberNode, node) && !legalNode(node) ||
		!hexEqual(crc, crc32.Checksum(line[:len(line)-crcLen], castagnoli)) {
		return false
	}
	rec.Sealed, rec.Node, rec.Run, rec.Seq = true, node, run, n
	return true
}

// raw returns a member's value; nil where it is absent.
func (s *shape) raw(line []byte, m member) []byte {
	at := s.at[m]
	if at < 0 {
		return nil
	}
	return line[s.pos[at]:s.pos[at+1]]
}

// text returns what stands between the quotes of a member that is a string.
func (s *shape) text(line []byte, m member) []byte {
	raw := s.raw(line, m)
	return raw[1 : len(raw)-1]
}

// same reports whether a member that is a string has the text that it has in the
// shape, where it is known to be legal.
func (s *shape) same(m member, text []byte) bool {
	at := s.at[m]
	return string(text) == string(s.line[s.marks[at]+1:s.marks[at+1]-1])
}

// common returns how many bytes a and b begin with in common.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	for len(a) >= 8 && len(b) >= 8 {
		if d := binary.LittleEndian.Uint64(a) ^ binary.LittleEndian.Uint64(b); d != 0 {
			return n - len(a) + bits.TrailingZeros64(d)>>3
		}
		a, b = a[8:], b[8:]
	}
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	return n - len(a)
}

// learn remembers a line that ParseInto has taken, unless it is long or unusual;
// then nothing is remembered.
func (s *shape) learn(rec *Record) {
	s.line, s.scalars, s.marks, s.first = s.line[:0], s.scalars[:0], s.marks[:0], s.first[:0]
	if len(rec.Line) > maxShape || rec.HasIdentity() && !rec.Sealed {
		return
	}
	for m := range s.at {
		s.at[m] = -1
	}
	if !s.walk(rec.Line, rec.Kind) {
		return
	}
	s.kind, s.sealed = rec.Kind, rec.Sealed
	s.pos = append(s.pos[:0], s.marks...)
	s.line = append(s.line, rec.Line...)
}

// walk notes where the values of a right line lie. False means that a name or a
// decoded string at the top level has escapes.
func (s *shape) walk(line []byte, kind Kind) bool {
	var (
		sc    = scanner{b: line}
		depth = 0
	)
	for i := sc.space(0); i < len(line); i = sc.space(i) {
		inside := len(s.marks)&1 == 1 // of a member's value
		switch line[i] {
		case ',':
			i++
			continue
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case 't', 'n':
			i += len("true")
		case 'f':
			i += len("false")
		case '"':
			end, escaped := sc.str(i)
			if !inside {
				if escaped {
					return false
				}
				m := memberOf(line[i+1 : end-1])
				i = sc.colon(end)
				s.at[m] = int32(len(s.marks))
				s.marks = append(s.marks, int32(i))
				s.first = append(s.first, firstOf(kind, m))
				continue
			}
			if next := sc.space(end); line[next] == ':' {
				i = next + 1
				continue
			}
			if depth == 1 {
				if escaped && s.first[len(s.first)-1] == decoded {
					return false
				}
				if s.at[memberKind] == int32(len(s.marks)-1) {
					i = end // another kind has other members: it must not differ
					break
				}
			}
			s.scalars = append(s.scalars, extent{int32(i), int32(end)})
			i = end
		default:
			end := sc.number(i)
			s.scalars = append(s.scalars, extent{int32(i), int32(end)})
			i = end
		}
		if depth == 1 && inside {
			s.marks = append(s.marks, int32(i))
		}
	}
	return true
}

// firstOf returns what the value of a member may begin with in a line of a kind.
func firstOf(kind Kind, m member) string {
	switch m {
	case memberKind, memberSystem, memberNode, memberRun, memberCRC:
		return decoded
	}
	for _, r := range required[kind] {
		if r.member == m {
			return r.first
		}
	}
	return anything
}
