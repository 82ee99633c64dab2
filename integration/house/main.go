// Command house counts how the code is laid out: rooms, how large each is, and
// which of them need each other in the wrong direction.
//
//	go run ./integration/house [DIR]
//
// A room is a file of the root package, a folder at the top, or a folder of
// internal, each of which is a mechanism of its own. An arrow leads
// from a room to another one of which it uses a name. The rooms are put in an
// order in which as few arrows as possible lead from a later room to an earlier
// one; those that do are the ones that run back up. Tests are no rooms.
package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	h, err := readHouse(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(1)
	}
	h.print(os.Stdout)
}

// house is what was counted.
type house struct {
	rooms []*room // in the order of print: who is used stands behind who uses
	lines int
	up    []arrow // arrows that run back up, by their rooms
}

// room is a file of the root package or a folder.
type room struct {
	name  string
	lines int
	uses  map[*room]map[string]bool // names
}

// arrow is what one room uses of another.
type arrow struct {
	from, to *room
	names    []string
}

func (h *house) biggest() (r *room, share float64) {
	r = slices.MaxFunc(h.rooms, func(a, b *room) int { return cmp.Compare(a.lines, b.lines) })
	return r, float64(r.lines) / float64(h.lines)
}

func (h *house) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "lines\tshare\troom\t")
	for _, r := range h.rooms {
		fmt.Fprintf(t, "%d\t%.0f%%\t%s\t\n", r.lines, 100*float64(r.lines)/float64(h.lines), r.name)
	}
	_ = t.Flush()
	big, share := h.biggest()
	fmt.Fprintf(w, "\n%d lines in %d rooms; the biggest is %s with %.0f %%\n", h.lines, len(h.rooms), big.name, 100*share)
	fmt.Fprintf(w, "%d arrows run back up\n", len(h.up))
	for _, a := range h.up {
		fmt.Fprintf(w, "  %s uses %v of %s\n", a.from.name, a.names, a.to.name)
	}
}
