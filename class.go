package papyra

// Class names what is wrong with a line or a file, or what is worth a notice.
// The list is closed.
type Class string

// Damage: a scan that finds any of these exits 2, and recover moves it away.
const (
	ClassTruncated        Class = "truncated"         // begins as a record and ends before it is complete
	ClassCorrupted        Class = "corrupted"         // not a JSON object, or nested deeper than MaxDepth
	ClassInvalidUTF8      Class = "invalid_utf8"      // a byte that is not UTF-8, or an escaped half of a surrogate pair
	ClassNULRun           Class = "nul_run"           // NUL bytes, as a power cut leaves them
	ClassOversize         Class = "oversize"          // longer than MaxStoredLine, from the wire than MaxLine
	ClassMissingField     Class = "missing_field"     // a member is absent or of the wrong type
	ClassBadTimestamp     Class = "bad_timestamp"     // not a number of seconds between the years 1970 and 9999
	ClassDuplicateKey     Class = "duplicate_key"     // a top-level member stands twice
	ClassChecksumMismatch Class = "checksum_mismatch" // has part of a seal, or one with a wrong checksum
	ClassLeftover         Class = "leftover"          // a temporary file of an act that did not finish
	ClassUnreadable       Class = "unreadable"        // cannot be opened or read
	ClassUnexpectedFile   Class = "unexpected_file"   // a symlink, FIFO, device or directory in the place of a file
)

// LeftByCrash reports whether a crash alone leaves damage of the class.
func (c Class) LeftByCrash() bool {
	return c == ClassTruncated || c == ClassNULRun || c == ClassLeftover
}

// Notices: they never block anything and are never removed.
const (
	NoticeUnknownKind Class = "unknown_kind" // a kind that this version does not know
	NoticeConflict    Class = "conflict"     // the identity of another record with other bytes
	NoticeClockSkew   Class = "clock_skew"   // a timestamp that is no date, or more than a day ahead of the clock
	NoticeBlankLine   Class = "blank_line"   // nothing between two newlines
	NoticeUnsealed    Class = "unsealed"     // valid, without a seal
	NoticeUnverified  Class = "unverified"   // rewritten by the Python implementation, and no form of it verifies
	NoticeNotRead     Class = "not_read"     // a stream under the prefix of a store on Redis that is none of it
	NoticeInProgress  Class = "in_progress"  // an unfinished last line while a writer holds the lock
)

// DropReason says why a record that had its number was not stored. The list is
// closed; the first four are a publisher's, the others a sink's.
type DropReason string

// The reasons of publishers and sinks.
const (
	DropQueueFull DropReason = "queue_full" // the category's buffer was full
	DropTooLarge  DropReason = "too_large"  // longer than MaxPublishedLine or than the broker takes
	DropEncode    DropReason = "encode"     // a payload that cannot be encoded, of a record that cannot be kept without it
	DropClosed    DropReason = "closed"     // still in the buffer, never handed over, when Close's time was up

	DropSinkFull     DropReason = "sink_full"     // the sink's buffer was full while the backend did not keep up
	DropSinkStopped  DropReason = "sink_stopped"  // still in the sink's buffer when its time to stop was up
	DropSinkRejected DropReason = "sink_rejected" // the line of a known run failed the checks

	DropUnheardBy DropReason = "unheard_by" // the group did not answer before the publisher had to let go of it; other groups may have it
	DropSpoolFull DropReason = "spool_full" // the backend took nothing, and the sink's spool and buffer were full
)

// RejectReason says why a sink did not take a line: a [Class] of the line
// itself, or one of these. The list is closed.
type RejectReason = Class

// The reasons that are no class of damage.
const (
	RejectSubject        RejectReason = "bad_subject"     // the message's subject is not canonical
	RejectKindMismatch   RejectReason = "kind_mismatch"   // the kind differs from the subject's category
	RejectSystemMismatch RejectReason = "system_mismatch" // the system differs from the subject's
	RejectReserved       RejectReason = "reserved_system" // the system is the pipeline's own
	RejectCarriageReturn RejectReason = "carriage_return" // the line ends in a CR
)

// RejectReasons returns those that a line may have, in a fixed order: the classes
// that are only of files are not among them.
func RejectReasons() []RejectReason {
	return []RejectReason{
		ClassTruncated, ClassCorrupted, ClassInvalidUTF8, ClassNULRun, ClassOversize, ClassMissingField,
		ClassBadTimestamp, ClassDuplicateKey, ClassChecksumMismatch,
		RejectSubject, RejectKindMismatch, RejectSystemMismatch, RejectReserved, RejectCarriageReturn,
	}
}

// Anomaly is one damaged or notable place in a store. File backends fill File,
// Line, Offset and Length, Redis Stream and ID. File is the file's name as text: a
// byte of it that is not UTF-8 is \xHH, and a backslash before that \x5c.
type Anomaly struct {
	Class  Class  `json:"class"`
	File   string `json:"file,omitempty"`
	Stream string `json:"stream,omitempty"`
	Line   int64  `json:"line,omitempty"`   // from 1
	Offset int64  `json:"offset"`           // of the first byte, from 0
	ID     string `json:"id,omitempty"`     // of the Redis entry
	Length int64  `json:"length,omitempty"` // bytes, without the newline
	Detail string `json:"detail,omitempty"`
}

// Place says where a record that was read lies. File is the one of [Anomaly].
type Place struct {
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset"`
	ID     string `json:"id,omitempty"`
}
