// Package spool keeps records on a disk of the sink's own while the store cannot take
// them: an Appender in front of the Appender of any store.
//
//	                 direct
//	writer ─► Spool ───────────────────────────────► Appender ─► store
//	            │ the store cannot take it,             ▲
//	            │ or something waits already            │ oldest first
//	            ▼                                       │
//	          segments: reports ─ records ─ refused ────┘
//
// A segment is a file of records as package jsonfile has it, so that every tool works on
// it, of at most 8 MiB. It is removed after the store has synced what was in it.
//
//	state      what Append does                what ends it
//	direct     gives the lines to the store    it fails as a whole: spooling
//	spooling   appends them to a segment       nothing is left: direct
//
// The refusal of some streams is no failure of the store: their lines wait in segments
// of their own, the refused ones, and so do later lines of the same streams. All others
// go on as if nothing were.
//
// A store that somebody else writes to, or that is closed, is lost and not down: Append
// returns its error, and the sink ends.
//
// # What survives
//
// What was appended survives the end of the process, what was synced survives a power
// cut. A crash while segments are drained may store a segment's lines a second time:
// exact duplicates, which readers show once. Nothing is ever removed to make room: what
// does not fit is refused with [ErrFull], the newest first.
//
// Assumed is that no other program writes to the directory. Tools may read the segments
// at any time; one that changes a segment holds its lock, and the spool waits for it.
package spool
