package main

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
)

func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"--help"}, 0},
		{"unknown flag", []string{"--verbose"}, exitUsage},
		{"argument", []string{"500"}, exitUsage},
		{"negative orders", []string{"--orders", "-1"}, exitUsage},
		{"no time", []string{"--duration", "0s"}, exitUsage},
		{"reserved system", []string{"--system", papyra.SystemReserved}, exitConfig},
	} {
		t.Run(c.name, func(t *testing.T) {
			var problems strings.Builder
			if got := run(t.Context(), c.args, io.Discard, &problems); got != c.want {
				t.Errorf("%q: exit code %d, want %d: %s", c.args, got, c.want, problems.String())
			}
			if problems.Len() == 0 {
				t.Errorf("%q: nothing is said", c.args)
			}
		})
	}
}

// TestRunAgainstABroker runs the whole program, with somebody who listens.
func TestRunAgainstABroker(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server is not ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var lines atomic.Int64
	if _, err := nc.Subscribe(papyra.SystemSubject("kiosk"), func(m *nats.Msg) {
		lines.Add(int64(strings.Count(string(m.Data), "\n")))
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var out, problems strings.Builder
	args := []string{"--server", s.ClientURL(), "--system", "kiosk", "--orders", "40", "--rate", "0"}
	if code := run(t.Context(), args, &out, &problems); code != 0 {
		t.Fatalf("exit code %d: %s", code, problems.String())
	}
	for _, want := range []string{"The shop took 40 orders", "shipped", "dead letters"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
	for deadline := time.Now().Add(time.Minute); lines.Load() < 80 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // the callback may still be at it
	}
	if lines.Load() < 80 {
		t.Errorf("%d records arrived, want at least a start and a stop of each order", lines.Load())
	}
}
