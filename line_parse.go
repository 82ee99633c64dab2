package papyra

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/papyra/papyra/internal/jsontext"
)

// Parse checks a line of up to MaxStoredLine, given without its newline, in full:
// UTF-8, JSON, depth, duplicate members, the members of its kind, the timestamp and
// the seal. The error is a *[LineError]. The record aliases line.
func Parse(line []byte) (Record, error) {
	var rec Record
	err := ParseInto(&rec, line)
	return rec, err
}

// ParseInto is [Parse] into an existing Record. It allocates only for strings
// that hold escapes, for more than 16 members that mean nothing to it, and for
// the error. After an error rec is undefined.
func ParseInto(rec *Record, line []byte) error {
	p := fullParser{Scanner: jsontext.Scanner{Text: line}}
	if !p.parse(rec) {
		return &LineError{p.class, p.Pos, p.Detail, p.fault, p.field}
	}
	return nil
}

// classOf is ParseInto for whoever wants to know nothing but the class of the damage,
// "" for a record.
func classOf(rec *Record, line []byte) Class {
	p := fullParser{Scanner: jsontext.Scanner{Text: line, Quiet: true}}
	p.parse(rec)
	return p.class
}

// fullParser checks one line in two passes: scanLine checks the JSON and notes
// where the members lie, fillRecord looks at what they say.
type fullParser struct {
	jsontext.Scanner
	class  Class  // of a failure that is not the scanner's
	fault  string // of a LineError, as field
	field  string
	have   uint32 // set of the members that the line has
	spans  [memberCount]span
	others otherNames
}

// span is where a member's value lies in the line.
type span struct {
	start, end int32
	escaped    bool // a string that holds an escape
}

// scannerClasses are the classes of the scanner's faults.
var scannerClasses = [...]Class{
	jsontext.Truncated:   ClassTruncated,
	jsontext.Malformed:   ClassCorrupted,
	jsontext.InvalidUTF8: ClassInvalidUTF8,
	jsontext.NULByte:     ClassNULRun,
}

// parse fills rec, or notes the class, the place and the detail of the damage.
func (p *fullParser) parse(rec *Record) bool {
	if len(p.Text)+1 > MaxStoredLine {
		return p.reject(MaxStoredLine, ClassOversize, "longer than a line may be")
	}
	if p.scanLine() && p.fillRecord(rec) {
		return true
	}
	if p.class == "" {
		p.class = scannerClasses[p.Fault]
	}
	return false
}

// reject notes why the line is not a record, and returns false.
func (p *fullParser) reject(pos int, class Class, detail ...string) bool {
	p.Pos, p.class = pos, class
	if !p.Quiet {
		p.Detail = strings.Join(detail, "")
	}
	return false
}

const byteOrderMark = "\uFEFF"

// scanLine checks the line as JSON and notes where the known members lie.
func (p *fullParser) scanLine() bool {
	i := p.SkipSpace(0)
	switch {
	case i >= len(p.Text):
		return p.reject(i, ClassCorrupted, "nothing but white space")
	case bytes.HasPrefix(p.Text, []byte(byteOrderMark)):
		return p.reject(0, ClassCorrupted, "a byte order mark before the record")
	case p.Text[i] != '{':
		p.Unexpected(i, "a JSON object")
		return false
	}
	i, more := p.FirstMember(i)
	for more {
		if i = p.scanMember(i); i < 0 {
			return false
		}
		i, more = p.NextMember(i)
	}
	if i < 0 {
		return false
	}
	if i = p.SkipSpace(i); i < len(p.Text) {
		p.Unexpected(i, "the end of the line")
		return false
	}
	return true
}

// scanMember checks the member whose name begins at start, notes where its value
// lies and returns the position behind it, or -1.
func (p *fullParser) scanMember(start int) int {
	i, escaped := p.ScanString(start)
	if i < 0 {
		return -1
	}
	name := jsontext.Unquote(p.Text[start:i], escaped)
	m := memberOf(name)
	if m == memberOther && !p.others.addName(name) || m != memberOther && p.have&(1<<m) != 0 {
		p.reject(start, ClassDuplicateKey, "the member stands twice: ", string(name))
		return -1
	}
	if i = p.ScanColon(i); i < 0 {
		return -1
	}
	s := span{start: int32(i)}
	if i < len(p.Text) && p.Text[i] == '"' {
		i, s.escaped = p.ScanString(i)
	} else {
		i = p.ScanValue(i, MaxDepth-1)
	}
	if i >= 0 && m != memberOther {
		s.end = int32(i)
		p.spans[m] = s
		p.have |= 1 << m
	}
	return i
}

// otherNames finds a name that stands twice among those that mean nothing.
type otherNames struct {
	few  [16][]byte
	n    int
	many map[string]struct{}
}

// addName reports false if the name was there before.
func (o *otherNames) addName(name []byte) bool {
	for _, have := range o.few[:o.n] {
		if bytes.Equal(have, name) {
			return false
		}
	}
	if o.n < len(o.few) {
		o.few[o.n] = name
		o.n++
		return true
	}
	if _, ok := o.many[string(name)]; ok {
		return false
	}
	if o.many == nil {
		o.many = map[string]struct{}{}
	}
	o.many[string(name)] = struct{}{}
	return true
}

