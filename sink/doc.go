// Package sink is the worker between NATS and a store: it receives records in a
// queue group, checks each line, appends the good ones in large batches and
// accounts for the others.
package sink

// The parts of a Sink, what guards them, and who calls them:
//
//	part          guarded by           called by
//	conn          its lock             Run; the NATS client
//	Checker       nothing: it is pure  each intake has its own
//	inbox         its lock             the NATS client; its own goroutine; the reader of the socket
//	intake        nothing              the goroutine of its inbox
//	buffer        its lock             every intake, the writer, the reporter, the reader of the socket
//	dropLedger    its lock             buffer, writer
//	health        its lock             conn, the writer, the reporter, the reader of the socket
//	rejectFile    its lock             every intake; its own goroutine writes the file
//	peerList      its lock             service, reporter
//	service       nothing              its own goroutine
//	actCounts     its lock             whoever uses Sink.Maintainer
//	writer        nothing              its own goroutine
//	spool         its locks            the writer; its own goroutine drains it
//	reporter      nothing              Run until the writer starts, then the writer
//	appendEvents  its lock             the writer
//
// Stats and Ready ask each part in turn, so that a number of one part may be
// newer than one of another. What must agree is in one part: the account of the
// lines is the buffer's, and why the sink is not ready is for health to say.
//
// One part takes another's lock under its own: the buffer tells the dropLedger.
// No lock is held during I/O.
