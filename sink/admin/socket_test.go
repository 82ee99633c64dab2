package admin

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend"
)

// serveBeside runs a server with a socket beside a store until the test ends.
func serveBeside(t *testing.T, path string) (end func()) {
	t.Helper()
	store, err := backend.Open("json:" + path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(store, Config{})
	stop := serveAs(t, s, fakeWorker{store})
	return func() {
		stop()
		_ = store.Close()
	}
}

// through asks the holder of a store, if there is one, for its records.
func through(t *testing.T, path string) (records int64, asked bool) {
	t.Helper()
	store, err := backend.Open("json:" + path)
	if err != nil {
		t.Fatal(err)
	}
	s := ThroughHolder(t.Context(), store, VerbInspect)
	defer s.Close()
	_, asked = s.(*heldStore)
	r, err := s.Scan(t.Context(), papyra.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Records, asked
}

// The socket lies beside the store however long its path is, takes the place of one that
// a killed sink has left, and goes with the sink. What is no socket stays.
func TestSocketBesideAStore(t *testing.T) {
	for name, dir := range map[string]string{"short": "d", "longer than an address": strings.Repeat("d", 200), "not UTF-8": "d\xff"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(testkit.FastDir(t), dir)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "records.ndjson")
			plantLine(t, path, testrecord.New(1).Event())
			socket := filepath.Join(dir, ".records.ndjson.sock")
			short, release, err := shortPath(socket)
			if err != nil {
				t.Fatal(err)
			}
			stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			stale.SetUnlinkOnClose(false)
			_ = stale.Close()
			release()
			if n, asked := through(t, path); n != 1 || asked {
				t.Errorf("beside a socket of nobody: %d records, asked %v", n, asked)
			}
			end := serveBeside(t, path)
			testkit.Await(t, "the holder", func() bool { _, asked := through(t, path); return asked })
			if info, err := os.Lstat(socket); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the socket is %v, %v; want mode 0600", info, err)
			}
			end()
			if _, err := os.Lstat(socket); !os.IsNotExist(err) {
				t.Errorf("the socket is left: %v", err)
			}
			if err := os.WriteFile(socket, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			serveBeside(t, path)()
			if raw, err := os.ReadFile(socket); err != nil || string(raw) != "precious" {
				t.Errorf("a file in the place of the socket: %q, %v", raw, err)
			}
			if n, asked := through(t, path); n != 1 || asked {
				t.Errorf("beside a file: %d records, asked %v", n, asked)
			}
		})
	}
}
