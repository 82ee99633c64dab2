package papyra

import (
	"slices"
	"time"
)

// Query chooses records. The zero Query chooses every record. Filters apply
// before Limit: Limit counts matches.
type Query struct {
	Kinds   []Kind   // empty: every kind
	Systems []string // empty: every system
	Types   []string // event_type, message_type or report; empty: every type
	Actors  []string // "system:id" or "id"; empty: every actor. Audits and reports have none
	Nodes   []string // the seal's node; empty: every node

	// Since and Until bound the record's timestamp: Since <= t < Until. The
	// zero time is no bound. A record without a date is within every bound.
	Since, Until time.Time

	// Limit is the number of newest matches in append order to return; 0 is no
	// limit, a negative value is an error.
	Limit int

	// Reverse returns the newest match first. Without it matches come in
	// append order, also under a Limit.
	Reverse bool

	// Duplicates asks for every copy of an exact duplicate instead of the first.
	Duplicates bool

	// Retention is applied before every filter, as [Retention] says, at the
	// moment At (zero: no age limit applies).
	Retention Retention
	At        time.Time
}

// Match reports whether the filters choose rec. It ignores Limit, Reverse,
// Duplicates and Retention.
func (q *Query) Match(rec *Record) bool {
	if len(q.Kinds) > 0 && !slices.Contains(q.Kinds, rec.Kind) {
		return false
	}
	if rec.HasDate() && (!q.Since.IsZero() && rec.Time < q.Since.UnixMicro() || !q.Until.IsZero() && rec.Time >= q.Until.UnixMicro()) {
		return false
	}
	return oneOf(q.Systems, rec.System) && oneOf(q.Types, rec.Type) && oneOf(q.Nodes, rec.Node) && q.matchActor(rec)
}

func (q *Query) matchActor(rec *Record) bool {
	if len(q.Actors) == 0 {
		return true
	}
	addr, ok := rec.Address()
	if !ok {
		return false
	}
	for _, want := range q.Actors {
		if want == addr.String() || want == addr.withoutSystem() {
			return true
		}
	}
	return false
}

func oneOf(list []string, value []byte) bool {
	if len(list) == 0 {
		return true
	}
	for _, s := range list {
		if s == string(value) {
			return true
		}
	}
	return false
}
