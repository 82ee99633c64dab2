package maintain

import (
	"cmp"
	"slices"
	"strings"

	"github.com/papyra/papyra"
)

// SortGroups puts consumer groups in the order of reports: by stream and name.
func SortGroups(groups []papyra.RemovedGroup) { slices.SortFunc(groups, compareGroups) }

func compareGroups(a, b papyra.RemovedGroup) int {
	return cmp.Or(strings.Compare(a.Stream, b.Stream), strings.Compare(a.Group, b.Group))
}

// addGroups adds up what two removals take from the same groups.
func addGroups(a, b []papyra.RemovedGroup) []papyra.RemovedGroup {
	out := slices.Clone(a)
	for _, g := range b {
		i := slices.IndexFunc(out, func(o papyra.RemovedGroup) bool { return compareGroups(o, g) == 0 })
		if i < 0 {
			out = append(out, g)
			continue
		}
		out[i].Pending += g.Pending
		out[i].Undelivered += g.Undelivered
	}
	SortGroups(out)
	return out
}
