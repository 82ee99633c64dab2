package fleet

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/admin"
)

// Each sink that ought to be there is a row, whatever came of asking it.
func TestSinkRows(t *testing.T) {
	health := &admin.Health{Host: "h", Version: "v1", URL: "json:/r", Store: "s1", State: "running"}
	broken := *health
	broken.NotReady = "the store takes no records (ENOSPC)"
	starting := *health
	starting.State, starting.NotReady = "starting", "the sink is starting"
	known := admin.Expected{Peer: papyra.Peer{Instance: "x", Store: "s9", Host: "h9", URL: "json:/nine"}, Heard: 1.7e9}
	for _, c := range []struct {
		name   string
		answer Answer
		want   SinkRow
	}{
		{"ready", Answer{Health: health, Stats: &admin.Stats{
			Since: 1.7e9, ReceiveRate: 12, StoreRate: 10, LastError: "gone", LastErrorAt: 1.6e9,
			Lag:     admin.LagStats{Records: 3, P50: .5, P99: 2},
			Buffer:  admin.FillStats{Bytes: 40, Max: 100, Growth: 2, Records: 4},
			Spool:   &admin.FillStats{Bytes: 30, Max: 100, Growth: -2, Oldest: 1.65e9},
			Dropped: map[string]uint64{"sink_full": 2, "sink_stopped": 3}, Rejected: map[string]uint64{"corrupted": 1},
		}}, SinkRow{
			Host: "h", Version: "v1", Store: "json:/r", StoreID: "s1", State: StateReady, Since: 1.7e9, Received: 12, Stored: 10,
			Lag: &Lag{.5, 2}, Buffer: &Fill{Bytes: 40, Max: 100, Records: 4, FullIn: 30}, Spool: &Fill{Bytes: 30, Max: 100, Oldest: 1.65e9},
			Dropped: 5, Rejected: 1, LastError: "gone", LastErrorAt: 1.6e9,
		}},
		{"an older one", Answer{Health: health, Stats: &admin.Stats{}},
			SinkRow{Host: "h", Version: "v1", Store: "json:/r", StoreID: "s1", State: StateReady}},
		{"not ready", Answer{Health: &broken, Stats: &admin.Stats{}, Known: known},
			SinkRow{Host: "h", Version: "v1", Store: "json:/r", StoreID: "s1", State: StateNotReady, Why: broken.NotReady}},
		{"starting", Answer{Health: &starting, Stats: &admin.Stats{}},
			SinkRow{Host: "h", Version: "v1", Store: "json:/r", StoreID: "s1", State: StateStarting}},
		{"silent", Answer{Known: known, Err: fmt.Errorf("no answer: %w", admin.ErrSilent)},
			SinkRow{Host: "h9", Store: "json:/nine", StoreID: "s9", State: StateSilent, Since: 1.7e9, Why: "no answer: " + admin.ErrSilent.Error()}},
		{"silent since it was found", Answer{Health: health, Err: admin.ErrGone},
			SinkRow{Host: "h", Version: "v1", Store: "json:/r", StoreID: "s1", State: StateSilent, Why: admin.ErrGone.Error()}},
		{"refused", Answer{Err: papyra.ErrDenied}, SinkRow{State: StateRefused, Why: papyra.ErrDenied.Error()}},
		{"failed", Answer{Health: health, Err: errors.New("odd")},
			SinkRow{Host: "h", Version: "v1", Store: "json:/r", StoreID: "s1", State: StateFailed, Why: "odd"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff([]SinkRow{c.want}, SinkRows([]Answer{c.answer})); diff != "" {
				t.Errorf("the row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRowsAreInOrder(t *testing.T) {
	var got []string
	for _, r := range SinkRows([]Answer{{Group: "b", Instance: "1"}, {Group: "a", Instance: "2"}, {Group: "a", Instance: "1"}}) {
		got = append(got, r.Group+r.Instance)
	}
	if diff := cmp.Diff([]string{"a1", "a2", "b1"}, got); diff != "" {
		t.Error(diff)
	}
}
