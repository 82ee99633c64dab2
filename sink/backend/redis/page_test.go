package redis

import (
	"fmt"
	"strings"
	"testing"
)

// reply is what a server answers that has entries of these sizes, newline included.
func reply(sizes ...int) any {
	var list []any
	for i, size := range sizes {
		list = append(list, []any{fmt.Sprintf("%d-0", i+1), []any{dataField, strings.Repeat("x", size-1)}})
	}
	return list
}

// A page is small where the entries of its stream are long, and from then on where
// one of them was.
func TestPagesOfLongEntries(t *testing.T) {
	stream := func(newest int64) *pinned { return &pinned{last: entryID{1 << 40, 0}, size: newest, length: 1e6} }
	for newest, want := range map[int64]int64{100: firstPage, 50_000: 10, 2 << 20: 1, 8 << 20: 1} {
		if got := newCursor(stream(newest), false, 1).want; got != want {
			t.Errorf("the newest entry has %d bytes: the first page has %d entries, want %d", newest, got, want)
		}
	}
	c := newCursor(stream(100), false, 1)
	short := make([]int, 0, maxPage)
	for range maxPage {
		short = append(short, 100)
	}
	read := func(sizes ...int) {
		t.Helper()
		if err := c.take(reply(sizes...)); err != nil {
			t.Fatal(err)
		}
	}
	for c.want < maxPage {
		read(short[:c.want]...)
	}
	read(append(short[:maxPage-1:maxPage-1], 2<<20)...)
	if c.want > longPageBytes/(2<<20) {
		t.Errorf("behind an entry of 2 MiB comes a page of %d", c.want)
	}
	for range 20 {
		read(short[:c.want]...)
	}
	if c.want != longPageBytes/(2<<20) {
		t.Errorf("behind many short entries comes a page of %d, want %d", c.want, longPageBytes/(2<<20))
	}
}
