package fileset_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testrecord"
)

// A recovery ends every file with a newline: the Python implementation's repair
// would take a last record without one for torn, and destroy it.
func TestRecoverEndsLastLines(t *testing.T) {
	cut := func(path string) []byte {
		t.Helper()
		data, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, bytes.TrimSuffix(data, []byte("\n")), 0o600))
		return data
	}
	f := newBound(t, 1500, 20)
	lines := testrecord.New(1).Events(20)
	f.store(lines...)
	must(t, f.Close())
	inner, active := cut(f.path+".2"), cut(f.path)
	f = bound(t, f.path, 1500, 20)

	if r := f.recover(papyra.RecoverOptions{DryRun: true}); r.Ended != 2 || r.Moved != 0 {
		t.Errorf("dry run: %+v; want 2 files to be ended", r)
	}
	if got, _ := os.ReadFile(f.path); len(got) != len(active)-1 {
		t.Error("a dry run has changed the file")
	}
	syncs := f.disk.Calls(faultdisk.Sync)
	r := f.recover(papyra.RecoverOptions{})
	if n := f.disk.Calls(faultdisk.Sync) - syncs; n != 2 {
		t.Errorf("%d files were synced, want 2", n)
	}
	if r.Ended != 2 || r.Moved != 0 || r.Act != "" || !r.After.Clean() || r.After.Bytes != r.Before.Bytes+2 {
		t.Errorf("%+v; want 2 files ended, and nothing else", r)
	}
	for path, want := range map[string][]byte{f.path: active, f.path + ".2": inner} {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %d bytes, want the %d that it had", path, err, len(got), len(want))
		}
	}
	if r := f.recover(papyra.RecoverOptions{}); r.Ended != 0 {
		t.Errorf("once more: %+v", r)
	}

	// Also where there is damage elsewhere, and in the file itself.
	cut(f.path + ".2")
	data, err := os.ReadFile(f.path + ".3")
	must(t, err)
	must(t, os.WriteFile(f.path+".3", append([]byte("junk\n"), bytes.TrimSuffix(data, []byte("\n"))...), 0o600))
	r = f.recover(papyra.RecoverOptions{})
	if r.Ended != 2 || r.Moved != 1 || !r.After.Clean() {
		t.Errorf("%+v; want 2 files ended and 1 place moved", r)
	}
	if diff := cmp.Diff(text(lines), f.read(papyra.Query{Systems: []string{"orders"}})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, path := range []string{f.path, f.path + ".2", f.path + ".3"} {
		if got, err := os.ReadFile(path); err != nil || !bytes.HasSuffix(got, []byte("}\n")) {
			t.Errorf("%s: %v, it ends in %q", path, err, got[max(0, len(got)-5):])
		}
	}

	// A newline that cannot be written, or synced, is an error.
	for _, op := range []faultdisk.Op{faultdisk.Write, faultdisk.Sync} {
		cut(f.path + ".2")
		f.disk.Fail(faultdisk.Fault{Op: op, Path: "records.ndjson.2", Err: unix.ENOSPC, Times: 1})
		if _, err := f.Recover(t.Context(), papyra.RecoverOptions{}); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%v fails: error %v", op, err)
		}
		f.disk.Heal()
	}
	f.recover(papyra.RecoverOptions{})

	// The store's own appender has ended the active file.
	a := f.appender()
	if r := f.recover(papyra.RecoverOptions{}); r.Ended != 0 || !r.After.Clean() {
		t.Errorf("beside the appender: %+v", r)
	}
	if _, err := a.Append(t.Context(), testrecord.Batch(testrecord.New(2).Event())); err != nil {
		t.Errorf("append after it: %v", err)
	}
	must(t, a.Close())
}
