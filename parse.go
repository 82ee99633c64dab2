package papyra

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// member is one of the top-level names that mean something.
type member uint8

const (
	memberOther member = iota
	memberKind
	memberSystem
	memberActor
	memberEventType
	memberPayload
	memberTimestamp
	memberTarget
	memberMessageType
	memberReport
	memberTotal
	memberAlive
	memberStopping
	memberRestarting
	memberRegistrySize
	memberOrphans
	memberDead
	memberDeadLetters
	memberNode
	memberRun
	memberSeq
	memberCRC
	memberCount
)

var memberNames = [memberCount]string{
	"", "kind", "system_id", "actor_address", "event_type", "payload", "timestamp",
	"target", "message_type", "report",
	"total_actors", "alive_actors", "stopping_actors", "restarting_actors",
	"registry_size", "registry_orphans", "registry_dead", "dead_letters_count",
	"node", "run", "seq", "crc",
}

func memberOf(name []byte) member {
	switch string(name) {
	case "kind":
		return memberKind
	case "system_id":
		return memberSystem
	case "actor_address":
		return memberActor
	case "event_type":
		return memberEventType
	case "payload":
		return memberPayload
	case "timestamp":
		return memberTimestamp
	case "target":
		return memberTarget
	case "message_type":
		return memberMessageType
	case "report":
		return memberReport
	case "total_actors":
		return memberTotal
	case "alive_actors":
		return memberAlive
	case "stopping_actors":
		return memberStopping
	case "restarting_actors":
		return memberRestarting
	case "registry_size":
		return memberRegistrySize
	case "registry_orphans":
		return memberOrphans
	case "registry_dead":
		return memberDead
	case "dead_letters_count":
		return memberDeadLetters
	case "node":
		return memberNode
	case "run":
		return memberRun
	case "seq":
		return memberSeq
	case "crc":
		return memberCRC
	}
	return memberOther
}

// span is where a member's value lies in the line.
type span struct {
	start, end int32
	escaped    bool // a string that holds an escape
}

// sealMembers are the reserved names.
const sealMembers = 1<<memberNode | 1<<memberRun | 1<<memberSeq | 1<<memberCRC

// requirement is a member that a kind must have, and the first bytes that its
// value may have.
type requirement struct {
	member member
	first  string
}

const (
	aString  = `"`
	aNumber  = "-0123456789"
	anArray  = "["
	anActor  = `{"n`
	anything = ""
)

var required = [KindCount][]requirement{
	KindEvent:      {{memberActor, anActor}, {memberEventType, aString}, {memberPayload, anything}},
	KindDeadLetter: {{memberTarget, anActor}, {memberMessageType, aString}, {memberPayload, anything}},
	KindReport:     {{memberReport, aString}, {memberPayload, anything}},
	KindAudit: {
		{memberTotal, aNumber}, {memberAlive, aNumber}, {memberStopping, aNumber}, {memberRestarting, aNumber},
		{memberRegistrySize, aNumber}, {memberOrphans, anArray}, {memberDead, anArray}, {memberDeadLetters, aNumber},
	},
}

// Parse checks a line, given without its newline, in full: UTF-8, JSON, depth,
// duplicate members, the members of its kind, the timestamp and the seal. The
// error is a *[LineError]. The record aliases line.
func Parse(line []byte) (Record, error) {
	var rec Record
	err := ParseInto(&rec, line)
	return rec, err
}

// ParseInto is [Parse] into an existing Record. It allocates only for strings
// that hold escapes, for more than 16 members that mean nothing to it, and for
// the error. After an error rec is undefined.
func ParseInto(rec *Record, line []byte) error {
	p := fullParser{scanner: scanner{b: line}}
	if len(line)+1 > MaxLine {
		return &LineError{ClassOversize, MaxLine, "longer than a line may be"}
	}
	if !p.object() || !p.record(rec) {
		return &LineError{p.class, p.pos, p.detail}
	}
	return nil
}

type fullParser struct {
	scanner
	have   uint32 // bit set of members
	spans  [memberCount]span
	others otherNames
}

