package papyra

import (
	"fmt"
	"time"
)

// Record is one checked line. Its slices alias the line that was parsed, or a
// fresh copy where a string held escapes; they stay valid as long as the line
// does.
type Record struct {
	Line    []byte // without the newline
	Kind    Kind   // KindUnknown for a kind that this version does not know
	System  []byte // decoded
	Type    []byte // decoded event_type, message_type or report; nil for an audit
	Actor   []byte // raw JSON of actor_address or target; nil for others
	Payload []byte // raw JSON of payload; nil for an audit
	Time    int64  // the timestamp in microseconds since 1970

	// Sealed is true for a seal whose checksum is right, also after a rewrite by
	// the Python implementation where a canonical form of the line verifies. Node,
	// Run and Seq are set with it, and also where none does: see Unverified.
	Sealed bool
	Node   []byte
	Run    []byte
	Seq    uint64
}

// Timestamp returns when the record says it happened.
func (r *Record) Timestamp() time.Time { return time.UnixMicro(r.Time).UTC() }

// HasDate reports whether the timestamp can be a date: see [MinDate]. A record
// without one never expires by age, and no bound of a query's time leaves it out.
func (r *Record) HasDate() bool { return r.Time >= minDate }

// minDate is MinDate in microseconds.
const minDate = MinDate * 1_000_000

// Stream returns the stream the record belongs to.
func (r *Record) Stream() Stream { return Stream{System: string(r.System), Kind: r.Kind} }

// HasIdentity reports whether the run and number of the record are known.
func (r *Record) HasIdentity() bool { return len(r.Run) > 0 }

// LineError says why a line is not a record.
type LineError struct {
	Class  Class
	Offset int // in the line
	Detail string
	// Fault names a wrong seal more exactly than Class, which is
	// ClassChecksumMismatch then: FaultReservedMember or FaultBadSeal. Otherwise it
	// is "".
	Fault string
	Field string // the member that is to blame, or ""
}

// The faults of a seal that is not just wrong in its checksum.
const (
	FaultReservedMember = "reserved_member" // has a member of the seal's, and no seal
	FaultBadSeal        = "bad_seal"        // has a seal that is not spelled as one
)

// Explain says what is wrong in a line for the author of the record: a word, the
// member, and what is wanted.
//
//	missing_field system_id
//	reserved_member seq: the name is the seal's, and the line has no seal
//	bad_seal: run must be 16 of [0-9a-z]
//	bad_timestamp: want Unix seconds, a number between the years 1970 and 9999
//
// It may hold a name from the line: escape it before you show it on a terminal.
func (e *LineError) Explain() string {
	word := string(e.Class)
	if e.Fault != "" {
		word = e.Fault
	}
	switch {
	case e.Class == ClassMissingField && e.Detail == hasNoMember+e.Field:
		return word + " " + e.Field
	case e.Class == ClassMissingField || e.Fault == FaultReservedMember:
		return word + " " + e.Field + ": " + e.Detail
	}
	return word + ": " + e.Detail
}

// hasNoMember and the name are the detail of a member that a line lacks.
const hasNoMember = "has no member "

// Error returns "class at byte n: detail".
func (e *LineError) Error() string {
	return fmt.Sprintf("%s at byte %d: %s", e.Class, e.Offset, e.Detail)
}
