package sink

import (
	"context"

	"github.com/papyra/papyra"
)

// The contract of a store is package papyra's, so that a store can be written
// without this package. These are its names here.
type (
	// Backend is a store, opened by its URL.
	Backend = papyra.Store
	// Maintainer is what an operator does to a store.
	Maintainer = papyra.Maintainer
	// Appender appends records to a store.
	Appender = papyra.Appender
)

// Warner is the part of every [Backend] that knows of settings under which it
// may keep less than its operator expects.
type Warner interface {
	Warnings(ctx context.Context, r papyra.Retention) ([]string, error)
}

// GroupLister is the part of every [Backend] that knows through which consumer
// groups other programs read it.
type GroupLister interface {
	Groups(ctx context.Context) ([]papyra.ConsumerGroup, error)
}

// AppendCounter is the part of every [Appender] that counts what it had to
// survive.
type AppendCounter interface {
	Stats() papyra.AppendStats
}
