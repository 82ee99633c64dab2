package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/broker"
)

// otherStores are the URLs of empty stores that are no single file, whose tests
// have the names of the faults.
func otherStores(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"rotating": "rotating:r.ndjson?max_bytes=100kB&max_files=1000",
		"redis":    "redis://" + redistest.Start(t).Addr(),
	}
}

// storedEvents returns how often each event of a store is there, and its scan.
func storedEvents(t *testing.T, url string) (seen map[string]int, last string, scan *papyra.ScanReport) {
	t.Helper()
	store, err := backend.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if scan, err = store.Scan(t.Context(), papyra.ScanOptions{Full: true}); err != nil {
		t.Fatal(err)
	}
	seen = map[string]int{}
	_, err = store.Read(t.Context(), papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}}, func(r *papyra.Record, _ papyra.Place) error {
		last = string(r.Line)
		seen[last]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen, last, scan
}

// SIGTERM right behind a flood: everything that was received is stored, once.
func TestSIGTERMStoresEverythingInEveryStore(t *testing.T) {
	for name, url := range otherStores(t) {
		t.Run(name, func(t *testing.T) {
			b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			dir := t.TempDir()
			t.Chdir(dir)
			p := start(t, dir, "--server", b.URL(), "--backend", url)
			nc := dial(t, b.URL())
			const n = 20_000
			for i := range n {
				send(t, nc, event(i))
			}
			flush(t, nc)
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
			if !scan.Clean() {
				t.Errorf("scan: %+v", scan)
			}
		})
	}
}

// After kill -9 in a flood the next start goes on: files hold at most a torn
// line for each kill, Redis none, and nothing is merged.
func TestKillInAFloodInEveryStore(t *testing.T) {
	const kills = 3
	for name, url := range otherStores(t) {
		t.Run(name, func(t *testing.T) {
			b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			dir := t.TempDir()
			t.Chdir(dir)
			nc := dial(t, b.URL())
			stop, stopped := make(chan struct{}), make(chan int)
			go func() {
				n := 0
				for {
					select {
					case <-stop:
						stopped <- n
						return
					default:
					}
					for range 50 {
						n++
						_ = nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), []byte(event(n)+"\n"+event(n)))
					}
					time.Sleep(time.Millisecond) // no more than a sink takes
				}
			}()
			before := 0
			for range kills {
				p := start(t, dir, "--server", b.URL(), "--backend", url)
				for deadline := time.Now().Add(patience); ; {
					seen, _, _ := storedEvents(t, url)
					if len(seen) > before+500 {
						before = len(seen)
						break // in the middle of the stream
					}
					if time.Now().After(deadline) {
						t.Fatal("nothing is stored")
					}
				}
				p.signal(syscall.SIGKILL)
				if code := p.exit(); code != -int(syscall.SIGKILL) {
					t.Fatalf("exit code %d", code)
				}
			}
			close(stop)
			n := <-stopped
			flush(t, nc)
			p := start(t, dir, "--server", b.URL(), "--backend", url)
			send(t, nc, event(0))
			flush(t, nc)
			p.signal(syscall.SIGTERM)
			if code := p.exit(); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			seen, last, scan := storedEvents(t, url)
			if last != event(0) || seen[event(0)] != 1 {
				t.Errorf("the last record is %q", last)
			}
			known := map[string]bool{}
			for i := range n + 1 {
				known[event(i)] = true
			}
			for line, times := range seen {
				if !known[line] || times > 2 {
					t.Fatalf("%q is stored %d times, want one of those sent, at most twice", line, times)
				}
			}
			torn := scan.AnomalyCounts[papyra.ClassTruncated]
			if limit := int64(map[string]int{"rotating": kills}[name]); torn > limit || len(scan.AnomalyCounts) > 0 && torn == 0 {
				t.Errorf("scan: %v after %d kills", scan.AnomalyCounts, kills)
			}
		})
	}
}

// A deadline that is missed is exit 3, and the log says how many records are not
// stored.
func TestSIGTERMWithAStoreThatStandsStill(t *testing.T) {
	server := redistest.Start(t)
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := start(t, t.TempDir(), "--server", b.URL(), "--backend", "redis://"+server.Addr()+"?timeout=500ms", "--stop-timeout", "2s")
	server.Pause()
	defer server.Resume()
	nc := dial(t, b.URL())
	for i := range 100 {
		send(t, nc, event(i))
	}
	flush(t, nc)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 3 {
		t.Errorf("exit code %d, want 3:\n%s", code, p.text())
	}
	ended := p.messages("ended")
	if len(ended) != 1 {
		t.Fatalf("the totals: %v", ended)
	}
	if stored, _ := ended[0]["stored"].(float64); stored != 0 {
		t.Errorf("the totals say that %v are stored: %v", stored, ended[0])
	}
	t.Log(ended[0])
}

// The banner says when records are durable where that is the sink's to decide,
// and nothing where it is the server's, or never.
func TestBannerTellsTheSyncMode(t *testing.T) {
	server := redistest.Start(t)
	for _, tt := range []struct {
		args []string
		want any
	}{
		{[]string{"--backend", "json:r.ndjson"}, "interval"},
		{[]string{"--backend", "json:r.ndjson?sync=none"}, "none"},
		{[]string{"--backend", "rotating:r.ndjson", "--sync", "batch"}, "batch"},
		{[]string{"--backend", "memory:"}, nil},
		{[]string{"--backend", "redis://" + server.Addr()}, nil},
	} {
		p := start(t, t.TempDir(), append(tt.args, "--listen", "127.0.0.1:0")...)
		if got := p.banner["sync"]; got != tt.want {
			t.Errorf("%q: the banner says sync=%v, want %v", tt.args, got, tt.want)
		}
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 0 {
			t.Errorf("%q: exit code %d", tt.args, code)
		}
	}
}
