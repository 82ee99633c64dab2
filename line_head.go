package papyra

import (
	"bytes"

	"github.com/papyra/papyra/internal/checksum"
)

// head is the beginning of a line, which all records of one system and kind
// share. An Encoder makes it once and then copies it.
type head struct {
	text      []byte
	sum       uint32 // checksum of text
	sanitized int
}

// headReach is up to where a head reaches. The actor of most records belongs to
// the record's own system, so that the head can hold most of its address.
type headReach uint8

const (
	headSystem     headReach = iota // up to what follows the system: the address, or a report's name
	headName                        // up to and with `"system:` of an address with a name
	headID                          // up to and with `{"system":…,"actor_id":` of one without a name
	headReachCount                  // how many there are
)

// maxHeadSystem is the longest system id whose heads an Encoder keeps. A legal id
// has at most MaxSystemBytes.
const maxHeadSystem = 4 * MaxSystemBytes

func headReachOf(a *Address, system string) headReach {
	switch {
	case a.System != "" && a.System != system:
		return headSystem
	case a.Name != "":
		return headName
	default:
		return headID
	}
}

// beginLine begins a record with its head.
func (e *Encoder) beginLine(kind Kind, reach headReach, system string) {
	if cap(e.out.Buf) > 2*MaxPublishedLine {
		e.out.Buf = nil
	}
	e.out.Reset(MaxPublishedLine, MaxDepth, 1)
	if system != e.system {
		e.heads, e.system = [KindCount][headReachCount]head{}, system
	}
	h := &e.heads[kind][reach]
	if len(h.text) == 0 {
		e.beginFirst(h, kind, reach, system)
		return
	}
	e.out.Buf = append(e.out.Buf[:0], h.text...)
	e.out.Sanitized, e.summed, e.sum = h.sanitized, len(h.text), h.sum
}

// beginFirst begins a record whose head is not known yet, and notes the head.
func (e *Encoder) beginFirst(h *head, kind Kind, reach headReach, system string) {
	if cap(e.out.Buf) == 0 {
		e.out.Buf = make([]byte, 0, 1024) // an ordinary record fits
	}
	e.out.Buf, e.out.Sanitized, e.summed, e.sum = e.out.Buf[:0], 0, 0, 0
	e.out.WriteRaw(beforeKind)
	e.out.WriteRaw(kind.String())
	e.out.WriteRaw(beforeSystem)
	e.out.WriteString(system)
	e.out.WriteRaw(layouts[kind].afterSystem)
	switch reach {
	case headName:
		e.out.WriteRaw(`"`)
		e.out.WriteText(system)
		e.out.WriteRaw(`:`)
	case headID:
		e.out.WriteRaw(beforeAddressSystem)
		e.out.WriteString(system)
		e.out.WriteRaw(beforeAddressID)
	}
	if e.out.Err() != nil || len(system) > maxHeadSystem {
		return
	}
	e.summed, e.sum = len(e.out.Buf), checksum.Of(e.out.Buf)
	*h = head{text: bytes.Clone(e.out.Buf), sum: e.sum, sanitized: e.out.Sanitized}
}
