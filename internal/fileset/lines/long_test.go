package lines_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/testrecord"
)

// Many readers that share one buffer for long lines all come to their end, with no
// more memory than one of them.
func TestReadersShareLongBuffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var data []byte
	for range 12 {
		data = append(append(data, bytes.Repeat([]byte("x"), papyra.MaxLine+rng.IntN(2*papyra.MaxLine))...), "\nshort\n\n"...)
	}
	f, want := openBytes(t, data), testrecord.SplitLines(data)
	shared := lines.NewLongBuffers(1)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			r := lines.NewForward(disk.OS{}, f, int64(len(data)))
			r.Share(shared)
			defer r.Release()
			var got []testrecord.Span
			for {
				l, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || l.Held() && !bytes.Equal(l.Bytes, data[l.Offset:l.Offset+l.Length]) {
					t.Errorf("the line at %d: %v, or it has other bytes than the file", l.Offset, err)
					return
				}
				got = append(got, testrecord.Span{Off: l.Offset, Length: l.Length, Ended: l.Ended, Held: l.Held()})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	group.Wait()
	runtime.ReadMemStats(&after)
	// Eight buffers of their own, one that is shared, and the lists of spans.
	if got := after.TotalAlloc - before.TotalAlloc; got > 24<<20 {
		t.Errorf("%d MiB were allocated, want 10 for the readers and 8 for the long lines", got>>20)
	}
}

// A reader that has held long lines goes on in its own buffer, also with what
// lines it has read ahead, and from another place.
func TestReaderGoesOnBehindLongLines(t *testing.T) {
	data := bytes.Join([][]byte{bytes.Repeat([]byte("x"), 2<<20), []byte("a"), []byte("b"), bytes.Repeat([]byte("y"), 3<<20), []byte("c"), nil}, []byte("\n"))
	r := lines.NewForward(disk.OS{}, openBytes(t, data), int64(len(data)))
	for range 2 {
		l, err := r.Next()
		if err != nil || l.Length != 2<<20 {
			t.Fatalf("%+v, %v", l.Length, err)
		}
		if got := r.Buffered(); !bytes.HasPrefix(got, []byte("a\nb\n")) {
			t.Fatalf("read ahead are %d bytes, want the two short lines first", len(got))
		}
		r.Skip(2)
		r.Release()
		if l, err = r.Next(); err != nil || string(l.Bytes) != "b" {
			t.Fatalf("%q, %v; want b", l.Bytes, err)
		}
		if err := r.SkipRest(); err != nil {
			t.Fatal(err)
		}
		if l, err = r.Next(); err != nil || string(l.Bytes) != "c" {
			t.Fatalf("%q, %v; want c", l.Bytes, err)
		}
		r.Reset(openBytes(t, data), 0, int64(len(data)), int64(len(data)))
	}
}
