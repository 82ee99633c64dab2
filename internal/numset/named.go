package numset

import "github.com/papyra/papyra"

// Named are numbers as a report names them: by a bounded list of ranges, and by the
// lowest and the highest of those that found no place there. The zero Named is empty.
type Named struct {
	Ranges []papyra.Range // in the order in which they came
	Others papyra.Range   // zero for none
}

// Add joins numbers to the last range, or begins another while there are fewer than
// limit.
func (n *Named) Add(g papyra.Range, limit int) {
	switch last := len(n.Ranges) - 1; {
	case last >= 0 && n.Ranges[last][1]+1 == g[0]:
		n.Ranges[last][1] = g[1]
	case len(n.Ranges) < limit:
		n.Ranges = append(n.Ranges, g)
	default:
		n.AddOthers(g)
	}
}

// AddOthers widens Others by a range, which may be zero.
func (n *Named) AddOthers(g papyra.Range) {
	if g[1] == 0 {
		return
	}
	if n.Others[0] == 0 {
		n.Others[0] = g[0]
	}
	n.Others = papyra.Range{min(n.Others[0], g[0]), max(n.Others[1], g[1])}
}
