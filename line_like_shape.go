package papyra

import (
	"encoding/binary"
	"math/bits"

	"github.com/papyra/papyra/internal/checksum"
	"github.com/papyra/papyra/internal/jsontext"
)

// shape is a line that was checked in full, and where its values and scalars
// lie. A value is that of a member at the top level. A scalar is a string or
// number at any level; names are none, and the kind's value counts as none.
//
//	{"kind":"event","system_id":"orders","payload":{"n":17,"s":["a",true]},"timestamp":1700000000.5}
//	        └value┘             └value─┘           └──────── value ──────┘             └── value ─┘
//	                            └scalar┘                └┘      └─┘                    └─ scalar ─┘
//
// A line that differs from it within scalars only has the same grammar, depth and
// names, so only these scalars must be looked at. A line that differs in more,
// but within values only, has the same names; then these values must be looked
// at.
type shape struct {
	line    []byte
	kind    Kind
	sealed  bool
	scalars []extent           // in the order of the line
	values  []shapeValue       // in the order of the line
	index   [memberCount]int32 // of each member in values; -1 if the line has none

	// Where the values lie in the line that is being matched. Known are the first
	// placed ones, and where the next begins if the match is inside of it.
	places []extent
	placed int
	inside bool
}

// shapeValue is the value of a member.
type shapeValue struct {
	extent
	typ valueType // what it must be
}

// extent is a part of a line.
type extent struct{ start, end int32 }

// maxShape bounds the lines that are remembered.
const maxShape = 4 << 10

// likeness is what a line has in common with a shape.
type likeness uint8

const (
	otherShape likeness = iota // nothing is known of the line
	sameNames                  // it is right and has the same names, but a value has another shape
	sameShape                  // it is right, and only scalars differ
)

// cursor is a place in the line that is being matched and the same place in the
// remembered line. Everything before it has been compared.
type cursor struct {
	now    int // in the line that is being matched
	was    int // in the remembered line
	scalar int // the first remembered scalar that does not end before was
}

// shift is how much farther back the same place lies in the new line.
func (c cursor) shift() int { return c.now - c.was }

// matchLine fills rec with a line that is like the shape, and right.
func (s *shape) matchLine(rec *Record, line []byte) likeness {
	if len(s.line) == 0 || len(line)+1 > MaxStoredLine {
		return otherShape
	}
	s.placed, s.inside = 0, false
	var (
		sc   = jsontext.Scanner{Text: line}
		c    cursor
		like = sameShape
	)
	for {
		n := commonPrefix(line[c.now:], s.line[c.was:])
		c.now, c.was = c.now+n, c.was+n
		if c.was == len(s.line) {
			break
		}
		for c.scalar < len(s.scalars) && int(s.scalars[c.scalar].end) < c.was {
			c.scalar++
		}
		if behind, ok := s.passScalar(&sc, c); ok {
			c = behind
			continue
		}
		behind, ok := s.passValue(&sc, c)
		if !ok {
			return otherShape
		}
		c, like = behind, sameNames
	}
	s.placeValues(len(s.line), c.shift())
	if c.now != len(line) || !s.fillRecord(rec, line) {
		return otherShape
	}
	return like
}

// passScalar checks the scalar in which the lines differ at c, and returns the
// place behind it. False means that the difference is not within a scalar, or
// that what stands there is not right or of another type.
func (s *shape) passScalar(sc *jsontext.Scanner, c cursor) (cursor, bool) {
	// A number may also differ at its end, where it goes on.
	if c.scalar == len(s.scalars) || int(s.scalars[c.scalar].start) > c.was {
		return c, false
	}
	was := s.scalars[c.scalar]
	start := int(was.start) + c.shift()
	var end int
	if s.line[was.start] != '"' {
		end = sc.ScanNumber(start)
	} else {
		if c.was == int(was.start) || c.was == int(was.end) {
			return c, false // the quotes do not belong to what may differ
		}
		var escaped bool
		if end, escaped = sc.ScanString(start); escaped {
			s.placeValues(int(was.start), c.shift())
			if s.inside && s.values[s.placed].typ == stringValue {
				return c, false // its text is not what stands between the quotes
			}
		}
	}
	if end < 0 {
		return c, false
	}
	behind := cursor{end, int(was.end), c.scalar + 1}
	if behind.shift() != c.shift() {
		s.placeValues(int(was.start), c.shift())
	}
	return behind, true
}

// passValue checks the value in which the lines differ at c, and returns the
// place behind it. False means that the difference is not within a value, or
// that what stands there is not right.
func (s *shape) passValue(sc *jsontext.Scanner, c cursor) (cursor, bool) {
	s.placeValues(c.was, c.shift())
	if !s.inside {
		return c, false
	}
	was, start := s.values[s.placed], int(s.places[s.placed].start)
	end := sc.ScanValue(start, MaxDepth-1)
	if end < 0 || was.typ == stringValue || !was.typ.allows(sc.Text[start]) {
		return c, false
	}
	for c.scalar < len(s.scalars) && s.scalars[c.scalar].start < was.end {
		c.scalar++
	}
	return cursor{end, int(was.end), c.scalar}, true
}

// placeValues notes where the values lie in the line that is being matched, as far
// as they begin or end at or before upto, a place in the remembered line. It must
// be called before the cursor's shift changes; shift is the one before.
func (s *shape) placeValues(upto, shift int) {
	for ; s.placed < len(s.values); s.placed++ {
		value, place := &s.values[s.placed], &s.places[s.placed]
		if !s.inside {
			if int(value.start) > upto {
				return
			}
			place.start, s.inside = value.start+int32(shift), true
		}
		if int(value.end) > upto {
			return
		}
		place.end, s.inside = value.end+int32(shift), false
	}
}

