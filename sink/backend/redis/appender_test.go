package redis

import (
	"fmt"
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
		again    []string  // what is sent then: stream/number after predecessor, lines
	}{
		{"all stored", []outcome{yes, yes, yes, yes}, 3001, nil},
		{"nothing stored", []outcome{no, no, no, no}, 0, []string{"one/4 0 1000", "two/2 0 1", "one/5 4 1000", "one/6 5 1000"}},
		{"nothing known", []outcome{doubt, doubt, doubt, doubt}, 0, []string{"one/1 0 1000", "two/1 0 1", "one/2 1 1000", "one/3 2 1000"}},
		{"the first of one stream in doubt", []outcome{doubt, yes, no, no}, 0, []string{"one/1 0 1000", "one/4 1 1000", "one/5 4 1000"}},
		{"the other stream in doubt", []outcome{yes, doubt, yes, yes}, 1, []string{"two/1 0 1"}},
		{"the end in doubt", []outcome{yes, yes, doubt, doubt}, 1001, []string{"one/2 0 1000", "one/3 2 1000"}},
		{"stored behind one in doubt", []outcome{yes, yes, doubt, yes}, 1001, []string{"one/2 0 1000", "one/3 2 1000"}},
		{"the end refused", []outcome{yes, yes, yes, no}, 2001, []string{"one/4 0 1000"}},
		{"in doubt behind a refused one", []outcome{yes, yes, no, doubt}, 1001, []string{"one/4 0 1000", "one/5 4 1000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open("redis://127.0.0.1:1", Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			a, err := s.newAppender()
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
			chunks := a.planChunks(&b)
			for i, ch := range chunks {
				if ch.outcome = c.outcomes[i]; ch.outcome == stored {
					a.markStored(ch.lines)
				}
			}
			if n := a.settleChunks(&b, chunks); n != c.first {
				t.Fatalf("%d lines are reported as stored, want %d", n, c.first)
			}
			b.Drop(c.first)
			// When nothing is known of what is sent then, the same is sent once more;
			// and even when all of that is refused, as by a server that still starts.
			for _, when := range []string{"again", "once more", "after it was refused"} {
				var sent []string
				chunks := a.planChunks(&b)
				for _, ch := range chunks {
					_, stream := b.Line(ch.lines[0])
					sent = append(sent, fmt.Sprintf("%s/%d %d %d", stream.System, ch.number, ch.after, len(ch.lines)))
					ch.outcome = unanswered
					if when == "once more" {
						ch.outcome = refused
					}
				}
				if diff := cmp.Diff(c.again, sent); diff != "" {
					t.Errorf("sent %s (-want +got):\n%s", when, diff)
				}
				b.Drop(a.settleChunks(&b, chunks))
			}
		})
	}
}
