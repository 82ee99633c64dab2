package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra/internal/faultfs"
	"github.com/papyra/papyra/sink/broker"
)

// faultyStores are the URLs of stores of files in a directory.
func faultyStores(dir string) map[string]string {
	return map[string]string{
		"json":     "json:" + filepath.Join(dir, "json", "r.ndjson"),
		"rotating": "rotating:" + filepath.Join(dir, "rotating", "r.ndjson") + "?max_bytes=30kB&max_files=1000",
	}
}

// await waits until the program's log has n times what it should say.
func (p *process) await(what string, n int) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); strings.Count(p.text(), what) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the log does not say %q %d times", what, n)
		}
	}
}

// awaitHit waits until so many calls met a fault.
func awaitHit(t *testing.T, fs *faultfs.FS, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); fs.Hit() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls met the fault, want %d: %v", fs.Hit(), n, fs.Calls())
		}
	}
}

// A real file system that refuses the program's writes, at once or in the middle,
// refuses its rotations, or loses what it should have synced: the program keeps
// the batch, says so, goes on by itself, and in the end every record is stored
// once, in order, and nothing by halves.
func TestRootFaultyFileSystem(t *testing.T) {
	type fault struct {
		name string
		faultfs.Fault
		refused bool // the log says that the store takes no records
		only    string
	}
	fs := faultfs.Mount(t)
	for _, c := range []fault{
		{"full", faultfs.Fault{Op: faultfs.Write, Path: "r.ndjson", Err: unix.ENOSPC, Part: 100}, true, ""},
		{"quota", faultfs.Fault{Op: faultfs.Write, Path: "r.ndjson", Err: unix.EDQUOT, Part: 777}, true, ""},
		{"I/O error", faultfs.Fault{Op: faultfs.Write, Path: "r.ndjson", Err: unix.EIO}, true, ""},
		{"fsync", faultfs.Fault{Op: faultfs.Sync, Path: "r.ndjson", Err: unix.EIO, Times: 3}, false, ""},
		{"no rename", faultfs.Fault{Op: faultfs.Rename, Path: "r.ndjson", Err: unix.EIO}, true, "rotating"},
		{"no new file", faultfs.Fault{Op: faultfs.Create, Path: "r.ndjson", Err: unix.EDQUOT}, true, "rotating"},
	} {
		dir := filepath.Join(fs.Dir, strings.ReplaceAll(c.name, "/", "-"))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, url := range faultyStores(dir) {
			if c.only != "" && c.only != name {
				continue
			}
			t.Run(c.name+"/"+name, func(t *testing.T) {
				b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				fs.Reset()
				p := start(t, t.TempDir(), "--server", b.URL(), "--backend", url)
				nc := dial(t, b.URL())
				const n = 900
				for i := range n {
					if i == n/3 {
						flush(t, nc)
						fs.Fail(c.Fault)
					}
					send(t, nc, event(i))
				}
				flush(t, nc)
				awaitHit(t, fs, 2)
				if c.refused {
					p.await("the store takes no records", 1)
					fs.Heal()
					p.await("the store takes records again", 1)
				} else {
					p.await("could not be synced", 1)
					awaitHit(t, fs, c.Times)
				}
				p.signal(syscall.SIGTERM)
				if code := p.exit(); code != 0 {
					t.Errorf("exit code %d", code)
				}
				seen, _, scan := storedEvents(t, url)
				for i := range n {
					if seen[event(i)] != 1 {
						t.Fatalf("record %d is stored %d times", i, seen[event(i)])
					}
				}
				if len(seen) != n || !scan.Clean() || scan.Duplicates > 0 {
					t.Errorf("%d records, scan: %+v", len(seen), scan)
				}
			})
		}
	}
}

// The program is killed while its syncs fail, or a write of it hangs in the
// kernel: the next one finds whole records and what was synced before.
func TestRootKilledOnAFaultyFileSystem(t *testing.T) {
	fs := faultfs.Mount(t)
	for name, url := range faultyStores(fs.Dir) {
		t.Run(name, func(t *testing.T) {
			b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			nc := dial(t, b.URL())
			sent := 0
			for round := range 3 {
				fs.Reset()
				p := start(t, t.TempDir(), "--server", b.URL(), "--backend", url)
				first := sent
				for ; sent < first+100; sent++ {
					send(t, nc, event(sent))
				}
				flush(t, nc)
				stored := func() int {
					seen, _, _ := storedEvents(t, url)
					return len(seen)
				}
				for deadline := time.Now().Add(patience); stored() < 100*(round+1); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("%d records are stored, want %d", stored(), 100*(round+1))
					}
				}
				gate := make(chan struct{})
				fs.Fail(faultfs.Fault{Op: faultfs.Write, Path: "r.ndjson", Part: 50 + round, Times: 1})
				fs.Fail(faultfs.Fault{Op: faultfs.Write, Path: "r.ndjson", Gate: gate, Err: unix.EIO})
				send(t, nc, fmt.Sprintf(`{"kind":"event","system_id":"orders","actor_address":"a:b","event_type":"Lost%s","payload":{},"timestamp":1.5}`, strconv.Itoa(round)))
				flush(t, nc)
				awaitHit(t, fs, 2)
				p.signal(syscall.SIGKILL)
				close(gate)
				if code := p.exit(); code != -int(syscall.SIGKILL) {
					t.Fatalf("exit code %d", code)
				}
			}
			fs.Reset()
			p := start(t, t.TempDir(), "--server", b.URL(), "--backend", url)
			send(t, nc, event(sent))
			sent++
			flush(t, nc)
			p.signal(syscall.SIGTERM)
			if code := p.exit(); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			seen, last, scan := storedEvents(t, url)
			for i := range sent {
				if seen[event(i)] != 1 {
					t.Fatalf("record %d is stored %d times", i, seen[event(i)])
				}
			}
			if last != event(sent-1) || len(seen) != sent || scan.AnomalyCounts["truncated"] != 3 || len(scan.AnomalyCounts) != 1 {
				t.Errorf("%d records, the last %q, scan: %v, want %d and a fragment for each kill", len(seen), last, scan.AnomalyCounts, sent)
			}
		})
	}
}
