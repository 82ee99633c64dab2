package rejects_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/rejects"
)

func reject(i int) *rejects.Reject {
	return &rejects.Reject{
		Time: time.UnixMicro(1_700_000_000_123_456 + int64(i)).UTC(), Subject: "s\x1b.\u202e", Reason: papyra.ClassCorrupted,
		Detail: "corrupted: \"x\"\n", Length: 3, Raw: []byte{0, 0xff, byte(i)},
	}
}

func Example() {
	r := rejects.Reject{
		Time: time.Unix(1_700_000_000, 123_456_000), Subject: "papyra.v1.records.orders.events", Reason: papyra.ClassMissingField,
		Detail: "missing_field payload", Length: 2, Raw: []byte("{}"),
	}
	fmt.Print(string(r.AppendLine(nil)))
	// Output:
	// {"time":1700000000.123456,"subject":"papyra.v1.records.orders.events","reason":"missing_field","detail":"missing_field payload","length":2,"raw":"e30="}
}

// What was written is read, the older file first; what is no reject is counted and
// passed over.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".r.rejected")
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (got []*rejects.Reject, damaged int64, err error) {
		damaged, err = rejects.Read(t.Context(), path, func(r *rejects.Reject) error {
			got = append(got, r)
			return nil
		})
		return got, damaged, err
	}
	if _, _, err := read(); !errors.Is(err, papyra.ErrNotFound) {
		t.Errorf("no file: %v, want papyra.ErrNotFound", err)
	}
	// A file of an older sink has no detail.
	old := &rejects.Reject{Time: time.Unix(1_700_000_000, 0).UTC(), Subject: "s", Reason: "oversize", Length: 9 << 20, Raw: make([]byte, 5000)}
	write(path+".1", append(old.AppendLine(nil), `{"time":1`...))
	now := reject(1).AppendLine([]byte("junk\n\n{\"time\":-1,\"subject\":\"s\",\"reason\":\"x\",\"length\":1,\"raw\":\"\"}\n"))
	now = append(now, make([]byte, 5<<20)...)
	now = append(now, '\n')
	write(path, reject(2).AppendLine(now))
	got, damaged, err := read()
	want := []*rejects.Reject{old, reject(1), reject(2)}
	if diff := cmp.Diff(want, got); diff != "" || damaged != 4 || err != nil {
		t.Errorf("%d damaged, %v (-want +got):\n%s", damaged, err, diff)
	}
	stop := errors.New("enough")
	if _, err := rejects.Read(t.Context(), path, func(*rejects.Reject) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the reader's error", err)
	}
	// What cannot be read does not hide the rest.
	if err := os.Remove(path + ".1"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path+".1", 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _, err := read(); len(got) != 2 || !errors.Is(err, papyra.ErrIncomplete) {
		t.Errorf("a FIFO in the place of the older file: %d rejects, %v; want 2 and papyra.ErrIncomplete", len(got), err)
	}
}
