package account

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/unended"
)

// Unended is a compaction that announced what is still stored and never said how it
// ended: it was killed, or was an older version's. It explains what it announced. The
// next act on the store ends it.
type Unended struct {
	Act       string  `json:"act"`
	At        float64 `json:"at"`
	Announced uint64  `json:"announced"` // records
	Stored    uint64  `json:"stored"`    // of these, numbers that are still stored
}

func (u *Unended) String() string {
	return unended.Describe(u.Act, u.Announced, u.Stored) + "; the next act on the store ends it"
}

// findUnended compares what the acts without an end announced with what this store
// holds: what another store of the group holds says nothing about them.
func (b *book) findUnended() {
	var byID map[string][]*run // for removals that name no system
	for _, id := range slices.Sorted(maps.Keys(b.open)) {
		u := Unended{Act: id}
		for i := range b.open[id] {
			held := &b.open[id][i]
			var p papyra.RemovalReport
			if json.Unmarshal(held.payload, &p) != nil || p.Act != papyra.ActCompact {
				continue
			}
			u.At = seconds(held.rec.Time)
			for category, c := range p.Categories {
				u.Announced = sumOf(u.Announced, uint64(max(c.Records, 0)))
				for k := range c.Runs {
					g := &c.Runs[k]
					runs := []*run{b.systems[g.System][g.Run]}
					if g.System == "" {
						if byID == nil {
							byID = map[string][]*run{}
							for r := range b.runs {
								byID[r.key.run] = append(byID[r.key.run], r)
							}
						}
						runs = byID[g.Run]
					}
					for _, r := range runs {
						u.Stored = sumOf(u.Stored, r.storedOf(papyra.ParseCategory(category), g.Ranges))
					}
				}
			}
		}
		if u.Stored > 0 {
			b.unended = append(b.unended, u)
		}
	}
}

// storedOf returns how many numbers of ranges are stored, whether the seals of their
// records verify or not.
func (r *run) storedOf(kind papyra.Kind, ranges []papyra.Range) (n uint64) {
	if r == nil || r.series[kind] == nil {
		return 0
	}
	stored := r.series[kind].numbers()
	for _, g := range ranges {
		if g[0] > 0 {
			n = sumOf(n, stored.CountBetween(g[0]-1, g[1]))
		}
	}
	return n
}
