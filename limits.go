package papyra

// Limits of version 1. They never shrink.
const (
	// MaxPublishedLine bounds a publisher's line, its newline included. A longer
	// record is not sent: it is dropped and counted as "too_large".
	MaxPublishedLine = 256 << 10

	// MaxLine bounds a line that sinks and tools take, its newline included. A
	// sink rejects a longer one, a scan reports it; both with class "oversize".
	MaxLine = 1 << 20

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
