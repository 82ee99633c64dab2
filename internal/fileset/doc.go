// Package fileset is what the file backends share: the durable file protocol of
// version 1 on a set of files. This comment is its specification.
//
// # The set
//
// A store PATH = DIR/NAME is the active file NAME, to which records are
// appended, and in a numbered set the files NAME.<n>, n = 1 the newest. Every
// line is a record and ends in a newline; a last line without one is a writer's
// that was interrupted. Beside the set lie .NAME.lock, .NAME.tmp-<hex> (a file
// that is about to replace one of the set), .NAME.dropping-<hex> (one that is
// about to go), .NAME.saved/ (quarantine acts) and .NAME.rejected. Nothing is
// followed that is a symlink, and nothing is opened that could block.
//
// # Who may write
//
// Whoever holds the record lock on .NAME.lock: one [Appender], or the acts
// (recover, compact), or both in one [Store], which then share it. Readers take
// no lock. They open all files of the set, list again, begin again if anything
// changed, and then read each descriptor up to its size at opening.
//
// Within a Store the append lock (Store.mu) guards the active file's writer. An
// act holds it only to pin a size, to append its reports and for the swap. The
// order is: the act's turn, then the append lock; nothing is taken under it.
//
// # Append
//
// One write(2) of whole lines, at most 8 MiB, on a descriptor opened with
// O_APPEND. A write that fails is cut off again; where that fails too, the whole
// lines that stand count as stored, and the next write begins with a newline, so
// that the fragment becomes one damaged line and merges with nothing. Before
// each append the name must still lead to the descriptor's inode (otherwise the
// file is opened anew and that is counted), and its length must be the one that
// we left (longer: somebody else writes, and we stop; shorter: counted).
//
// A crash during the write leaves whole lines and at most one fragment without
// a newline. Opening appends that newline. It cuts nothing off: a last record
// that lacks only its newline survives.
//
// # Sync
//
// The bytes since the last good fsync are kept in memory, at most 64 MiB; more
// forces an fsync. After a failed one the kernel may have marked the pages clean,
// so that another fsync of the same descriptor proves nothing: the bytes are
// written again at the same offsets through a new descriptor, and that one is
// synced. A directory in which a name was made or changed is synced too, and
// again until that succeeds.
//
// # Rewrite and swap
//
// A file is replaced by: copying what stays, verbatim, from a pinned descriptor
// into .NAME.tmp-<hex> (O_EXCL, the owner and mode of the original); fsync; of the
// active file, copying and syncing what was appended since, round by round while
// appends go on, until at most 256 KiB are left; under the append lock, copying
// the rest, fsync, checking that the name still leads to the pinned inode, rename,
// fsync of the directory. Where a round does not leave less than half of the one
// before, the appender is as fast as the disk: then at most 4 MiB are copied and
// synced at a time under the append lock, and one append goes in between. Only
// what the writer has synced is copied behind the pinned size. A crash before the
// rename leaves the old file and a leftover, after it the new file. Both are
// valid, and the same command finishes the job.
//
// # Rotate
//
// Only an open [Appender] of a store with a bound rotates, before the line that
// the active file has no room for, so always between records. Then, under the
// append lock: the active file gets its last newline and is synced; files that
// the bound has no place for are read and renamed to .NAME.dropping-<hex>, the
// oldest first; the others shift, up into the first free number or down from one
// that is too high, in an order in which none meets another; the directory is
// synced; the active file becomes NAME.1 and a new one is made; the
// RemovalReports are appended to that and synced, the directory too; the dropped
// files are unlinked. Renames never replace anything. What is no file of the set
// keeps its number, and the set goes around it.
//
// The first file that is going to be dropped is read before, from its end, in
// step with the appends: as much of it as the active file has come nearer to its
// bound since its first append, or since it was opened. What was read counts if
// the file is still the same at the rotation, by device, inode, size and time of
// change; otherwise, and after an error, it is read anew then.
//
// A crash leaves at most a hole, no active file, and dropped files: these are
// finished by whoever takes the lock next, appender or act. The ID of a report
// ends in the digits of the file's name, and the reports of one file are always
// the same number of lines in the same order: so it is known which are written.
//
// The new file begins with these reports, and one line more has room in it in
// any case, so that no report can cause the next rotation. What the account needs
// of reports that are dropped goes before them or into them: the first and the
// last report of a publisher and the last of a sink as they are, in at most a
// quarter of a file, the newest first; and in RemovalReports, for the runs of
// which anything is left, what earlier ones told and what the others named as
// dropped.
//
// The order of renames in one directory must survive a power cut, as it does on
// file systems that journal them.
//
// # Acts
//
// Before the first byte goes, the act's RemovalReport is appended to the active
// file and synced; how it ended is appended afterwards. A recovery first copies
// every damaged byte into a quarantine act: a directory <UTC>-<hex>/ with the
// file "bytes", the damaged places one behind the other, and "index.ndjson", one
// line for each; the index is written and synced last and makes the act
// complete. A crash may leave bytes in two acts, never in none.
//
// A compaction of duplicates reads the set a second time from its end, and
// removes every line of which it has met the same bytes nearer to the end. Of a
// record the newest copy stays, in the newest of the files that have one: a
// rotation in between drops older files only, and a crash between the rewrites
// of two files leaves more copies, never none.
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
