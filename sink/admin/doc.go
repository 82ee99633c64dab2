// Package admin asks running sinks for work on their stores, and answers for a sink:
// one protocol over two doors, a unix socket beside a store in files and the NATS
// services framework.
//
//	papyra-ctl ── Store ── exchange ── socket or NATS ── Server ── the sink's store
//	              (a papyra.Store)     frames            jobs      (Scan, Compact, ...)
//
// Who asks makes a job with an id of its own. The answers are frames, numbered from 1:
//
//	request start ─►
//	           ◄─ accepted
//	           ◄─ progress       at least once a second
//	request more ─►              credits for parts, a sign of life, or an approval
//	           ◄─ part           a piece of what the job yields, one credit each
//	           ◄─ result, error  the last one
//
// A request that changes the store is written into it, as ActRequested, before the act
// begins, and goes on to the end of its step whoever is gone. A job with the id of an
// earlier one never runs again: it is answered with what became of that one. A read
// ends when nobody has shown a sign of life for 15 s.
package admin
