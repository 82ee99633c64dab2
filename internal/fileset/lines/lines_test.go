package lines_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/testrecord"
)

func drain(t *testing.T, data []byte, next func() (lines.Line, error)) []testrecord.Span {
	t.Helper()
	out := []testrecord.Span{}
	for {
		l, err := next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		held := l.Bytes != nil || l.Length == 0
		if held && !bytes.Equal(l.Bytes, data[l.Offset:l.Offset+l.Length]) {
			t.Fatalf("line at %d has other bytes than the file", l.Offset)
		}
		out = append(out, testrecord.Span{Off: l.Offset, Length: l.Length, Ended: l.Ended, Held: held, NUL: l.NUL})
	}
}

func openBytes(t *testing.T, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestReadersFindEveryLine(t *testing.T) {
	for name, data := range testrecord.LineFiles(lines.ChunkSize, 4<<20) {
		t.Run(name, func(t *testing.T) {
			f, want := openBytes(t, data), testrecord.SplitLines(data)
			forward := lines.NewForward(disk.OS{}, f, int64(len(data)))
			if diff := cmp.Diff(want, drain(t, data, forward.Next)); diff != "" {
				t.Errorf("forward (-want +got):\n%s", diff)
			}
			backward := lines.NewBackward(disk.OS{}, f, int64(len(data)))
			got := drain(t, data, backward.Next)
			slices.Reverse(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("backward (-want +got):\n%s", diff)
			}
		})
	}
}

// A reader needs the size that the file has when it begins: what somebody appends
// meanwhile is not read.
func ExampleForward() {
	f, err := os.CreateTemp("", "lines")
	if err != nil {
		panic(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	size, err := f.WriteString("first\nsecond\nunfinis")
	if err != nil {
		panic(err)
	}
	r := lines.NewForward(disk.OS{}, f, int64(size))
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			panic(err)
		}
		fmt.Printf("at %d: %q, ended %v\n", l.Offset, l.Bytes, l.Ended)
	}
	// Output:
	// at 0: "first", ended true
	// at 6: "second", ended true
	// at 13: "unfinis", ended false
}
