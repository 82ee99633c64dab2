package papyra

import (
	"fmt"
	"time"
)

// Limits bounds one stream. Zero in a field means no limit; "keep nothing"
// cannot be asked.
type Limits struct {
	Records int64         // keep_records: the newest so many
	Age     time.Duration // keep_age: not older than this
	Bytes   int64         // keep_bytes: lines and their newlines
}

// IsZero reports whether l limits nothing.
func (l Limits) IsZero() bool { return l == Limits{} }

// Retention says which stored records are shown and which compaction keeps. It
// applies to each stream by itself. ByKind, where it has a field that is not
// zero, replaces that field of General. Reports follow only ByKind[KindReport].
type Retention struct {
	General Limits
	ByKind  [KindCount]Limits
}

// IsZero reports whether r limits nothing: everything is shown, and compaction
// has nothing to do.
func (r Retention) IsZero() bool { return r == Retention{} }

// Validate returns an error for a negative limit.
func (r Retention) Validate() error {
	check := func(prefix string, l Limits) error {
		switch {
		case l.Records < 0:
			return fmt.Errorf("%skeep_records is negative: give a positive number, or 0 for no limit", prefix)
		case l.Age < 0:
			return fmt.Errorf("%skeep_age is negative: give a positive duration, or 0 for no limit", prefix)
		case l.Bytes < 0:
			return fmt.Errorf("%skeep_bytes is negative: give a positive size, or 0 for no limit", prefix)
		}
		return nil
	}
	if err := check("", r.General); err != nil {
		return err
	}
	for k, l := range r.ByKind {
		if err := check(Kind(k).Category()+".", l); err != nil {
			return err
		}
	}
	return nil
}

// For returns the limits of one kind's streams.
func (r Retention) For(kind Kind) Limits {
	own := r.ByKind[kind]
	if kind == KindReport || kind == KindUnknown {
		return own
	}
	l := r.General
	if own.Records != 0 {
		l.Records = own.Records
	}
	if own.Age != 0 {
		l.Age = own.Age
	}
	if own.Bytes != 0 {
		l.Bytes = own.Bytes
	}
	return l
}

// View decides the view at one time T of one stream. Offer it the stream's
// records from the newest to the oldest in append order; the ones for which
// Keep returns true are the view: without the records whose timestamp is a date
// before T − Age; of these the last Records; of these the longest suffix whose
// bytes fit in Bytes. It needs constant memory, whatever the stream's length.
type View struct {
	limits  Limits
	oldest  int64 // microseconds; records before it are expired
	records int64
	bytes   int64
	full    bool
	undated int64
}

// NewView returns the view at time t of a stream under limits l. A zero t
// disables the age limit.
func NewView(l Limits, t time.Time) *View {
	v := &View{limits: l, oldest: minTime}
	if l.Age > 0 && !t.IsZero() {
		v.oldest = t.Add(-l.Age).UnixMicro()
	}
	return v
}

const minTime = -1 << 63

// Keep reports whether the view holds the next older record, which has this
// timestamp in microseconds and occupies size bytes with its newline.
func (v *View) Keep(timestamp, size int64) bool {
	expired := timestamp < v.oldest
	if v.full || expired && timestamp >= minDate {
		return false
	}
	if v.limits.Records > 0 && v.records+1 > v.limits.Records ||
		v.limits.Bytes > 0 && v.bytes+size > v.limits.Bytes {
		v.full = true
		return false
	}
	v.records++
	v.bytes += size
	if expired {
		v.undated++
	}
	return true
}

// Views holds a [View] for each stream of a store.
type Views struct {
	retention Retention
	at        time.Time
	byStream  map[Stream]*View
}

// NewViews returns the views at time t of all streams under r.
func NewViews(r Retention, t time.Time) *Views {
	return &Views{retention: r, at: t, byStream: map[Stream]*View{}}
}

// Keep is [View.Keep] for the record's own stream. A record of an unknown kind
// belongs to no stream and is always kept.
func (vs *Views) Keep(rec *Record) bool {
	if rec.Kind == KindUnknown {
		return true
	}
	v := vs.byStream[Stream{System: string(rec.System), Kind: rec.Kind}] // no allocation, unlike rec.Stream
	if v == nil {
		v = NewView(vs.retention.For(rec.Kind), vs.at)
		vs.byStream[rec.Stream()] = v
	}
	return v.Keep(rec.Time, int64(len(rec.Line))+1)
}

// KeptUndated returns how many records the views hold that only their missing date
// has kept from expiring by age.
func (vs *Views) KeptUndated() (n int64) {
	for _, v := range vs.byStream {
		n += v.undated
	}
	return n
}
