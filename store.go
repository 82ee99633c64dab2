package papyra

import "context"

// Store is where records are kept: a file, a set of files, a server, a memory.
// Opening one takes no lock, changes nothing and does not need the store to
// exist. Its methods may be called concurrently.
//
// Whoever implements it needs nothing but this package; the suite in
// sink/backend/backendtest says whether an implementation keeps the laws, and
// integration/thirdparty holds one that somebody else could have written.
//
// A line in a store is a record if [Parse] takes it. Otherwise it is blank, where
// it holds nothing but spaces, tabs and carriage returns, and damaged where it
// holds more. The class of the damage is that of the [LineError].
//
// The identity of a record is its system, kind, run and number; see
// [Record.HasIdentity]. An exact duplicate is a record with the identity and the
// bytes of another one. A record without an identity has none.
type Store interface {
	Maintainer

	// URL names the store for people and reports, without secrets.
	URL() string

	// Traits returns what is known of the store without looking at it. It does no
	// I/O.
	Traits() Traits

	// RejectFile is where a sink puts rejected lines by default, or "" if the store
	// has no place for them.
	RejectFile() string

	// Read calls yield for every record that q chooses, exact duplicates once
	// unless q.Duplicates asks for all, until yield returns an error, which Read
	// returns as it is. The record is valid only during the call. Damaged lines are
	// passed over and counted in the returned number; so is what could not be read,
	// with an error that wraps ErrIncomplete after everything else was yielded. A
	// store that does not exist: ErrNotFound. A negative limit: ErrUsage.
	//
	// Read applies to each record first the retention, for which a duplicate is a
	// record like any other, then the filters, then it leaves out duplicates, and
	// then it counts the limit. Of duplicates it shows the oldest copy. With a
	// retention, a limit or q.Reverse, for which the newest records are looked at
	// first, it shows the newest one. A store may bound the memory in which it
	// looks for copies, and show one again that lies further away.
	Read(ctx context.Context, q Query, yield func(*Record, Place) error) (damaged int64, err error)

	// Appender opens the store for writing, makes it if it does not exist, heals
	// its end, and holds it until the appender is closed. At most one appender is
	// open at a time, across processes: ErrBusy. A store on a server that many sinks
	// share, as Redis, refuses only a second one of the same Store.
	Appender(ctx context.Context) (Appender, error)

	// Warnings returns, in a sentence each, under which of its settings the store
	// may keep less than its operator expects, when it is used with retention r. A
	// sink logs them at its start. It changes nothing. With an error the list may be
	// incomplete.
	Warnings(ctx context.Context, r Retention) ([]string, error)

	// Groups returns the consumer groups through which other programs read the
	// streams of the store, by stream and name; none where a store has no such
	// thing. It changes nothing. A store that does not exist: ErrNotFound.
	Groups(ctx context.Context) ([]ConsumerGroup, error)

	// Examine looks at what the store needs and what earlier acts left beside it: of
	// a file the place, the rights, the lock, the free space, rejected lines,
	// quarantined bytes. It returns a check for each, in the order in which they are
	// to be read, and none where a store has nothing of the kind. What cannot be
	// looked at is a check that says so. It takes no lock, changes nothing, and does
	// not need the store to exist. Damage is left to Scan, settings to Warnings.
	//
	// A store that wraps another adds checks of its own to those of the other.
	Examine(ctx context.Context) []Check

	// Close releases what the store holds. An open appender is closed first, calls
	// that run are ended with ErrClosed or come to their end, and every later call
	// fails with ErrClosed. It is safe to call twice.
	Close() error
}

// Traits is what is known of a store without looking at it. The zero Traits say
// nothing.
type Traits struct {
	// Sync is when appended records are made durable: "none", "interval" or
	// "batch". It is "" where that is not the store's to decide, as on a server.
	Sync string
	// MaxBytes and MaxFiles are the bound beyond which an appender removes the
	// oldest records by itself: at most MaxFiles files of MaxBytes bytes each. Both
	// are 0 for a store that removes nothing by itself.
	MaxBytes int64
	MaxFiles int
}

