package sink

import (
	"context"
	"errors"

	"github.com/papyra/papyra"
)

// Maintainer returns the maintenance of the sink's store, whose acts
// Stats().Acts counts; dry runs are not acts. It may be used while the sink runs, as far as the store's
// own contract allows.
func (s *Sink) Maintainer() Maintainer { return maintainer{s} }

// maintainer counts what it hands on to the backend.
type maintainer struct{ s *Sink }

func (m maintainer) Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	r, err := m.s.backend.Scan(ctx, o)
	m.count(func(a *ActStats) {
		if errors.Is(err, papyra.ErrNotFound) {
			return // nothing was there to scan
		}
		a.Scans++
		if err != nil {
			a.ScanErrors++
		}
		if r != nil {
			for _, n := range r.AnomalyCounts {
				a.Anomalies += uint64(n)
			}
		}
	})
	return r, err
}

func (m maintainer) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	r, err := m.s.backend.Recover(ctx, o)
	m.count(func(a *ActStats) {
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
	r, err := m.s.backend.Compact(ctx, o)
	m.count(func(a *ActStats) {
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

func (m maintainer) count(f func(*ActStats)) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	f(&m.s.stats.Acts)
}