// fillRecord checks what the members say and fills rec.
func (p *fullParser) fillRecord(rec *Record) bool {
	*rec = Record{Line: p.Text}
	// The seal comes first: if a line claims one that is wrong, the damage is a
	// wrong checksum, whatever else is wrong with the members.
	if p.have&sealMembers != 0 && !p.fillSeal(rec) {
		return false
	}
	kind, ok := p.memberText(memberKind)
	if !ok {
		return false
	}
	rec.Kind = kindOf(kind)
	if rec.System, ok = p.memberText(memberSystem); !ok {
		return false
	}
	if err := checkSystem(rec.System); err != "" {
		return p.reject(int(p.spans[memberSystem].start), ClassMissingField, p.blame(memberSystem), " ", err)
	}
	if rec.Time, ok = p.memberTime(); !ok {
		return false
	}
	layout := &layouts[rec.Kind]
	for _, rule := range layout.members {
		if !p.checkMember(rule) {
			return false
		}
	}
	if layout.typ != memberOther {
		rec.Type, _ = p.memberText(layout.typ)
	}
	rec.Actor = p.memberValue(layout.actor)
	rec.Payload = p.memberValue(memberPayload)
	return true
}

// fillSeal checks what a line says that has at least one member of a seal. The
// line of a rewrite by the Python implementation keeps its identity even if no
// canonical form of it verifies.
func (p *fullParser) fillSeal(rec *Record) bool {
	if s, ok := cutSeal(p.Text, &sealed); ok && s.verifySum(p.Text) {
		rec.Sealed, rec.Node, rec.Run, rec.Seq = true, s.node, s.run, s.seq
		return true
	}
	if s, ok := cutSeal(p.Text, &rewritten); ok {
		rec.Node, rec.Run, rec.Seq = s.node, s.run, s.seq
		rec.Sealed = canonicalLine(p.Text) != nil
		return true
	}
	return p.rejectSeal()
}

// blame notes which member is to blame, and returns its name.
func (p *fullParser) blame(m member) string {
	p.field = memberNames[m]
	return p.field
}

// checkMember checks that the line has a member and that its value is of the
// right type.
func (p *fullParser) checkMember(rule memberRule) bool {
	if p.have&(1<<rule.member) == 0 {
		return p.reject(len(p.Text), ClassMissingField, hasNoMember, p.blame(rule.member))
	}
	if s := p.spans[rule.member]; !rule.value.allows(p.Text[s.start]) {
		return p.reject(int(s.start), ClassMissingField, p.blame(rule.member), " must be ", valueNames[rule.value])
	}
	return true
}

// memberText returns the text of a member that the line must have as a string.
func (p *fullParser) memberText(m member) ([]byte, bool) {
	if !p.checkMember(memberRule{m, stringValue}) {
		return nil, false
	}
	return jsontext.Unquote(p.memberValue(m), p.spans[m].escaped), true
}

// memberValue returns the value of a member as it stands in the line; nil if the
// line has no such member.
func (p *fullParser) memberValue(m member) []byte {
	if p.have&(1<<m) == 0 {
		return nil
	}
	return p.Text[p.spans[m].start:p.spans[m].end]
}

// memberTime returns the timestamp, which every line must have.
func (p *fullParser) memberTime() (int64, bool) {
	if !p.checkMember(memberRule{memberTimestamp, anyValue}) {
		return 0, false
	}
	t, ok := parseTimestamp(p.memberValue(memberTimestamp))
	if !ok {
		p.reject(int(p.spans[memberTimestamp].start), ClassBadTimestamp, "want Unix seconds, a number between the years 1970 and 9999")
		p.blame(memberTimestamp)
	}
	return t, ok
}

// SealedIdentity fills rec with what the seal of a line vouches for, if it
// verifies: Line, System, Sealed, Node, Run and Seq, and Kind where it is one of
// ours. The line need not be a record, and may be of any length: whatever else is
// wrong with it, its publisher has given it this number. A line that the Python
// implementation has rewritten counts as Parse counts it. False means that the seal
// does not verify, or that the line cannot be read as far as its system.
func SealedIdentity(rec *Record, line []byte) bool {
	s, ok := cutSeal(line, &sealed)
	if ok {
		ok = s.verifySum(line)
	} else if s, ok = cutSeal(line, &rewritten); ok {
		ok = canonicalLine(line) != nil
	}
	if !ok {
		return false
	}
	*rec = Record{Line: line, Sealed: true, Node: s.node, Run: s.run, Seq: s.seq}
	if rec.Kind, rec.System = cutHead(line); rec.System != nil {
		return true
	}
	p := fullParser{Scanner: jsontext.Scanner{Text: line, Quiet: true}}
	_ = p.scanLine() // what is wrong comes behind the members that are needed here
	system, ok := p.memberText(memberSystem)
	if !ok || checkSystem(system) != "" {
		return false
	}
	rec.System = system
	if kind, ok := p.memberText(memberKind); ok {
		rec.Kind = kindOf(kind)
	}
	return true
}

// cutHead reads kind and system of a line that begins as the Encoder's do, in plain
// characters. A nil system means that the line must be scanned.
func cutHead(line []byte) (Kind, []byte) {
	rest, ok := bytes.CutPrefix(line, []byte(beforeKind))
	n := bytes.IndexByte(rest, '"')
	if !ok || n < 0 {
		return KindUnknown, nil
	}
	kind := kindOf(rest[:n])
	rest, ok = bytes.CutPrefix(rest[n:], []byte(beforeSystem+`"`))
	n = bytes.IndexByte(rest, '"')
	if kind == KindUnknown || !ok || n < 0 {
		return KindUnknown, nil
	}
	system := rest[:n]
	if bytes.IndexByte(system, '\\') >= 0 || !utf8.Valid(system) || checkSystem(system) != "" {
		return KindUnknown, nil
	}
	return kind, system
}