// object checks the line as JSON and notes where the known members lie.
func (p *fullParser) object() bool {
	i := p.space(0)
	if i >= len(p.b) {
		return p.fail(i, ClassCorrupted, "nothing but white space") >= 0
	}
	if p.b[i] != '{' {
		return p.unexpected(i, "a JSON object") >= 0
	}
	i = p.space(i + 1)
	if i < len(p.b) && p.b[i] == '}' {
		return p.end(i + 1)
	}
	for {
		if i >= len(p.b) || p.b[i] != '"' {
			return p.unexpected(i, "a member's name") >= 0
		}
		if i = p.member(i); i < 0 {
			return false
		}
		i = p.space(i)
		switch {
		case i < len(p.b) && p.b[i] == ',':
			i = p.space(i + 1)
		case i < len(p.b) && p.b[i] == '}':
			return p.end(i + 1)
		default:
			return p.unexpected(i, "a comma or a closing brace") >= 0
		}
	}
}

// end wants nothing but white space behind the object.
func (p *fullParser) end(i int) bool {
	if i = p.space(i); i < len(p.b) {
		return p.unexpected(i, "the end of the line") >= 0
	}
	return true
}

// member checks one name and its value.
func (p *fullParser) member(start int) int {
	i, escaped := p.str(start)
	if i < 0 {
		return -1
	}
	name := unquote(p.b[start:i], escaped)
	m := memberOf(name)
	if m == memberOther && !p.others.add(name) || m != memberOther && p.have&(1<<m) != 0 {
		return p.fail(start, ClassDuplicateKey, "the member stands twice: "+string(name))
	}
	if i = p.colon(i); i < 0 {
		return -1
	}
	return p.note(m, i)
}

