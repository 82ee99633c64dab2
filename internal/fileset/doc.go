// Package fileset is what the file backends share: a store on a set of files.
//
// docs/format.md#files is the specification: which names there are, who may
// write, how records are appended, synced and rotated, how a file is replaced,
// and what a crash at each step leaves. This comment says where the code for it
// stands, and what only the code decides.
//
// # Map
//
//	names, set              the names beside a store; listing and pinning the set
//	lock                    the lock file
//	store                   Store: opening, closing, whose turn it is
//	appender, writer, kept  Appender, the active file, the bytes that are not synced
//	rotate, arrange         a rotation, and the plan of its renames
//	drop, ahead             the file that leaves the set, and reading it beforehand
//	forward, backward       the lines of a file, from either end
//	judge                   what a line is, and the damaged places of one
//	medium                  what package maintain needs for Read, Compact and Recover
//	scan                    Scan
//	salvage, quarantine     damage on its way into a quarantine act
//	remove                  files without the lines that go
//	rewrite                 how both replace a file
//	disk                    the calls that a test can make fail
//
// # Locks
//
// The lock file is held by one [Appender], or by the acts (recover, compact), or
// by both in one [Store], which then share it. Readers take no lock.
//
// Within a Store the append lock (Store.mu) guards the active file's writer. An
// act holds it only to pin a size, to append its reports and for the swap. The
// order is: the act's turn (Store.life), then the append lock; nothing is taken
// under it.
//
// # Reading ahead
//
// The first file that a rotation is going to drop is read before, from its end,
// in step with the appends: as much of it as the active file has come nearer to
// its bound since its first append, or since it was opened. What was read counts
// if the file is still the same at the rotation, by device, inode, size and time
// of change; otherwise, and after an error, it is read anew then.
//
// # Limits
//
// Memory: 1.25 MiB for each of at most 16 scan workers, 2 MiB for a reader, of
// which a rotating appender has one; the kept bytes of the writer; for a
// compaction one bit for each line before compression, and where it looks for
// duplicates at most about 90 MiB more: what does not fit is named and stays.
// Lines longer than papyra.MaxLine are measured without being held.
//
// Appends: one waits for a whole file to be read where a rotation drops more than
// one, or one that has just changed, and for a line longer than papyra.MaxLine in
// it; and for the whole set where the reports that are dropped name more than a
// thousand runs, of which those are forgotten that have nothing left.
package fileset