// Maintainer is what an operator does to a store. A store that does not exist:
// ErrNotFound.
//
// Recover and Compact change a store in this order, so that a crash at any moment
// leaves the old state, the new state, or one from which the same call finishes:
//
//  1. A recovery brings the damage into quarantine and syncs it.
//  2. The act appends its RemovalReports and syncs them. A long one is several of some
//     64 KiB: the first carries the counts, all together the runs.
//  3. The act removes, all at once or in parts, for example the oldest first: each state
//     between is a valid store, whose view at o.At is the same.
//  4. The act appends CompactionPerformed or RecoveryPerformed.
//
// What can fail, as writing what takes the place of old bytes, is best done
// before 2: what was announced and stays is announced for nothing.
//
// The reports are records of [SystemReserved], made by [SealedReport] with an
// identity of the act's own and the numbers 1, 2, 3 and so on: one that is not
// stored would be missing in the account. An act that finds nothing to do appends
// nothing, and the Act of its report is "". A dry run needs no lock. Any other
// act on a store that another Store's appender holds: ErrBusy, but for a store on
// a server, which lets both go on.
type Maintainer interface {
	// Scan looks at every byte and changes nothing. ErrNotFound if the store does
	// not exist. What cannot be read is an anomaly in the report.
	Scan(ctx context.Context, o ScanOptions) (*ScanReport, error)

	// Recover moves damage into quarantine and conserves every byte. Run again after
	// a crash it finishes; run on a clean store it does nothing, and After is then
	// Before. Valid records and blank lines stay.
	Recover(ctx context.Context, o RecoverOptions) (*RecoverReport, error)

	// Compact removes what is outside the view at o.At and then, with o.Dedupe, of
	// what is left each exact duplicate but the newest. Both have one id, and each
	// its RemovalReport. The view at o.At is the same before and after. Damaged lines
	// and conflicts stay. With neither a limit nor o.Dedupe, without o.At, or with a
	// negative limit: ErrUsage. Appends by this store's own appender go on meanwhile.
	//
	// Where reports have limits, these stay all the same, because the account of the
	// store would be another one without them:
	//   - every RemovalReport, every StartAccepted, every ActRequested;
	//   - a PublisherReport with ranges or outages, and a SinkReport with dropped;
	//   - of each run of a publisher or sink the report with the lowest and the
	//     highest number, the two between which a count of drops, lost messages or
	//     disconnects differs, and the newest that names peers;
	//   - under a limit of bytes, of each system the newest report that the age
	//     allows and that no longer fits: without it an older one that stays would
	//     come into the view;
	//   - duplicates of reports, of which Limits then says so.
	Compact(ctx context.Context, o CompactOptions) (*CompactReport, error)
}

// Appender appends records to a store. Its methods are not safe for concurrent
// use, but for Stats.
type Appender interface {
	// Append stores the lines of b in order and returns how many of them, from the
	// first, are stored; with a nil error that is all of them. After an error the
	// caller drops the stored ones from b and may call again, but not after these:
	// ErrClosed after Close, and ErrForeignWriter if somebody else changed the
	// store. A sink ends with them. The appender keeps nothing of b's memory.
	//
	// A store whose streams can fail alone goes on with the others when one is
	// refused, and the error is then a *[RefusedError], wrapped or not. It says which
	// lines are stored, beyond the first ones that are counted: everything but the
	// rest of the streams that it names. The caller may give that rest again with any
	// later call, as few lines at a time as it likes, those of a stream in their order
	// and before later ones of the same stream. It is never stored twice.
	Append(ctx context.Context, b *Batch) (stored int, err error)

	// Sync makes stored records durable as the store's sync mode says; a sink calls
	// it every second. An error means that the last records may not survive a power
	// cut; the next Sync or Append tries again.
	Sync(ctx context.Context) error

	// Stats returns what the appender had to survive since it was opened. It is
	// quick and may be called concurrently with the other methods, and after Close.
	// A sink looks at it with every Sync and after Close, and logs what has changed.
	Stats() AppendStats

	// Close syncs, closes and releases the store. It is safe to call twice.
	Close() error
}
