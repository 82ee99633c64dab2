package account

import (
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// Unjudged counts the lines that are in no count of the account, since nothing
// says which number they have. The verdict says nothing about them.
type Unjudged struct {
	Unsealed    uint64 `json:"unsealed"`     // stored records without a seal
	UnknownKind uint64 `json:"unknown_kind"` // stored records of a kind that this version does not know
	Damaged     uint64 `json:"damaged"`      // stored lines that are damaged

	// Rejected are lines that sinks of the group refused, and Dropped are records
	// that they dropped, of which no report names the run. Reports that a rotation
	// removed may have counted more.
	Rejected uint64 `json:"rejected"`
	Dropped  uint64 `json:"dropped"`
}

// Lines is the sum of all.
func (u *Unjudged) Lines() uint64 {
	return sumOf(u.Unsealed, u.UnknownKind, u.Damaged, u.Rejected, u.Dropped)
}

// sumOf adds numbers up; it stays at the highest one instead of overflowing.
func sumOf(list ...uint64) (total uint64) {
	for _, n := range list {
		total = numset.AddCounts(total, n)
	}
	return total
}

// looseDrops is what one report says of lines that are in no count.
type looseDrops struct {
	named   uint64 // rejected lines whose run the report names: they are accounted
	unnamed uint64 // dropped records without a run
}

// noteLoose remembers what a report says of lines that are in no count, once for
// each report.
func (b *book) noteLoose(rec *papyra.Record, list []papyra.SinkDrops) {
	var l looseDrops
	for i := range list {
		switch d := &list[i]; {
		case d.Reason == papyra.DropSinkRejected && d.Run != "":
			l.named = sumOf(l.named, d.N)
		case d.Reason != papyra.DropSinkRejected && d.Run == "":
			l.unnamed = sumOf(l.unnamed, d.N)
		}
	}
	if l == (looseDrops{}) {
		return
	}
	if b.loose == nil {
		b.loose = map[noteID]looseDrops{}
	}
	b.loose[noteID{string(rec.Run), rec.Seq}] = l
	b.a.charge(b.a.tenants[papyra.SystemReserved], 4*rangeBytes)
}

// unjudged counts what the group's stores and sinks could not number.
func (l *ledger) unjudged() (u Unjudged) {
	for i := range l.stores {
		if s := &l.stores[i]; s.Judged {
			u.Unsealed = sumOf(u.Unsealed, s.Unsealed)
			u.UnknownKind = sumOf(u.UnknownKind, s.UnknownKind)
			u.Damaged = sumOf(u.Damaged, uint64(max(s.Damaged, 0)))
		}
	}
	for _, s := range l.sinks {
		if s.group == l.group {
			u.Rejected = sumOf(u.Rejected, s.rejected)
		}
	}
	for _, d := range l.loose {
		u.Rejected -= min(u.Rejected, d.named)
		u.Dropped = sumOf(u.Dropped, d.unnamed)
	}
	return u
}
