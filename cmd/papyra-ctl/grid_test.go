package main

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// One long cell does not make every other row as long, wherever it stands and
// whatever it is made of.
func TestLongCells(t *testing.T) {
	debug.SetGCPercent(20)
	defer debug.SetGCPercent(100)
	for name, long := range map[string]string{
		"letters":         strings.Repeat("x", 200_000),
		"wide letters":    strings.Repeat("東", 70_000),
		"combining marks": "e" + strings.Repeat("\u0301", 100_000),
		"controls":        strings.Repeat("\x1b", 200_000),
		"no UTF-8":        strings.Repeat("\xff", 200_000),
	} {
		for at := range 4 {
			t.Run(fmt.Sprintf("%s in column %d", name, at), func(t *testing.T) {
				var out bytes.Buffer
				peak := watchHeap(t)
				g := newGrid(newScreen(&out), column{title: "A"}, column{title: "B", right: true}, column{title: "C"}, column{title: "D", cut: true})
				for row := range 1000 {
					cells := []string{"a", "b", "c", "d"}
					if row == 511 {
						cells[at] = long
					}
					if err := g.addRow(cells...); err != nil {
						t.Fatal(err)
					}
				}
				if err := g.writePage(); err != nil {
					t.Fatal(err)
				}
				if err := g.s.flush(); err != nil {
					t.Fatal(err)
				}
				// The last column is shown whole where there is no terminal, once.
				if most := 1000*3*maxCell + 16*maxCell + 4*len(long); out.Len() > most {
					t.Errorf("the table has %d bytes, want at most %d", out.Len(), most)
				}
				if at < 3 && !strings.Contains(out.String(), "…") {
					t.Error("nothing says that the cell was cut")
				}
				if most := uint64(100 << 20); peak() > most {
					t.Errorf("%d bytes were in use, want at most %d", peak(), most)
				}
			})
		}
	}
}

// watchHeap returns a function that ends the watch and returns how much the heap
// grew at most.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	before, most := inUse(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			if now := inUse(); now > before {
				most = max(most, now-before)
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		select {
		case <-stop:
		default:
			close(stop)
		}
		<-stopped
		return most
	}
}
