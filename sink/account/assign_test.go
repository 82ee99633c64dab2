package account

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

// The example of assignHoles.
func TestHolesAreChargedToTheBudgetThatEndsFirst(t *testing.T) {
	known := &numset.Set{}
	for _, n := range []uint64{1, 4, 8, 10} {
		known.Add(n)
	}
	balanced := tally{known: known}
	budgets := []budget{
		{high: 8, n: 3, reason: papyra.DropSinkFull},
		{high: 4, n: 1, reason: papyra.DropQueueFull},
	}
	old := verdictBounds{youngFrom: math.MaxUint64, bufferedFrom: math.MaxUint64}
	balanced.assignHoles(&series{reach: reach{highest: 10}}, budgets, old)
	want := Counts{
		Dropped: map[papyra.DropReason]uint64{papyra.DropQueueFull: 1, papyra.DropSinkFull: 3},
		Unnamed: 4, Missing: 2,
	}
	if diff := cmp.Diff(want, balanced.counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	missing := []span{{4, 8, 3, 1}, {8, 10, 1, 1}}
	if diff := cmp.Diff(missing, balanced.missing, cmp.AllowUnexported(span{})); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}