// fillRecord fills rec from the places of the values.
func (s *shape) fillRecord(rec *Record, line []byte) bool {
	rec.Line, rec.Kind = line, s.kind
	if rec.System = s.memberText(line, memberSystem); !s.hasSameText(memberSystem, rec.System) && checkSystem(rec.System) != "" {
		return false
	}
	var ok bool
	if rec.Time, ok = parseTimestamp(s.memberValue(line, memberTimestamp)); !ok {
		return false
	}
	layout := &layouts[s.kind]
	rec.Type = nil
	if layout.typ != memberOther {
		rec.Type = s.memberText(line, layout.typ)
	}
	rec.Actor = s.memberValue(line, layout.actor)
	rec.Payload = s.memberValue(line, memberPayload)
	rec.Sealed, rec.Node, rec.Run, rec.Seq = false, nil, nil, 0
	return !s.sealed || s.fillSeal(rec, line)
}

// fillSeal checks the seal, of which only the spelling is known to be right.
func (s *shape) fillSeal(rec *Record, line []byte) bool {
	node, run := s.memberText(line, memberNode), s.memberText(line, memberRun)
	seq, crc := s.memberValue(line, memberSeq), s.memberText(line, memberCRC)
	n, first := jsontext.ReadDigitsBefore(seq, 0, len(seq))
	if len(crc) != 8 || first != 0 || len(seq) == 0 || seq[0] == '0' ||
		!s.hasSameText(memberRun, run) && !legalRun(run) || !s.hasSameText(memberNode, node) && !legalNode(node) ||
		!checksum.Spells(crc, checksum.Of(line[:len(line)-checksum.TailLen])) {
		return false
	}
	rec.Sealed, rec.Node, rec.Run, rec.Seq = true, node, run, n
	return true
}

// memberValue returns the value of a member; nil if the line has no such member.
func (s *shape) memberValue(line []byte, m member) []byte {
	i := s.index[m]
	if i < 0 {
		return nil
	}
	return line[s.places[i].start:s.places[i].end]
}

// memberText returns what stands between the quotes of a member that is a string
// without escapes.
func (s *shape) memberText(line []byte, m member) []byte {
	raw := s.memberValue(line, m)
	return raw[1 : len(raw)-1]
}

// hasSameText reports whether a member that is a string has the text that it has
// in the remembered line, where it was found to be legal.
func (s *shape) hasSameText(m member, text []byte) bool {
	v := &s.values[s.index[m]]
	return string(text) == string(s.line[v.start+1:v.end-1])
}

// commonPrefix returns how many bytes a and b begin with in common.
func commonPrefix(a, b []byte) int {
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

// learnLine remembers a line that ParseInto has taken. If the line is long or
// unusual, nothing is remembered.
func (s *shape) learnLine(rec *Record) {
	s.line, s.scalars, s.values = s.line[:0], s.scalars[:0], s.values[:0]
	if len(rec.Line) > maxShape || rec.HasIdentity() && !hasSealTail(rec.Line) {
		return
	}
	for m := range s.index {
		s.index[m] = -1
	}
	if !s.addMembers(rec.Line, rec.Kind) {
		return
	}
	s.kind, s.sealed = rec.Kind, rec.Sealed
	if n := len(s.values); n > cap(s.places) {
		s.places = make([]extent, n)
	} else {
		s.places = s.places[:n]
	}
	s.line = append(s.line, rec.Line...)
}

// addMembers notes where the values and scalars of a right line lie. It reports
// false if a name or a string that a record holds the text of has escapes.
func (s *shape) addMembers(line []byte, kind Kind) bool {
	sc := jsontext.Scanner{Text: line}
	i, more := sc.FirstMember(sc.SkipSpace(0))
	for more {
		end, escaped := sc.ScanString(i)
		if escaped {
			return false
		}
		m := memberOf(line[i+1 : end-1])
		value := shapeValue{typ: valueTypeOf(kind, m)}
		start := sc.ScanColon(end)
		if value.typ == stringValue {
			end, escaped = sc.ScanString(start)
			if escaped {
				return false
			}
			if m != memberKind { // lines of another kind have other members
				s.scalars = append(s.scalars, extent{int32(start), int32(end)})
			}
		} else {
			end = s.addScalars(&sc, start)
		}
		value.extent = extent{int32(start), int32(end)}
		if m != memberOther {
			s.index[m] = int32(len(s.values))
		}
		s.values = append(s.values, value)
		i, more = sc.NextMember(end)
	}
	return true
}

// addScalars notes where the scalars of the right value that begins at i lie, and
// returns where the value ends.
func (s *shape) addScalars(sc *jsontext.Scanner, i int) int {
	depth := 0
	for {
		start := i
		switch sc.Text[i] {
		case '{', '[':
			depth++
			i++
			continue
		case ' ', '\t', '\r', '\n', ',':
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
			i, _ = sc.ScanString(start)
			if depth > 0 {
				if next := sc.SkipSpace(i); sc.Text[next] == ':' {
					i = next + 1 // it was a name
					continue
				}
			}
			s.scalars = append(s.scalars, extent{int32(start), int32(i)})
		default:
			i = sc.ScanNumber(start)
			s.scalars = append(s.scalars, extent{int32(start), int32(i)})
		}
		if depth == 0 {
			return i
		}
	}
}
