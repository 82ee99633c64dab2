package papyra

import "hash/crc32"

// head is the beginning of a record, which is the same in every record of a
// system and kind, with what is known of it.
type head struct {
	text      []byte
	crc       uint32 // CRC-32C of text
	sanitized int
}

// A form is what a head reaches up to. The actor of most records belongs to the
// system of the record, so that the head takes in most of its address.
type form uint8

const (
	formBare form = iota // up to what follows the system: the address, the report's name
	formName             // up to and with `"system:` of a named address
	formID               // up to and with `{"system":…,"actor_id":` of one without a name
	formCount
)

// maxHeadSystem is the longest system id whose heads an encoder keeps; a legal
// one has at most MaxNameBytes.
const maxHeadSystem = 4 * MaxNameBytes

func formOf(a *Address, system string) form {
	switch {
	case a.System != "" && a.System != system:
		return formBare
	case a.Name != "":
		return formName
	default:
		return formID
	}
}

// begin starts a record with its head.
func (e *Encoder) begin(kind Kind, f form, system string) {
	if cap(e.buf) > 2*MaxPublishedLine {
		e.buf = nil
	}
	e.depth, e.hops, e.err = 1, 0, nil
	if system != e.system {
		e.heads, e.system = [KindCount][formCount]head{}, system
	}
	h := &e.heads[kind][f]
	if len(h.text) == 0 {
		e.firstHead(h, kind, f, system)
		return
	}
	e.buf = append(e.buf[:0], h.text...)
	e.sanitized, e.known, e.crc = h.sanitized, len(h.text), h.crc
}

// firstHead starts a record with a head that is not known yet.
func (e *Encoder) firstHead(h *head, kind Kind, f form, system string) {
	if cap(e.buf) == 0 {
		e.buf = make([]byte, 0, 1024) // an ordinary record fits
	}
	e.buf, e.sanitized, e.known, e.crc = e.buf[:0], 0, 0, 0
	e.raw(`{"kind":"`)
	e.raw(kind.String())
	e.raw(`","system_id":`)
	e.str(system)
	switch kind {
	case KindEvent:
		e.raw(`,"actor_address":`)
	case KindDeadLetter:
		e.raw(`,"target":`)
	case KindReport:
		e.raw(`,"report":`)
	}
	switch f {
	case formName:
		e.raw(`"`)
		e.text(system)
		e.raw(`:`)
	case formID:
		e.raw(`{"system":`)
		e.str(system)
		e.raw(`,"actor_id":`)
	}
	if e.err != nil || len(system) > maxHeadSystem {
		return
	}
	e.known, e.crc = len(e.buf), crc32.Checksum(e.buf, castagnoli)
	*h = head{text: append([]byte(nil), e.buf...), crc: e.crc, sanitized: e.sanitized}
}
