package sink_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// The file of rejected lines that a sink makes as root beside a store belongs to the
// store's owner. One that was there, or that is elsewhere, is left as it is.
func TestRootLeavesRejectsToTheStoresOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: gives files to another user")
	}
	const service, other = 12345, 12346
	for name, c := range map[string]struct {
		scheme, query, rejects string
		there                  bool
		want                   uint32
	}{
		"json":        {"json:", "", "/.r.rejected", false, service},
		"rotating":    {"rotating:", "?max_bytes=100000&max_files=3", "/.r.rejected", false, service},
		"there":       {"json:", "", "/.r.rejected", true, other},
		"another one": {"json:", "", "/elsewhere", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "r"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(filepath.Join(dir, "r"), service, service); err != nil {
				t.Fatal(err)
			}
			path := dir + c.rejects
			if c.there {
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chown(path, other, other); err != nil {
					t.Fatal(err)
				}
			}
			b := startBroker(t)
			w := runSink(t, sink.Config{URL: b.URL(), RejectFile: path}, openStore(t, c.scheme+dir+"/r"+c.query))
			nc := dial(t, b.URL())
			publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte("nonsense"))
			flush(t, nc)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != c.want || st.Gid != c.want || info.Size() == 0 || info.Mode().Perm() != 0o600 {
				t.Errorf("%s belongs to %d:%d, want %d; mode %v, %d bytes", path, st.Uid, st.Gid, c.want, info.Mode(), info.Size())
			}
		})
	}
}
