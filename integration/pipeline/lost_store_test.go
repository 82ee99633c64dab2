package pipeline

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
)

// confirmMore records so many events and waits until they are confirmed.
func confirmMore(t *testing.T, p *publisher.Publisher, n int) {
	t.Helper()
	before := confirmed(p)
	for i := range n {
		record(p, i)
	}
	testkit.Await(t, "the records to be confirmed", func() bool { return confirmed(p) == before+uint64(n) })
}

// A store whose file was removed after its sink was killed lost what it held: the
// account of the new file does not call that accounted for.
func TestRemovedStoreStartsLate(t *testing.T) {
	dir, url := t.TempDir(), broker(t)
	path := filepath.Join(dir, "records.ndjson")
	args := []string{"--server", url, "--backend", "json:" + path}
	sink := startSink(t, dir, args...)
	p := connect(t, url, publisher.Config{})
	confirmMore(t, p, 2000)
	sink.kill()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	sink = startSink(t, dir, args...)
	confirmMore(t, p, 100)
	finish(t, p)
	sink.terminate()
	if out := ctl(t, 2, "account", "--settle", "0s", "--backend", "json:"+path); !bytes.Contains(out, []byte("STARTS LATE")) {
		t.Errorf("the account does not say that the store starts late:\n%s", out)
	}
	ctl(t, 0, "accept-start", "--backend", "json:"+path)
	ctl(t, 0, "account", "--settle", "0s", "--backend", "json:"+path)
}

// A Redis server comes back with an older copy: the account names what it has forgotten,
// while a sink ran, and while none ran.
func TestRedisServerThatForgot(t *testing.T) {
	for name, running := range map[string]bool{"a sink runs": true, "no sink runs": false} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			dir, url := t.TempDir(), broker(t)
			store := "redis://" + server.Addr()
			args := []string{"--server", url, "--backend", store}
			sink := startSink(t, dir, args...)
			p := connect(t, url, publisher.Config{})
			c := server.Client(t)
			held := func(n int64) {
				t.Helper()
				testkit.Await(t, "the records to be stored", func() bool { return c.XLen(t.Context(), "papyra:orders:events").Val() == n })
			}
			confirmMore(t, p, 300)
			held(300)
			server.Do(t, "SAVE")
			confirmMore(t, p, 200)
			held(500)
			if !running {
				sink.terminate()
			}
			server.Kill()
			server.Restart(t)
			held(300)
			if !running {
				sink = startSink(t, dir, args...)
			}
			confirmMore(t, p, 50)
			finish(t, p)
			sink.terminate()
			held(350)
			out := ctl(t, 2, "account", "--gaps", "--settle", "0s", "--backend", store)
			if !bytes.Contains(out, []byte("200")) || bytes.Contains(out, []byte("accounted for")) {
				t.Errorf("the account does not name 200 missing records:\n%s", out)
			}
			if running && !bytes.Contains(out, []byte("store_forgot")) {
				t.Errorf("the account does not name the cause:\n%s", out)
			}
		})
	}
}

// With --sync none a power cut takes what nobody has synced: the account says so.
func TestRootPowerCutWithoutSync(t *testing.T) {
	disk := faultdisk.NewPowerDisk(t, 64<<20, t.TempDir())
	url := broker(t)
	path := filepath.Join(disk.Dir, "records.ndjson")
	args := []string{"--server", url, "--backend", "json:" + path, "--sync", "none"}
	sink := startSink(t, t.TempDir(), args...)
	p := connect(t, url, publisher.Config{})
	confirmMore(t, p, 2000)
	disk.Cut()
	sink.kill()
	disk.Restore()
	sink = startSink(t, t.TempDir(), args...)
	confirmMore(t, p, 100)
	finish(t, p)
	sink.terminate()
	out := ctl(t, 2, "account", "--settle", "0s", "--backend", "json:"+path)
	if !bytes.Contains(out, []byte("STARTS LATE")) && !bytes.Contains(out, []byte("MISSING")) {
		t.Errorf("the account does not say that something was lost:\n%s", out)
	}
}
