package memory

import (
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// salvage is the damaged entries on their way into the quarantine.
type salvage struct {
	p       *pinned
	id      string
	removal maintain.Removal
	moved   []Quarantined
	goes    []bool
	advance func(int64)
}

// Salvage finds the damaged entries. They are safe where they are until Move.
func (p *pinned) Salvage(id string, _ papyra.RecoverOptions, advance func(int64)) (maintain.Salvage, error) {
	sv := &salvage{p: p, id: id, goes: make([]bool, len(p.entries)), advance: advance}
	i := -1
	err := p.each(func(rec *papyra.Record, e entry) {
		i++
		verdict, damage := judge.Line(rec, e.line, true)
		if verdict != judge.Damaged {
			return
		}
		sv.goes[i] = true
		sv.moved = append(sv.moved, Quarantined{Act: id, ID: e.id(), Class: damage.Class, Bytes: e.line})
		sv.removal.Damaged++
		sv.removal.DamagedBytes += int64(len(e.line)) + 1
	})
	return sv, err
}

// Removal is what goes.
func (sv *salvage) Removal() *maintain.Removal { return &sv.removal }

// Quarantine names the act in the memory.
func (sv *salvage) Quarantine() string { return sv.p.s.quarantine(sv.id) }

// Prepare has nothing to prepare.
func (sv *salvage) Prepare() error { return nil }

// Move puts the damaged entries into the quarantine, in one step.
func (sv *salvage) Move() (moved maintain.Removal, err error) {
	sv.p.swap(func(i int) bool { return sv.goes[i] }, sv.moved, sv.advance)
	return sv.removal, nil
}

// Close has nothing to close.
func (sv *salvage) Close() {}