// note checks the value of m, which begins at i, and notes where it lies.
func (p *fullParser) note(m member, i int) int {
	s := span{start: int32(i)}
	if i < len(p.b) && p.b[i] == '"' {
		i, s.escaped = p.str(i)
	} else {
		i = p.value(i, 1)
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

// add reports false if the name was there before.
func (o *otherNames) add(name []byte) bool {
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

// record checks what the members say and fills rec.
func (p *fullParser) record(rec *Record) bool {
	*rec = Record{Line: p.b}
	// The seal comes first: in a line that claims one, a wrong member is damage
	// of the seal's making.
	if p.have&sealMembers != 0 && !p.seal(rec) {
		return false
	}
	kind, ok := p.text(memberKind)
	if !ok {
		return false
	}
	rec.Kind = kindOf(kind)
	if rec.System, ok = p.text(memberSystem); !ok {
		return false
	}
	if err := checkSystem(rec.System); err != "" {
		return p.fail(int(p.spans[memberSystem].start), ClassMissingField, "system_id "+err) >= 0
	}
	if rec.Time, ok = p.timestamp(); !ok {
		return false
	}
	for _, r := range required[rec.Kind] {
		if !p.wants(r) {
			return false
		}
	}
	switch rec.Kind {
	case KindEvent:
		rec.Type, _ = p.text(memberEventType)
		rec.Actor = p.raw(memberActor)
	case KindDeadLetter:
		rec.Type, _ = p.text(memberMessageType)
		rec.Actor = p.raw(memberTarget)
	case KindReport:
		rec.Type, _ = p.text(memberReport)
	}
	rec.Payload = p.raw(memberPayload)
	return true
}

func (p *fullParser) seal(rec *Record) bool {
	if s, ok := cutSeal(p.b, &sealed); ok && s.verify(p.b) {
		rec.Sealed, rec.Node, rec.Run, rec.Seq = true, s.node, s.run, s.seq
		return true
	}
	if s, ok := cutSeal(p.b, &rewritten); ok {
		rec.Node, rec.Run, rec.Seq = s.node, s.run, s.seq
		return true
	}
	for m := memberNode; m <= memberCRC; m++ {
		if p.have&(1<<m) != 0 {
			return p.fail(int(p.spans[m].start), ClassChecksumMismatch,
				"has the reserved member "+memberNames[m]+" and no seal with a right checksum") >= 0
		}
	}
	return true
}

// wants checks that a member is there and begins as it should.
func (p *fullParser) wants(r requirement) bool {
	if p.have&(1<<r.member) == 0 {
		return p.fail(len(p.b), ClassMissingField, "has no member "+memberNames[r.member]) >= 0
	}
	s := p.spans[r.member]
	if r.first != anything && strings.IndexByte(r.first, p.b[s.start]) < 0 {
		return p.fail(int(s.start), ClassMissingField, "member "+memberNames[r.member]+" has a wrong type") >= 0
	}
	return true
}

func (p *fullParser) text(m member) ([]byte, bool) {
	if !p.wants(requirement{m, aString}) {
		return nil, false
	}
	return unquote(p.raw(m), p.spans[m].escaped), true
}

func (p *fullParser) raw(m member) []byte {
	if p.have&(1<<m) == 0 {
		return nil
	}
	return p.b[p.spans[m].start:p.spans[m].end]
}

func (p *fullParser) timestamp() (int64, bool) {
	if !p.wants(requirement{memberTimestamp, anything}) {
		return 0, false
	}
	t, ok := parseTimestamp(p.raw(memberTimestamp))
	if !ok {
		p.fail(int(p.spans[memberTimestamp].start), ClassBadTimestamp, "timestamp is not a number of seconds between the years 1970 and 9999")
	}
	return t, ok
}

func kindOf(name []byte) Kind {
	for k := KindEvent; k < KindCount; k++ {
		if kindNames[k] == string(name) {
			return k
		}
	}
	return KindUnknown
}

// checkSystem is CheckSystem without an allocation.
func checkSystem(system []byte) string {
	if len(system) == 0 || len(system) > MaxSystemBytes {
		return "does not have 1 to " + strconv.Itoa(MaxSystemBytes) + " bytes"
	}
	for i := 0; i < len(system); {
		if c := system[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return "has a control character"
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(system[i:])
		if r < 0xa0 {
			return "has a control character"
		}
		i += n
	}
	return ""
}

// maxTime is the first microsecond of the year 10000.
const maxTime = 253402300800 * 1e6

// parseTimestamp turns a JSON number of seconds into microseconds; digits
// beyond the sixth are cut off.
func parseTimestamp(raw []byte) (int64, bool) {
	if len(raw) > secondsLen+1 && len(raw) <= secondsLen+7 && raw[secondsLen] == '.' {
		if t, ok := usualTimestamp(raw); ok {
			return t, true
		}
	}
	var sec int64
	i := 0
	for ; i < len(raw) && raw[i] >= '0' && raw[i] <= '9'; i++ {
		if i == 12 {
			return slowTimestamp(raw)
		}
		sec = sec*10 + int64(raw[i]-'0')
	}
	micro := int64(0)
	if i > 0 && i < len(raw) && raw[i] == '.' {
		i++
		unit := int64(100_000)
		for ; i < len(raw) && raw[i] >= '0' && raw[i] <= '9'; i++ {
			micro += unit * int64(raw[i]-'0')
			unit /= 10
		}
	}
	if i == 0 || i < len(raw) {
		return slowTimestamp(raw)
	}
	t := sec*1e6 + micro
	return t, t < maxTime
}

// secondsLen is the number of digits of the seconds from 2001 to 2286.
const secondsLen = 10

// micros are how many microseconds the last digit of so many stands for.
var micros = [...]int64{0, 100_000, 10_000, 1_000, 100, 10, 1}

// usualTimestamp is parseTimestamp for ten digits, a dot, and one to six digits.
func usualTimestamp(raw []byte) (int64, bool) {
	word, n := lastDigits(raw[:8])
	tens, one := raw[8]-'0', raw[9]-'0'
	fraction, m := lastDigits(raw[len(raw)-8:])
	if want := len(raw) - secondsLen - 1; n != 8 || tens > 9 || one > 9 || m != want {
		return 0, false
	}
	sec := int64(value8(word))*100 + int64(tens)*10 + int64(one)
	return sec*1e6 + int64(value8(fraction))*micros[m], true
}

// slowTimestamp takes exponents and long numbers.
func slowTimestamp(raw []byte) (int64, bool) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 0 || f >= maxTime/1e6 {
		return 0, false
	}
	return int64(math.Floor(f * 1e6)), true
}
