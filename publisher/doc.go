// Package publisher is the runtime's side of Papyra: it records events, audits
// and dead letters and hands them to NATS, without ever being in the way.
//
// It has two sides that share a bounded buffer for each category:
//
//	the caller's side                        the background
//	Event ─ encode ─┐                      ┌─ window of messages ─ flush ─ confirmed: forgotten
//	Event ─ encode ─┴► lane (one mutex) ──►┤
//	                    full: a counter    └─ not confirmed: back to the front of its lane
//
// A record call takes bounded time and memory. It never touches the
// connection, does no I/O, starts nothing, does not panic and returns no error;
// for typed records it allocates nothing. Trouble becomes a counter in [Stats].
//
// A record stays in the buffer until it is confirmed: a server had a receiver
// for it and queued it, on a connection that was the same before the message
// was handed over and after the answer to a later flush, with no write error
// and no refusal in between. Everything else is sent again, so a record can be
// stored twice but is never silently lost by a publisher that lives. Every
// record has a number that was taken before anything could drop it; in each
// category always
//
//	Accepted = Confirmed + Unconfirmed + Buffered + everything Dropped
//
// and a PublisherReport carries these numbers to the sinks.
package publisher
