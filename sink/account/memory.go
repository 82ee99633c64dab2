package account

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/papyra/papyra"
)

// DefaultMemory is the default of [Options.Memory].
const DefaultMemory = 1 << 30

// What things take in memory, about, with what the result says of them.
const (
	systemBytes  = 512
	runBytes     = 1024
	seriesBytes  = 512
	rangeBytes   = 32
	removalBytes = 256
)

// weighEvery is after how many records of a series its memory is weighed.
const weighEvery = 64

// maxSystems is how many systems are told apart. The others are not judged.
const maxSystems = 1 << 17

// maxListed bounds the systems without a judgement that a result lists.
const maxListed = 1000

// tenant is what the books together hold of one system. One that holds more than
// its share is closed: nobody may say of it what is missing. Papyra's own reports
// are a system with a bound of its own, and so are the removals that name no
// system; without them nobody's account is whole.
type tenant struct {
	name   string
	bytes  uint64
	closed bool
	free   func() // drops what the books hold
}

// memory bounds what an account holds, by system.
type memory struct {
	limit   uint64 // of all tenants together, those of the pipeline apart
	share   uint64 // of one of them
	bytes   uint64
	tenants map[string]*tenant
	more    bool // there are more systems than are told apart
	only    string
}

func newMemory(o *Options) memory {
	m := memory{limit: o.Memory, share: o.Memory / 4, tenants: map[string]*tenant{}, only: o.System}
	if m.only != "" {
		m.limit *= 4
		m.share = m.limit
	}
	return m
}

// ofPipeline reports whether a system is papyra's own, or none.
func ofPipeline(system string) bool { return system == papyra.SystemReserved || system == "" }

// tenantOf returns what is held of a system, nil if it is not judged.
func (a *Account) tenantOf(system []byte) *tenant {
	m := &a.memory
	t := m.tenants[string(system)]
	if t == nil {
		t = a.newTenant(string(system))
	}
	if t == nil || t.closed {
		return nil
	}
	return t
}

func (a *Account) newTenant(system string) *tenant {
	m := &a.memory
	if m.only != "" && system != m.only && !ofPipeline(system) {
		return nil
	}
	if len(m.tenants) >= maxSystems && !ofPipeline(system) {
		m.more = true
		return nil
	}
	t := &tenant{name: system}
	t.free = func() { a.forget(t) }
	m.tenants[system] = t
	a.charge(t, systemBytes)
	return t
}

// charge notes that so many bytes more are held of a system, and closes those that
// hold too much: of all together the largest.
func (a *Account) charge(t *tenant, bytes uint64) {
	m := &a.memory
	if t.closed {
		return
	}
	t.bytes += bytes
	if ofPipeline(t.name) {
		if t.bytes > m.limit/2 {
			m.close(t)
		}
		return
	}
	m.bytes += bytes
	if t.bytes > m.share {
		m.close(t)
	}
	if m.bytes <= m.limit {
		return
	}
	// So many at once that the others are seldom sorted.
	largest := slices.SortedFunc(maps.Values(m.tenants), func(a, b *tenant) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name))
	})
	for _, t := range largest {
		if m.bytes <= m.limit/8*7 {
			return
		}
		if !ofPipeline(t.name) {
			m.close(t)
		}
	}
}

// release takes back a charge of what is held no longer.
func (m *memory) release(t *tenant, bytes uint64) {
	bytes = min(bytes, t.bytes)
	t.bytes -= bytes
	if !ofPipeline(t.name) {
		m.bytes -= bytes
	}
}

func (m *memory) close(t *tenant) {
	if t.closed {
		return
	}
	t.closed = true
	if !ofPipeline(t.name) {
		m.bytes -= t.bytes
	}
	t.bytes = 0
	t.free()
}

// forget drops what the books hold of a system.
func (a *Account) forget(t *tenant) {
	for _, b := range a.books {
		delete(b.systems, t.name)
		b.last = nil
		delete(b.removals, t.name)
		if t.name == papyra.SystemReserved {
			b.open, b.waiting = nil, nil
		}
	}
}

// ShowTooLarge says for people which systems are in no row, and what to do. It wants
// TooLargeTotal above 0, or TooManySystems.
func (r *Result) ShowTooLarge() string {
	switch {
	case r.TooLargeTotal == 0:
		return fmt.Sprintf("there are more than %d systems: --system judges one", maxSystems)
	case slices.Contains(r.TooLarge, papyra.SystemReserved):
		return "the reports of the pipeline itself need more memory than there is for them, so that what looks missing may be explained: --system needs less"
	case r.System != "":
		return fmt.Sprintf("system %s has more runs and ranges than there is memory for", r.System)
	case r.TooLargeTotal == 1:
		return fmt.Sprintf("system %s has more runs and ranges than there is memory for one system: --system judges it alone", r.TooLarge[0])
	}
	return fmt.Sprintf("system %s and %d more have more runs and ranges than there is memory for one system: --system judges one alone", r.TooLarge[0], r.TooLargeTotal-1)
}

// closedSystems returns the systems that are not judged, and how many there are.
func (m *memory) closedSystems() (list []string, n uint64) {
	for _, t := range m.tenants {
		if t.closed {
			n++
			list = append(list, cmp.Or(t.name, papyra.SystemReserved))
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return list[:min(len(list), maxListed)], n
}
