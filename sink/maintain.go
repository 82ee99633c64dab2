package sink

import (
	"context"
	"errors"
	"sync"

	"github.com/papyra/papyra"
)

// Maintainer returns the maintenance of the sink's store, whose acts
// Stats().Acts counts; dry runs are not acts. It may be used while the sink runs,
// as far as the store's own contract allows.
func (s *Sink) Maintainer() Maintainer { return maintainer{s.backend, s.acts} }

// maintainer hands acts on to the store and counts them.
type maintainer struct {
	store Maintainer
	acts  *actCounts
}

// actCounts are the counts of what was done to a store. They are safe for
// concurrent use; no other lock is taken under theirs.
type actCounts struct {
	mu    sync.Mutex
	stats ActStats
}

// change calls f with the counts, under the lock.
func (c *actCounts) change(f func(*ActStats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}

// snapshot returns the counts as they are now.
func (c *actCounts) snapshot() ActStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

func (m maintainer) Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	r, err := m.store.Scan(ctx, o)
	m.acts.change(func(a *ActStats) {
		if errors.Is(err, papyra.ErrNotFound) {
			return // nothing was there to scan
		}
		a.Scans++
		if err != nil {
			a.ScanErrors++
		}
		if r != nil {
			a.Anomalies += uint64(r.Damaged())
		}
	})
	return r, err
}

func (m maintainer) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	r, err := m.store.Recover(ctx, o)
	m.acts.change(func(a *ActStats) {
		if o.DryRun {
			return
		}
		a.Recoveries++
		if err != nil {
			a.RecoveryErrors++
		}
	})
	return r, err
}

func (m maintainer) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	r, err := m.store.Compact(ctx, o)
	m.acts.change(func(a *ActStats) {
		if o.DryRun {
			return
		}
		a.Compactions++
		if err != nil {
			a.CompactionErrors++
		}
	})
	return r, err
}
