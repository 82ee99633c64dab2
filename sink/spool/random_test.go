package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// Everything at random: the store goes and comes, refuses streams, the spool's disk
// fails, and now and then what is on the disk at that moment is what the next start
// finds, as after a kill. Nothing that was taken is missing in the end, each stream
// comes in order but for what a kill repeats, and a repeated line is the same line.
func TestRandomLife(t *testing.T) {
	t.Parallel()
	rounds := 6
	if testkit.Long() {
		rounds = 200
	}
	for round := range rounds {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			t.Parallel()
			randomLife(t, rand.New(rand.NewPCG(uint64(round), 42)))
		})
	}
}

func randomLife(t *testing.T, r *rand.Rand) {
	w := newWorld(t)
	w.watchRemovals()
	c := w.config()
	s, src := w.openWith(c), testrecord.New(1)
	var taken []string
	kills := 0
	streams := []papyra.Stream{orders, deadTexts, {System: "shop", Kind: papyra.KindEvent}, {System: "orders", Kind: papyra.KindReport}}
	line := func() []byte {
		stream := streams[r.IntN(len(streams))]
		return src.Line(stream.System, stream.Kind, strings.Repeat("x", r.IntN(300)))
	}
	for range 300 {
		switch r.IntN(20) {
		case 0, 1:
			w.fail(errDown)
		case 2, 3, 4:
			w.fail(nil)
		case 5:
			w.change(func() { w.refuses[streams[r.IntN(len(streams))]] = errors.New("NOPERM") })
		case 6, 7:
			w.change(func() { clear(w.refuses) })
		case 8:
			w.disk.Fail(faultdisk.Fault{Op: faultdisk.Write, Err: unix.ENOSPC, Part: r.IntN(200), Times: 1 + r.IntN(3)})
		case 9:
			w.disk.Heal()
		case 10:
			if err := s.Sync(t.Context()); err != nil && !errors.Is(err, errDown) && !errors.Is(err, unix.ENOSPC) {
				t.Errorf("Sync() = %v", err)
			}
		case 11:
			if r.IntN(3) > 0 {
				continue
			}
			s = w.kill(s, c)
			kills++
		default:
			b := &papyra.Batch{}
			for range 1 + r.IntN(20) {
				l := line()
				rec, err := papyra.Parse(l)
				if err != nil {
					t.Fatal(err)
				}
				b.Append(b.StreamIndex(rec.Stream()), l)
			}
			for b.Len() > 0 { // a sink gives again what was not taken
				before := &papyra.Batch{}
				copyAll(before, b)
				n, err := s.Append(t.Context(), b)
				b.DropStored(n, err)
				left := map[string]bool{}
				for i := range b.Len() {
					l, _ := b.Line(i)
					left[string(l)] = true
				}
				for i := range before.Len() {
					if l, _ := before.Line(i); !left[string(l)] {
						taken = append(taken, string(l))
					}
				}
				if err != nil && !errors.Is(err, ErrFull) {
					t.Fatalf("Append() = %v", err)
				}
				if err != nil {
					w.disk.Heal()
				}
			}
		}
	}
	w.disk.Heal()
	w.change(func() {
		w.err = nil
		clear(w.refuses)
	})
	awaitEmpty(t, s)
	got := w.stored()
	count := map[string]int{}
	for _, l := range got {
		count[l]++
	}
	repeated := 0
	for _, l := range taken {
		if count[l] == 0 {
			t.Fatalf("a line that was taken is not stored: %.200s", l)
		}
		repeated += count[l] - 1
	}
	if len(count) != len(taken) {
		t.Errorf("%d lines are stored, want the %d that were taken", len(count), len(taken))
	}
	if kills == 0 && repeated > 0 {
		t.Errorf("%d lines are stored twice, and nothing was killed", repeated)
	}
	if kills == 0 {
		var want [][]byte
		for _, l := range taken {
			want = append(want, []byte(l))
		}
		wantLines(t, got, want)
	}
	t.Logf("%d lines, %d of them again after %d kills", len(taken), repeated, kills)
}

// kill copies the spool's directory as it is at one moment, and opens a spool on the
// copy. Nothing of the first one counts afterwards.
func (w *world) kill(s *Spool, c Config) *Spool {
	w.t.Helper()
	copied := filepath.Join(testkit.FastDir(w.t), "spool")
	w.change(func() { // the store takes nothing of the old one from here on
		// A copy takes time. It is a state of one moment if nothing changed meanwhile.
		for {
			before := w.files()
			_ = os.RemoveAll(copied)
			if err := os.CopyFS(copied, os.DirFS(w.dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
				w.t.Error(err)
			}
			if w.files() == before {
				break
			}
		}
		w.err = errDown
	})
	if err := s.Close(); err != nil {
		w.t.Logf("close: %v", err)
	}
	w.dir = copied
	c.Dir = copied
	return w.openWith(c)
}

// files describes the files of the spool.
func (w *world) files() string {
	var b strings.Builder
	entries, _ := os.ReadDir(w.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintln(&b, e.Name(), info.Size(), info.ModTime())
		}
	}
	return b.String()
}
