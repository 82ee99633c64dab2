package papyra

import "context"

// Store is where records are kept: a file, a set of files, a server, a memory.
// Opening one takes no lock, changes nothing and does not need the store to
// exist. Its methods may be called concurrently.
//
// Whoever implements it needs nothing but this package; the suite in
// sink/backend/backendtest says whether an implementation keeps the laws.
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
	// store that does not exist: ErrNotFound.
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

	// Close releases what the store holds. An open appender is closed first, and
	// every later call fails with ErrClosed. It is safe to call twice.
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

// Maintainer is what an operator does to a store.
type Maintainer interface {
	// Scan looks at every byte and changes nothing. ErrNotFound if the store does
	// not exist. What cannot be read is an anomaly in the report.
	Scan(ctx context.Context, o ScanOptions) (*ScanReport, error)

	// Recover moves damage into quarantine and conserves every byte. Run again after
	// a crash it finishes; run on a clean store it does nothing.
	Recover(ctx context.Context, o RecoverOptions) (*RecoverReport, error)

	// Compact removes what is outside the view at o.At and then, with o.Dedupe, of
	// what is left each exact duplicate but the newest. Both have one id, and each
	// its RemovalReport. The view at o.At is the same before and after. Damaged lines
	// and conflicts stay. With neither a limit nor o.Dedupe: ErrUsage. Appends by
	// this store's own appender go on meanwhile.
	Compact(ctx context.Context, o CompactOptions) (*CompactReport, error)
}

// Appender appends records to a store. Its methods are not safe for concurrent
// use, but for Stats.
type Appender interface {
	// Append stores the lines of b in order and returns how many of them, from the
	// first, are stored; with a nil error that is all of them. After an error the
	// caller drops the stored ones from b and may call again. ErrClosed after Close;
	// ErrForeignWriter if somebody else changed the store.
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
