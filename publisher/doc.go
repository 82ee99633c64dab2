// Package publisher is the runtime's side of Papyra. It records events, audits
// and dead letters and hands them to NATS, and never holds up its caller.
//
// It has two sides that share a bounded buffer for each category:
//
//	the caller's side                        the background
//	Event ─ encode ─┐                      ┌─ window of messages ─ flush ─ confirmed: forgotten
//	Event ─ encode ─┴► lane (one mutex) ──►┤
//	                    full: counted      └─ not confirmed: back to the front of its lane
//
// A record call takes bounded time and memory. It never touches the
// connection, does no I/O, starts no goroutine, does not panic and returns no
// error. For typed records it allocates nothing. What goes wrong is counted in
// [Stats].
//
// A record stays in the buffer until it is confirmed: until a sink of every group that
// takes it has answered, which a sink does once the record is in its store, or after
// 250 ms in its memory. Where no sink answers, because they are older ones or something
// else takes the records, a record is confirmed when a server had a receiver for it and
// queued it: the connection was the same before the message was handed over and after
// the answer to a later flush, and there was no write error and no refusal in between.
// Everything else is sent again. So a record can be stored twice, but a publisher that
// lives never loses one without counting it. The buffer is memory: what is in it when
// the process dies is lost.
// Every record takes a number before anything can drop it. In each category always
//
//	Accepted = Confirmed + Unconfirmed + Buffered + everything Dropped
//
// and a PublisherReport carries these numbers to the sinks.
package publisher
