package papyra

// Limits of version 1. They never shrink.
const (
	// MaxPublishedLine bounds a publisher's line, its newline included. A longer
	// record is not sent: it is dropped and counted as "too_large".
	MaxPublishedLine = 256 << 10

	// MaxLine bounds a line that a sink takes from the wire, its newline included.
	// It rejects a longer one as "oversize".
	MaxLine = 1 << 20

	// MaxStoredLine bounds a line of a store, its newline included. Real files of the
	// Python implementation hold dead letters of megabytes. A scan reports a longer
	// line as "oversize", and it is measured without being held in memory.
	MaxStoredLine = 8 << 20

	// MaxDepth bounds the nesting of objects and arrays, the record itself
	// counted. A publisher drops what nests deeper as "encode"; a parser calls
	// it "corrupted".
	MaxDepth = 64

	// MinDate is the first timestamp that counts as a date, in Unix seconds: 9
	// September 2001. A runtime whose clock does not know the date counts from the
	// start of its machine, for example, and stays below it. A record that says such
	// a time is shown and kept as if its time were not known: see [Record.HasDate].
	MinDate = 1_000_000_000
)
