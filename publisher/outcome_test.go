package publisher

import "testing"

// TestJudge goes through the rows of the table of outcomes.
func TestJudge(t *testing.T) {
	cases := []struct {
		name            string
		before          bool // a server may have the chunk from an earlier window
		entry           windowEntry
		proven          bool
		refused, handed int
		want            chunkOutcome
		wantUnknown     bool
	}{
		{"all handed over", false, windowEntry{messages: 2, whole: true}, true, 0, 2, outcomeDelivered, false},
		{"not proven", false, windowEntry{messages: 2, whole: true}, false, 0, 2, outcomeUnproven, true},
		{"a part handed over", false, windowEntry{messages: 1}, true, 0, 1, outcomeUnproven, true},
		{"nothing handed over", false, windowEntry{}, true, 0, 2, outcomeUnsent, false},
		{"nothing handed over this time", true, windowEntry{}, false, 0, 0, outcomeUnsent, true},
		{"nothing left to hand over", false, windowEntry{whole: true}, true, 1, 1, outcomeDelivered, false},
		{"nobody listens", false, windowEntry{messages: 2, whole: true, unheard: 2}, true, 0, 2, outcomeUnheard, false},
		{"nobody listens this time", true, windowEntry{messages: 2, whole: true, unheard: 2}, true, 0, 2, outcomeUnheard, true},
		{"nobody heard a part", false, windowEntry{messages: 2, whole: true, unheard: 1}, true, 0, 2, outcomeUnheard, true},
		{"a 503 in a window that is not proven", false, windowEntry{messages: 1, whole: true, unheard: 1}, false, 0, 1, outcomeUnproven, true},
		{"all refused", false, windowEntry{messages: 1, whole: true}, true, 2, 2, outcomeDenied, false},
		{"all refused this time", true, windowEntry{messages: 1, whole: true}, true, 2, 2, outcomeDenied, true},
		{"some of the lane refused", false, windowEntry{messages: 1, whole: true}, true, 1, 2, outcomeDenied, true},
		{"refused and unheard", false, windowEntry{messages: 1, whole: true, unheard: 1}, true, 1, 1, outcomeDenied, false},
		{"refused in a window that is not proven", false, windowEntry{messages: 1, whole: true}, false, 1, 1, outcomeUnproven, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tc.entry.chunk = &chunk{unknown: tc.before}
			got, unknown := tc.entry.judge(tc.proven, tc.refused, tc.handed)
			if got != tc.want || tc.want != outcomeDelivered && unknown != tc.wantUnknown {
				t.Errorf("got outcome %d, a server may have it: %v; want %d, %v", got, unknown, tc.want, tc.wantUnknown)
			}
		})
	}
}
