package papyra

import (
	"fmt"
	"math/bits"

	"github.com/papyra/papyra/internal/checksum"
	"github.com/papyra/papyra/internal/jsontext"
)

// rejectSeal notes what is wrong with the seal of a line that has at least one of its
// members and no right seal. Many lines may be wrong: what people read is worked out
// only where it is wanted.
func (p *fullParser) rejectSeal() bool {
	first := memberNode
	for p.have&(1<<first) == 0 {
		first++
	}
	p.reject(int(p.spans[first].start), ClassChecksumMismatch)
	if p.Quiet {
		return false
	}
	if s, ok := cutSeal(p.Text, &sealed); ok && isChecksum(s.crc) {
		p.field = memberNames[memberCRC]
		p.Detail = fmt.Sprintf("crc is %s, and the line's own is %08x", s.crc, checksum.Of(p.Text[:len(p.Text)-checksum.TailLen]))
		return false
	}
	if bits.OnesCount32(p.have&sealMembers) < 3 { // one or two by chance, three by intent
		p.fault, p.Detail = FaultReservedMember, "the name is the seal's, and the line has no seal"
		p.blame(first)
		return false
	}
	p.fault, p.Detail = FaultBadSeal, "node, run, seq and crc must end the line, in this order and without spaces"
	for m := memberNode; m <= memberCRC; m++ {
		if want := p.wantInSeal(m); want != "" {
			p.Detail = p.blame(m) + " " + want
			p.Pos = int(p.spans[m].start)
			return false
		}
	}
	return false
}

// wantInSeal returns what the value of a member of the seal must be, or nothing if it
// is that.
func (p *fullParser) wantInSeal(m member) string {
	value := p.memberValue(m)
	var text []byte // of a string
	if len(value) > 0 && value[0] == '"' {
		text = jsontext.Unquote(value, p.spans[m].escaped)
	}
	switch {
	case value == nil:
		return "is missing"
	case m == memberNode && !legalNode(text):
		return fmt.Sprintf("must be 1 to %d of [A-Za-z0-9._-]", MaxNameBytes)
	case m == memberRun && !legalRun(text):
		return fmt.Sprintf("must be %d of [0-9a-z]", runLen)
	case m == memberSeq && !isNumber(value):
		return "must be a whole number from 1 on"
	case m == memberCRC && !isChecksum(text):
		return "must be 8 of [0-9a-f]"
	}
	return ""
}

// isNumber reports whether value is a sequence number as a seal spells it.
func isNumber(value []byte) bool {
	_, first := jsontext.ReadDigitsBefore(value, 0, len(value))
	return first == 0 && len(value) > 0 && value[0] != '0'
}

func isChecksum(text []byte) bool {
	for _, b := range text {
		if (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return false
		}
	}
	return len(text) == 8
}
