package admin

import (
	"context"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// Stats are the numbers of a sink: counts since its start, and how it is doing now.
// Times are Unix seconds by the sink's clock, 0 where there is nothing to tell.
type Stats struct {
	State        string            `json:"state"`
	Messages     uint64            `json:"messages"`
	Received     uint64            `json:"received"`
	Stored       uint64            `json:"stored"`
	StoredBytes  uint64            `json:"stored_bytes"`
	Rejected     map[string]uint64 `json:"rejected"`
	Dropped      map[string]uint64 `json:"dropped"`
	Pending      int               `json:"pending"`
	PendingBytes int               `json:"pending_bytes"`
	LostMessages uint64            `json:"lost_messages"`
	Disconnects  uint64            `json:"disconnects"`
	AppendErrors uint64            `json:"append_errors"`
	SyncErrors   uint64            `json:"sync_errors"`

	Answered      uint64 `json:"answered"`
	AnsweredEarly uint64 `json:"answered_early"`

	Now         float64    `json:"now"`
	Since       float64    `json:"since,omitempty"` // about when it became ready, or ceased to be
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt float64    `json:"last_error_at,omitempty"`
	ReceiveRate float64    `json:"receive_rate"` // lines a second, of the last ten seconds
	StoreRate   float64    `json:"store_rate"`
	Lag         LagStats   `json:"lag"`
	Buffer      FillStats  `json:"buffer"`
	Spool       *FillStats `json:"spool,omitempty"` // nil without a spool

	// Publishers are the runs of publishers that the sink has heard of, the newest
	// first, at most 1,000, and RunsForgotten how many more; where they are asked for.
	Publishers    []PublisherRun `json:"publishers,omitempty"`
	RunsForgotten uint64         `json:"runs_forgotten,omitempty"`
}

// LagStats say how long the records of the last minute took from their timestamp until
// they were stored, in seconds. Where Records is 0 there were none.
type LagStats struct {
	Records uint64  `json:"records"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
}

// FillStats say how full a buffer or a spool is, in bytes.
type FillStats struct {
	Bytes   int64   `json:"bytes"`
	Max     int64   `json:"max"`
	Growth  float64 `json:"growth"` // a second, of the last ten seconds; negative while it empties
	Records int64   `json:"records,omitempty"`
	Oldest  float64 `json:"oldest,omitempty"` // when the oldest came, of a spool
	Dir     string  `json:"dir,omitempty"`
}

func (w *work) stats(context.Context) (any, error) {
	a, err := arguments[statsArgs](w)
	if err != nil {
		return nil, err
	}
	s := statsOf(w.sink)
	if a.Publishers {
		runs, forgotten := w.sink.PublisherRuns()
		s.Publishers, s.RunsForgotten = publisherRuns(runs, w.sink.Config().Now()), forgotten
	}
	return s, nil
}

func statsOf(w worker) *Stats {
	st, v := w.Stats(), w.Vitals()
	s := &Stats{
		State: st.State, Messages: st.Messages, Received: st.Received, Stored: st.Stored, StoredBytes: st.StoredBytes,
		Rejected: map[string]uint64{}, Dropped: map[string]uint64{}, Pending: st.Pending, PendingBytes: st.PendingBytes,
		LostMessages: st.LostMessages, Disconnects: st.Disconnects, AppendErrors: st.AppendErrorsTotal(), SyncErrors: st.SyncErrors,
		Answered: st.Answered, AnsweredEarly: st.AnsweredEarly,
		Now: secondsOrZero(v.Now), Since: secondsOrZero(v.Since), LastError: clip(v.LastError, maxText), LastErrorAt: secondsOrZero(v.LastErrorAt),
		ReceiveRate: v.Received, StoreRate: v.Stored,
		Lag:    LagStats{Records: v.Lag.Count(), P50: v.Lag.Quantile(0.5), P99: v.Lag.Quantile(0.99)},
		Buffer: FillStats{Bytes: int64(st.PendingBytes), Max: int64(w.Config().BufferBytes), Growth: v.PendingGrowth, Records: int64(st.Pending)},
	}
	if sp := st.Spool; sp.MaxBytes > 0 {
		s.Spool = &FillStats{
			Bytes: sp.Bytes, Max: sp.MaxBytes, Growth: v.SpoolGrowth, Records: sp.Records, Oldest: secondsOrZero(sp.Oldest), Dir: sp.Dir,
		}
	}
	for reason, n := range st.Rejected {
		s.Rejected[string(reason)] = n
	}
	for reason, n := range st.Dropped {
		s.Dropped[string(reason)] = n
	}
	return s
}

// secondsOrZero returns a time in Unix seconds, 0 for none.
func secondsOrZero(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return unixSeconds(t)
}

// Expected is another sink of the group that ought to be there. Heard is when it last
// said that it is, in Unix seconds; sinks say so about once a minute.
type Expected struct {
	papyra.Peer
	Heard float64 `json:"heard,omitempty"`
}

func expectedOf(list []sink.Expected) []Expected {
	out := make([]Expected, len(list))
	for i, e := range list {
		out[i] = Expected{e.Peer, secondsOrZero(e.Heard)}
	}
	return out
}
