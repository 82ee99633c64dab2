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
)
