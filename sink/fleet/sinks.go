package fleet

import (
	"cmp"
	"errors"
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/admin"
)

// The states of a row of a sink.
const (
	StateReady    = "ready"     // it does its work
	StateNotReady = "not ready" // it runs, and something keeps it from its work
	StateStarting = "starting"
	StateStopping = "stopping"
	StateSilent   = "silent"  // it ought to be there and does not answer
	StateRefused  = "refused" // it is there, and this login may not ask it
	StateFailed   = "failed"  // it answers, but not what it was asked for
)

// Answer is what came of asking one sink that ought to be there.
type Answer struct {
	Group, Instance string
	Known           admin.Expected // what another sink remembers of it; zero where none does
	Health          *admin.Health  // nil where it did not answer
	Stats           *admin.Stats   // likewise
	Err             error          // why one of the two is missing

	store *admin.Store // nil where it did not answer
}

// SinkRow is one sink that ought to be there. Times are Unix seconds by the sink's
// clock, 0 where there is nothing to tell.
type SinkRow struct {
	Group    string `json:"group"`
	Instance string `json:"instance"` // "" of a group of which no sink is known
	Host     string `json:"host,omitempty"`
	Version  string `json:"version,omitempty"`
	Store    string `json:"store,omitempty"` // its URL
	StoreID  string `json:"store_id,omitempty"`

	State string  `json:"state"`
	Why   string  `json:"why,omitempty"`
	Since float64 `json:"since,omitempty"` // when it became ready or ceased to be; when one that is silent was last heard of

	Received float64 `json:"received"` // lines a second, of the last ten seconds
	Stored   float64 `json:"stored"`
	Lag      *Lag    `json:"lag,omitempty"` // nil where nothing was stored in the last minute
	Buffer   *Fill   `json:"buffer,omitempty"`
	Spool    *Fill   `json:"spool,omitempty"` // nil without a spool

	Dropped     uint64  `json:"dropped"`  // lines, since the sink's start
	Rejected    uint64  `json:"rejected"` // likewise
	LastError   string  `json:"last_error,omitempty"`
	LastErrorAt float64 `json:"last_error_at,omitempty"`
}

// Lag says how long records of the last minute took from their timestamp to the store,
// in seconds.
type Lag struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Fill says how full something is.
type Fill struct {
	Bytes   int64   `json:"bytes"`
	Max     int64   `json:"max"`
	Records int64   `json:"records"`
	FullIn  float64 `json:"full_in,omitempty"` // seconds, if it fills on as it does; 0 where it does not fill
	Oldest  float64 `json:"oldest,omitempty"`  // when the oldest came
}

// SinkRows returns the rows of sinks, by group and instance.
func SinkRows(answers []Answer) []SinkRow {
	rows := make([]SinkRow, 0, len(answers))
	for i := range answers {
		rows = append(rows, sinkRow(&answers[i]))
	}
	sortSinks(rows)
	return rows
}

func sortSinks(rows []SinkRow) {
	slices.SortFunc(rows, func(a, b SinkRow) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Instance, b.Instance))
	})
}

func sinkRow(a *Answer) SinkRow {
	row := SinkRow{Group: a.Group, Instance: a.Instance, Host: a.Known.Host, Store: a.Known.URL, StoreID: a.Known.Store}
	if h := a.Health; h != nil {
		row.Host, row.Version, row.Store, row.StoreID = h.Host, h.Version, h.URL, h.Store
		row.State, row.Why = stateOf(h)
	}
	if a.Err != nil {
		row.State, row.Why = failedState(a.Err), a.Err.Error()
	}
	if row.State == StateSilent {
		row.Since = a.Known.Heard
	}
	if st := a.Stats; st != nil {
		row.fill(st)
	}
	return row
}

// stateOf returns the state of a sink that answers.
func stateOf(h *admin.Health) (state, why string) {
	switch {
	case h.NotReady == "":
		return StateReady, ""
	case h.State == StateStarting || h.State == StateStopping:
		return h.State, ""
	}
	return StateNotReady, h.NotReady
}

// failedState returns the state of a sink that could not be asked.
func failedState(err error) string {
	switch {
	case errors.Is(err, papyra.ErrDenied):
		return StateRefused
	case errors.Is(err, admin.ErrSilent), errors.Is(err, admin.ErrGone):
		return StateSilent
	}
	return StateFailed
}

func (row *SinkRow) fill(st *admin.Stats) {
	row.Since, row.LastError, row.LastErrorAt = st.Since, st.LastError, st.LastErrorAt
	row.Received, row.Stored = st.ReceiveRate, st.StoreRate
	row.Dropped, row.Rejected = sum(st.Dropped), sum(st.Rejected)
	if st.Lag.Records > 0 {
		row.Lag = &Lag{P50: st.Lag.P50, P99: st.Lag.P99}
	}
	row.Buffer = fillOf(&st.Buffer)
	if st.Spool != nil {
		row.Spool = fillOf(st.Spool)
	}
}

func fillOf(f *admin.FillStats) *Fill {
	if f.Max <= 0 {
		return nil // an older sink does not say
	}
	out := &Fill{Bytes: f.Bytes, Max: f.Max, Records: f.Records, Oldest: f.Oldest}
	if left := f.Max - f.Bytes; left > 0 && f.Growth > 0 {
		out.FullIn = float64(left) / f.Growth
	}
	return out
}

func sum[K comparable](counts map[K]uint64) (total uint64) {
	for _, n := range counts {
		total += n
	}
	return total
}
