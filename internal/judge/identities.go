package judge

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// Bounds of what a full scan remembers to find duplicates.
const (
	// identityBudget is how many bytes of compressed bitmaps are kept.
	identityBudget = 24 << 20
	// maxRepeated is how many records with an identity that occurs again are
	// compared.
	maxRepeated = 1 << 17
	// weighEvery is after how many records the bitmaps are weighed.
	weighEvery = 1 << 16
	// runOverhead is about what an empty bitmap costs.
	runOverhead = 256
)

// Identities finds the identities that occur more than once: one bit for each
// record, compressed. Those of parts of a store add up. A nil *Identities
// remembers nothing.
type Identities struct {
	budget int64
	runs   map[string]*numset.Counted // by run and category
	key    []byte
	added  int
	full   bool
}

// NewIdentities returns the memory of one of so many parts.
func NewIdentities(parts int) *Identities {
	return &Identities{budget: identityBudget / int64(max(parts, 1)), runs: map[string]*numset.Counted{}}
}

// Add notes a record.
func (ids *Identities) Add(rec *papyra.Record) {
	if ids == nil || !rec.HasIdentity() || ids.full {
		return
	}
	ids.key = streamKey(ids.key[:0], rec)
	run := ids.runs[string(ids.key)]
	if run == nil {
		run = &numset.Counted{}
		ids.runs[string(ids.key)] = run
	}
	run.Add(rec.Seq)
	if ids.added++; ids.added%weighEvery == 0 || len(ids.runs)*runOverhead > int(ids.budget) {
		ids.weigh()
	}
}

// weigh stops remembering when the budget is spent.
func (ids *Identities) weigh() {
	var size int64
	for key, run := range ids.runs {
		size += runOverhead + int64(len(key)) + int64(run.Compact())
	}
	ids.full = size > ids.budget
}

// streamKey appends what tells one run and category from another.
func streamKey(key []byte, rec *papyra.Record) []byte {
	key = append(key, byte(rec.Kind), byte(len(rec.System)))
	key = append(key, rec.System...)
	return append(key, rec.Run...)
}

// Merge adds the identities of another part.
func (ids *Identities) Merge(o *Identities) {
	if ids == nil || o == nil {
		return
	}
	ids.full = ids.full || o.full
	for key, from := range o.runs {
		to := ids.runs[key]
		if to == nil {
			ids.runs[key] = from
			continue
		}
		to.Absorb(from)
	}
}

// Repeated returns what compares the records whose identity occurs again, or
// nil if none does. What was seen only once is forgotten.
func (ids *Identities) Repeated() *Repeated {
	return &Repeated{repeats: ids.repeats(), seed: maphash.MakeSeed(), seed2: maphash.MakeSeed(), first: map[[2]uint64][]uint64{}}
}

// repeats are the identities that occur again.
type repeats struct {
	runs    map[string]*numset.Set
	key     []byte
	partial bool // the identities of a part only
}

// repeats returns the identities that occur again, and forgets the others.
func (ids *Identities) repeats() repeats {
	r := repeats{runs: map[string]*numset.Set{}, partial: ids.full}
	for key, run := range ids.runs {
		if again := *run.Repeated(); !again.IsEmpty() {
			r.runs[key] = &again // a copy, so that the other numbers can be freed
		}
	}
	ids.runs = nil
	return r
}

// None reports whether no identity occurs again.
func (r *repeats) None() bool { return len(r.runs) == 0 }

// Suspect reports whether the identity of rec occurs again. It leaves what tells
// its run and category in key.
func (r *repeats) Suspect(rec *papyra.Record) bool {
	if !rec.HasIdentity() {
		return false
	}
	r.key = streamKey(r.key[:0], rec)
	again := r.runs[string(r.key)]
	return again != nil && again.Contains(rec.Seq)
}

// Repeated compares records that have one identity, offered in order.
type Repeated struct {
	repeats
	seed, seed2 maphash.Seed
	// first holds, for each identity, a hash of each different line that has it.
	first map[[2]uint64][]uint64

	duplicates int64
	tooMany    bool // more of them than are compared
}

// Result returns the number of exact duplicates and the bounds that were
// reached.
func (r *Repeated) Result() (duplicates int64, limits []string) {
	if r.partial {
		limits = append(limits, fmt.Sprintf("duplicates: the identities do not fit in %d MiB, only a part was compared", identityBudget>>20))
	}
	if r.tooMany {
		limits = append(limits, fmt.Sprintf("duplicates: only the first %d identities that occur again were compared", maxRepeated))
	}
	return r.duplicates, limits
}

// Conflict reports whether rec has the identity of an earlier record and other
// bytes. An exact duplicate is counted.
func (r *Repeated) Conflict(rec *papyra.Record) bool {
	if !r.Suspect(rec) {
		return false
	}
	r.key = binary.LittleEndian.AppendUint64(r.key, rec.Seq)
	identity := [2]uint64{maphash.Bytes(r.seed, r.key), maphash.Bytes(r.seed2, r.key)}
	line := maphash.Bytes(r.seed, rec.Canonical())
	lines, known := r.first[identity]
	for _, other := range lines {
		if other == line {
			r.duplicates++
			return false
		}
	}
	if !known && len(r.first) == maxRepeated {
		r.tooMany = true
		return false
	}
	if len(lines) < maxVersions {
		r.first[identity] = append(lines, line)
	}
	return known
}

// maxVersions is how many different lines of one identity are remembered.
const maxVersions = 16

// ConflictDetail says what a conflict is about.
func ConflictDetail(rec *papyra.Record) string {
	return fmt.Sprintf("run %s number %d is that of an earlier record with other bytes", rec.Run, rec.Seq)
}
