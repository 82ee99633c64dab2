package rejects

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/papyra/papyra"
)

// Query says which rejects are wanted. The zero Query wants all.
type Query struct {
	Since, Until time.Time // from Since on, before Until; zero: no bound
	Reasons      []string  // any of them
	Systems      []string  // of the subject
	Limit        int       // only the newest; 0: all
}

// Find returns the rejects of reject files that a query wants, oldest first, and how
// many lines were passed over because they are none. What could not be read is an
// error, with all that could.
func Find(ctx context.Context, paths []string, q Query) (list []*Reject, damaged int64, err error) {
	for _, path := range paths {
		n, rerr := Read(ctx, path, func(r *Reject) error {
			if q.wants(r) {
				list = append(list, r)
			}
			return nil
		})
		damaged += n
		err = errors.Join(err, rerr)
	}
	slices.SortStableFunc(list, func(a, b *Reject) int { return a.Time.Compare(b.Time) })
	if q.Limit > 0 && len(list) > q.Limit {
		list = list[len(list)-q.Limit:]
	}
	return list, damaged, err
}

func (q *Query) wants(r *Reject) bool {
	if !q.Since.IsZero() && r.Time.Before(q.Since) || !q.Until.IsZero() && !r.Time.Before(q.Until) {
		return false
	}
	if len(q.Reasons) > 0 && !slices.Contains(q.Reasons, string(r.Reason)) {
		return false
	}
	if len(q.Systems) == 0 {
		return true
	}
	stream, err := papyra.ParseRecordsSubject(r.Subject)
	return err == nil && slices.Contains(q.Systems, stream.System)
}
