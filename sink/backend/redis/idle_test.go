package redis_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
)

// A server closes connections that are idle. That is no fault: the next Append
// works, and stores each line once.
func TestConnectionsThatTheServerClosedWhileIdle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil, time.Now().Add(time.Hour))
	certificate(t, dir, "server", ca, caKey, time.Now().Add(time.Hour))
	file := func(name string) string { return filepath.Join(dir, name) }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	server := redistest.Start(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", file("server.pem"), "--tls-key-file", file("server.key"),
		"--tls-ca-cert-file", file("ca.pem"), "--tls-auth-clients", "no", "--timeout", "1")
	for name, url := range map[string]string{
		"TLS":   "rediss://127.0.0.1:" + strconv.Itoa(port) + "?prefix=tls&tls_ca=" + file("ca.pem"),
		"plain": "redis://" + server.Addr() + "?prefix=plain",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, url)
			a, err := s.Appender(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			n := 0
			for range 3 {
				var b papyra.Batch
				for _, system := range []string{"orders", "shop"} {
					for range 5 {
						n++
						line := fmt.Sprintf(`{"kind":"event","system_id":%q,"actor_address":"a:1","event_type":"T","payload":{"n":%d},"timestamp":1700000000.5}`, system, n)
						b.Append(b.StreamIndex(papyra.Stream{System: system, Kind: papyra.KindEvent}), []byte(line))
					}
				}
				if stored, err := a.Append(t.Context(), &b); err != nil || stored != b.Len() {
					t.Fatalf("stored %d of %d: %v", stored, b.Len(), err)
				}
				time.Sleep(3 * time.Second) // the server looks once a second
			}
			got := 0
			if _, err := s.Read(context.Background(), papyra.Query{}, func(*papyra.Record, papyra.Place) error { got++; return nil }); err != nil {
				t.Fatal(err)
			}
			if got != n {
				t.Errorf("%d records are stored, want %d", got, n)
			}
		})
	}
}
