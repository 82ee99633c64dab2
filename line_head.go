package papyra

import (
	"bytes"

	"github.com/papyra/papyra/internal/checksum"
	"github.com/papyra/papyra/internal/jsontext"
)

// headCache has the heads of one system, the one whose records were written last.
type headCache struct {
	system string
	heads  [KindCount][headReachCount]head
}

// head is the beginning of a line, which all records of one system and kind
// share. It is made once and then copied.
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

// maxHeadSystem is the longest system id whose heads are kept. A legal id
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

// beginLine begins a line in out with a head. It returns the length and the
// checksum of the head, or 0 for both if the head is not kept.
func (c *headCache) beginLine(out *jsontext.Writer, kind Kind, reach headReach, system string) (int, uint32) {
	if cap(out.Buf) > 2*MaxPublishedLine {
		out.Buf = nil
	}
	out.Reset(MaxPublishedLine, MaxDepth, 1)
	if system != c.system {
		*c = headCache{system: system}
	}
	h := &c.heads[kind][reach]
	if len(h.text) == 0 {
		return h.makeHead(out, kind, reach, system)
	}
	out.Buf = append(out.Buf[:0], h.text...)
	out.Sanitized = h.sanitized
	return len(h.text), h.sum
}

// makeHead is beginLine for a head that is not known yet. It fills h unless the
// head is not worth to be kept.
func (h *head) makeHead(out *jsontext.Writer, kind Kind, reach headReach, system string) (int, uint32) {
	if cap(out.Buf) == 0 {
		out.Buf = make([]byte, 0, 1024) // an ordinary record fits
	}
	out.Buf, out.Sanitized = out.Buf[:0], 0
	out.WriteRaw(beforeKind)
	out.WriteRaw(kind.String())
	out.WriteRaw(beforeSystem)
	out.WriteString(system)
	out.WriteRaw(layouts[kind].afterSystem)
	switch reach {
	case headName:
		out.WriteRaw(`"`)
		out.WriteText(system)
		out.WriteRaw(`:`)
	case headID:
		out.WriteRaw(beforeAddressSystem)
		out.WriteString(system)
		out.WriteRaw(beforeAddressID)
	}
	if out.Err() != nil || len(system) > maxHeadSystem {
		return 0, 0
	}
	*h = head{text: bytes.Clone(out.Buf), sum: checksum.Of(out.Buf), sanitized: out.Sanitized}
	return len(h.text), h.sum
}
