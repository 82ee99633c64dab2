package papyra

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestBatchDropStored(t *testing.T) {
	stream := func(s string) Stream { return Stream{System: s, Kind: KindEvent} }
	refused := func(list ...RefusedStream) error {
		for i := range list {
			list[i].Err = errors.New("WRONGTYPE")
		}
		return fmt.Errorf("append: %w", &RefusedError{Streams: list})
	}
	lines := []string{"a1", "b1", "a2", "c1", "b2", "a3"}
	for _, c := range []struct {
		name string
		n    int
		err  error
		want []string
	}{
		{"all", 6, nil, nil},
		{"a part", 2, errors.New("no room"), []string{"a2", "c1", "b2", "a3"}},
		{"one refused", 0, refused(RefusedStream{Stream: stream("a")}), []string{"a1", "a2", "a3"}},
		{"one refused in the middle", 2, refused(RefusedStream{Stream: stream("a"), Stored: 1}), []string{"a2", "a3"}},
		{"two refused", 1, refused(RefusedStream{Stream: stream("b")}, RefusedStream{Stream: stream("a"), Stored: 2}), []string{"b1", "b2", "a3"}},
		{"more stored than there are", 6, refused(RefusedStream{Stream: stream("c"), Stored: 7}), nil},
		{"one that is not in it", 6, refused(RefusedStream{Stream: stream("z")}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Batch
			for _, l := range lines {
				b.Append(b.StreamIndex(stream(l[:1])), []byte(l))
			}
			b.DropStored(c.n, c.err)
			b.Append(b.StreamIndex(stream("d")), []byte("d1"))
			var got []string
			size := 0
			for i := range b.Len() {
				l, s := b.Line(i)
				got = append(got, string(l))
				if s != stream(string(l[:1])) {
					t.Errorf("line %s is of stream %v", l, s)
				}
				size += len(l) + 1
			}
			if want := append(c.want, "d1"); !slices.Equal(got, want) || len(b.Bytes()) != size || b.End(b.Len()) != size {
				t.Errorf("left are %v in %q, want %v", got, b.Bytes(), want)
			}
		})
	}
}
