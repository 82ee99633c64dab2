// Package sink is the worker between NATS and a store: it receives records in a
// queue group, checks each line, appends the good ones in large batches and
// accounts for the others.
package sink

import (
	"context"

	"github.com/papyra/papyra"
)

// Backend is a store, opened by its URL. Opening one takes no lock, changes
// nothing and does not need the store to exist. Its methods may be called
// concurrently.
type Backend interface {
	Maintainer

	// URL names the store for people and reports, without secrets.
	URL() string

	// Read calls yield for every record that q chooses, exact duplicates once
	// unless q.Duplicates asks for all, until yield returns an error, which Read returns as it is. The record is
	// valid only during the call. Damaged lines are passed over and counted in
	// the returned number; so is what could not be read, with an error that wraps
	// papyra.ErrIncomplete after everything else was yielded. A store that does
	// not exist: papyra.ErrNotFound.
	Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error)

	// Appender opens the store for writing, makes it if it does not exist, heals
	// its end, and holds it until the appender is closed. At most one appender
	// is open at a time, across processes: papyra.ErrBusy. A store on a server that
	// many sinks share, as Redis, refuses only a second one of the same Backend.
	Appender(ctx context.Context) (Appender, error)

	// RejectFile is where rejected lines go by default, or "" if the store has
	// no place for them.
	RejectFile() string

	// Close releases what the backend holds. An open appender is closed first.
	Close() error
}

// Warner is a Backend that knows of settings under which it may keep less than
// its operator expects. A sink asks it at its start and logs the answer.
type Warner interface {
	// Warnings returns a sentence each, for a store that is used with retention r.
	// It changes nothing. With an error the list may be incomplete.
	Warnings(ctx context.Context, r papyra.Retention) ([]string, error)
}

// GroupLister is a Backend whose streams other programs can read through
// consumer groups.
type GroupLister interface {
	// Groups returns them by stream and name. It changes nothing.
	// papyra.ErrNotFound if the store does not exist.
	Groups(ctx context.Context) ([]papyra.ConsumerGroup, error)
}

// Maintainer is what an operator does to a store.
type Maintainer interface {
	// Scan looks at every byte and changes nothing. papyra.ErrNotFound if the
	// store does not exist. What cannot be read is an anomaly in the report.
	Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error)

	// Recover moves damage into quarantine and conserves every byte. Run again
	// after a crash it finishes; run on a clean store it does nothing.
	Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error)

	// Compact removes what is outside the view at o.At and then, with o.Dedupe,
	// of what is left each exact duplicate but the newest. Both have one id, and
	// each its RemovalReport. The view at o.At is the same before and after.
	// Damaged lines and conflicts stay. With neither a limit nor o.Dedupe:
	// papyra.ErrUsage. Appends by this backend's own appender go on meanwhile.
	Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error)
}

// Appender appends records to a store. Its methods are not safe for concurrent
// use.
type Appender interface {
	// Append stores the lines of b in order and returns how many of them, from
	// the first, are stored; with a nil error that is all of them. After an
	// error the caller drops the stored ones from b and may call again.
	// papyra.ErrClosed after Close; papyra.ErrForeignWriter if somebody else
	// changed the store.
	Append(ctx context.Context, b *papyra.Batch) (stored int, err error)

	// Sync makes stored records durable as the store's sync mode says; a sink
	// calls it every second. An error means that the last records may not
	// survive a power cut; the next Sync or Append tries again.
	Sync(ctx context.Context) error

	// Close syncs, closes and releases the store. It is safe to call twice.
	Close() error
}

// AppendCounter is an Appender that counts what it had to survive. A sink looks
// at the counts with every sync and after Close, and logs what has changed.
type AppendCounter interface {
	// Stats returns the counts since the appender was opened. It is quick and
	// may be called concurrently with the other methods, and after Close.
	Stats() papyra.AppendStats
}
