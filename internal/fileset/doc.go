// Package fileset is a store on a set of files: what the backends json: and
// rotating: share.
//
// docs/format.md#files is the specification: which names there are, who may
// write, how records are appended, synced and rotated, how a file is replaced,
// and what a crash at each step leaves. This comment says where the code for it
// stands, and what only the code decides.
//
// # Map
//
//	names, set                    the names beside a store; listing and pinning the set
//	lock                          the lock file
//	store, appender               Store and Appender: opening, closing, whose turn it is
//	writer, active, unsynced      appending; the file that is appended to; its unsynced bytes
//	rotate, arrange               a rotation, and the plan of its renames
//	departure, drop, drop_reader  a file that leaves the set; reporting it; reading it ahead
//	judge                         what a line is, and the damaged places of one
//	medium                        what package maintain needs for Read, Compact and Recover
//	scan, ordered                 Scan, and its workers
//	salvage, quarantine           damage on its way into a quarantine act
//	remove                        files without the lines that go
//	rewrite                       how salvage and remove replace a file
//	likeness                      what a new file gets of an old one: owner, mode, attributes
//	replaceable                   what is in the way of a rename, asked before it is tried
//	examine                       what doctor is told
//	lines/                        reading the lines of a file, from either end
//	disk/                         the system calls that a test can make fail
//
// # Locks
//
// The lock file is held by one [Appender], or by the acts (recover, compact), or
// by both in one [Store], which then share it. Readers take no lock.
//
// Within a Store the append lock (Store.mu) guards the writer. An act holds it only
// to pin a size, to append its reports and to swap a file. The order is: first the
// act's turn (Store.life), then the append lock. No lock is taken under the append
// lock.
//
// # Reading ahead
//
// A rotation has to read the file that it drops. The writer reads the first of
// these ahead, from its end and in step with the appends: when the active file has
// gone half of its way to its bound since the reading began, half of the other file
// is read. What was read counts if the file is still the same at the rotation, by
// device, inode, size and time of change. Otherwise, and after an error, the
// rotation reads it anew.
//
// # Limits
//
// Memory:
//
//   - 1.25 MiB for each of at most 16 scan workers;
//   - 2 MiB for a reader, of which a rotating appender has one;
//   - 8.25 MiB more for a reader that has met a line of more than a megabyte, and twice
//     that for all workers of a scan together;
//   - at most 64 MiB of unsynced bytes in a writer;
//   - for a compaction one bit for each line, before compression, and where it looks
//     for duplicates at most about 90 MiB more: duplicates that do not fit stay, and
//     the result says so.
//
// Lines longer than papyra.MaxStoredLine are measured without being held.
//
// Time: an append waits for a whole file to be read where a rotation drops more
// than one, or one that has just changed, and for all of a line that is longer than
// papyra.MaxStoredLine. It waits for the whole set to be read where the reports that are
// dropped name more than a thousand runs: the runs that have nothing left are then
// forgotten.
package fileset
