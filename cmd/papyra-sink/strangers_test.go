package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
)

// Connections that say nothing do not take the descriptors of the store's rotation
// or of the health probes.
func TestIdleConnectionsLeaveDescriptors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sink := command(dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--backend", "rotating:r?max_bytes=64kB&max_files=3", "--sync", "batch")
	cmd := exec.Command("sh", append([]string{"-c", `ulimit -n 160; exec "$@"`, "sh"}, sink.Args...)...)
	cmd.Dir, cmd.Env = sink.Dir, sink.Env
	p := startCommand(t, cmd)
	nc := dial(t, p.url())
	for _, url := range []string{p.url(), p.banner["http"].(string)} {
		_, address, _ := strings.Cut(url, "://")
		for range 250 {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}
	}
	for range 4 {
		send(t, nc, strings.TrimSuffix(strings.Repeat(event(1)+"\n", 400), "\n"))
		flush(t, nc)
	}
	await(t, "all is stored, and the files are rotated", func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, "r.*"))
		return p.scrape().number("records_written_total") == 1600 && len(files) == 2
	})
	if status, body := p.get("/livez"); status != 200 {
		t.Errorf("/livez: %d %q", status, body)
	}
	if s := p.scrape(); s.number("write_errors_total") != 0 || s.number("ready") != 1 {
		t.Errorf("write errors %v, ready %v", s.number("write_errors_total"), s.number("ready"))
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// With a login the embedded server listens for other machines, and only who has it
// comes in. The log does not show it.
func TestEmbeddedServerWithALogin(t *testing.T) {
	t.Parallel()
	sink := command(t.TempDir(), "--listen", "0.0.0.0:0", "--listen-user", "shop", "--backend", "memory:", "--log-level", "debug")
	sink.Env = append(sink.Env, "PAPYRA_LISTEN_PASSWORD=canary?,@:")
	p := startCommand(t, sink)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.url(), "nats://"))
	if nc, err := nats.Connect("nats://127.0.0.1:" + port); err == nil {
		nc.Close()
		t.Error("a client without a login came in")
	}
	nc, err := nats.Connect("nats://127.0.0.1:"+port, nats.UserInfo("shop", "canary?,@:"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	send(t, nc, event(1))
	flush(t, nc)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if ended := p.messages("ended"); len(ended) != 1 || ended[0]["stored"] != 1.0 {
		t.Errorf("the record is not stored:\n%s", p.text())
	}
	if !strings.Contains(p.text(), "unencrypted") || strings.Contains(p.text(), "canary") {
		t.Errorf("the log does not warn, or shows the password:\n%s", p.text())
	}
}
