package redis

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
)

// What became of the chunks of a failed append decides what the next one sends.
func TestPlanAfterFailure(t *testing.T) {
	const (
		yes   = stored
		no    = refused
		doubt = unanswered
	)
	one, two := papyra.Stream{System: "one", Kind: papyra.KindEvent}, papyra.Stream{System: "two", Kind: papyra.KindEvent}
	for _, c := range []struct {
		name     string
		outcomes []outcome // of the chunks one/1, two/1, one/2, one/3
		first    int       // lines reported as stored
		fences   [2]uint64 // what the fences of one and two say then
		again    []string  // what is sent then: stream/number after predecessor, lines
	}{
		{"all stored", []outcome{yes, yes, yes, yes}, 3001, [2]uint64{3, 1}, nil},
		{"nothing stored", []outcome{no, no, no, no}, 0, [2]uint64{0, 0}, []string{"one/4 0 1000", "two/2 0 1", "one/5 4 1000", "one/6 5 1000"}},
		{"nothing known, nothing stored", []outcome{doubt, doubt, doubt, doubt}, 0, [2]uint64{0, 0}, []string{"one/4 0 1000", "two/2 0 1", "one/5 4 1000", "one/6 5 1000"}},
		{"nothing known, all stored", []outcome{doubt, doubt, doubt, doubt}, 0, [2]uint64{3, 1}, nil},
		{"nothing known, a part stored", []outcome{doubt, doubt, doubt, doubt}, 0, [2]uint64{2, 0}, []string{"two/2 0 1", "one/4 0 1000"}},
		{"the first of one stream in doubt, not stored", []outcome{doubt, yes, no, no}, 0, [2]uint64{0, 1}, []string{"one/4 0 1000", "one/5 4 1000", "one/6 5 1000"}},
		{"the first of one stream in doubt, stored", []outcome{doubt, yes, no, no}, 0, [2]uint64{1, 1}, []string{"one/4 0 1000", "one/5 4 1000"}},
		{"the other stream in doubt, not stored", []outcome{yes, doubt, yes, yes}, 1, [2]uint64{3, 0}, []string{"two/2 0 1"}},
		{"the other stream in doubt, stored", []outcome{yes, doubt, yes, yes}, 1, [2]uint64{3, 1}, nil},
		{"the end in doubt, a part stored", []outcome{yes, yes, doubt, doubt}, 1001, [2]uint64{2, 1}, []string{"one/4 0 1000"}},
		{"stored behind one in doubt", []outcome{yes, yes, doubt, yes}, 1001, [2]uint64{3, 1}, nil},
		{"the end refused", []outcome{yes, yes, yes, no}, 2001, [2]uint64{2, 1}, []string{"one/4 0 1000"}},
		{"in doubt behind a refused one", []outcome{yes, yes, no, doubt}, 1001, [2]uint64{1, 1}, []string{"one/4 0 1000", "one/5 4 1000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open("redis://127.0.0.1:1", Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			a, err := s.newAppender(appendScript)
			if err != nil {
				t.Fatal(err)
			}
			var b papyra.Batch
			i, j := b.StreamIndex(one), b.StreamIndex(two)
			for n := range 3000 {
				b.Append(i, fmt.Appendf(nil, "line %d", n))
				if n == 0 {
					b.Append(j, []byte("the other"))
				}
			}
			a.groupLines(&b)
			chunks := a.planChunks(&b, chunkBytes)
			for i, ch := range chunks {
				if ch.outcome = c.outcomes[i]; ch.outcome == stored {
					a.markStored(ch.lines)
				}
			}
			if n := a.settleChunks(&b, chunks); n != c.first {
				t.Fatalf("%d lines are reported as stored, want %d", n, c.first)
			}
			b.Drop(c.first)
			// As long as the fences do not answer, nothing of a stream in doubt is sent,
			// and nothing is forgotten.
			if !slices.Contains(c.outcomes, no) {
				a.groupLines(&b)
				for _, ch := range a.planChunks(&b, chunkBytes) {
					t.Errorf("sent before the fences were asked: %s/%d", ch.stream.key, ch.number)
				}
				b.Drop(a.settleChunks(&b, nil))
			}
			a.groupLines(&b)
			for _, l := range a.order {
				at := c.fences[0]
				if strings.Contains(l.key, ":two:") {
					at = c.fences[1]
				}
				if l.inDoubt() {
					l.settleDoubt(at)
				}
			}
			var sent []string
			for _, ch := range a.planChunks(&b, chunkBytes) {
				_, stream := b.Line(ch.lines[0])
				sent = append(sent, fmt.Sprintf("%s/%d %d %d", stream.System, ch.number, ch.after, len(ch.lines)))
			}
			if diff := cmp.Diff(c.again, sent); diff != "" {
				t.Errorf("sent again (-want +got):\n%s", diff)
			}
		})
	}
}

// A way to the server that carries less than a trip within the timeout makes the
// trips smaller until they arrive, and larger again behind it.
func TestTripsFitTheWay(t *testing.T) {
	a := &Appender{trip: tripBytes}
	for range 20 {
		a.adaptTrip(a.trip, true)
	}
	if a.trip != minTripBytes {
		t.Errorf("after 20 failures %d bytes, want %d", a.trip, minTripBytes)
	}
	a.adaptTrip(10, false)
	if a.trip != minTripBytes {
		t.Errorf("a trip of 10 bytes made the next one larger: %d", a.trip)
	}
	for range 20 {
		a.adaptTrip(a.trip, false)
	}
	if a.trip != tripBytes {
		t.Errorf("after 20 answers %d bytes, want %d", a.trip, tripBytes)
	}
}
