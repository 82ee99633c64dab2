package publisher

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
)

// hostileWays are the ways to a server: plain, with TLS after its first line, and
// with TLS first.
func hostileWays(t *testing.T, address string) map[string]func() (*natstest.Hostile, string, []nats.Option) {
	ca, config := natstest.Certificate(t)
	return map[string]func() (*natstest.Hostile, string, []nats.Option){
		"plain": func() (*natstest.Hostile, string, []nats.Option) {
			h := natstest.NewHostile(t, address, nil, false)
			return h, "nats://127.0.0.1:" + h.Port(), nil
		},
		"TLS": func() (*natstest.Hostile, string, []nats.Option) {
			h := natstest.NewHostile(t, address, config, false)
			return h, "nats://127.0.0.1:" + h.Port(), []nats.Option{nats.RootCAs(ca)}
		},
		"TLS first": func() (*natstest.Hostile, string, []nats.Option) {
			h := natstest.NewHostile(t, address, config, true)
			return h, "tls://localhost:" + h.Port(), []nats.Option{nats.RootCAs(ca), nats.TLSHandshakeFirst()}
		},
	}
}

// Whatever a server says, it ends the connection at most: the process lives and has
// little memory, the publisher comes back, and its records are confirmed.
func TestHostileServer(t *testing.T) {
	srv := embeddedFor(t)
	newReceiver(t, srv.ClientURL())
	for way, start := range hostileWays(t, srv.Addr().String()) {
		t.Run(way, func(t *testing.T) {
			h, url, options := start()
			p := connect(t, url, Config{NATS: append(options, fastReconnect)})
			want := uint64(0)
			record := func() {
				p.Started(someActor)
				want++
				await(t, "the record is confirmed", func() bool { return p.Stats().Events.Confirmed == want })
			}
			record()
			for i, line := range []string{
				"MSG a 1 99999999999\r\n",
				"MSG a 1 reply 99999999999\r\nx",
				"HMSG a 1 12 99999999999\r\n",
				"-ERR '" + strings.Repeat("a", 32<<20),
				"INFO {\"x\":\"" + strings.Repeat("a", 32<<20),
				"MSG " + strings.Repeat("a", 32<<20),
				"-ERR 'something new'\r\n",
				"what?\r\n",
				strings.Repeat("-ERR 'Permissions Violation'\r\n", 300_000),
			} {
				before, peak := heapInUse(), heapInUse()
				h.Say(line)
				await(t, "the publisher connects again", func() bool {
					peak = max(peak, heapInUse())
					return h.Clients() >= i+2
				})
				if grown := peak - before; grown > 128<<20 {
					t.Errorf("%.30q: memory grew by %d MiB", line, grown>>20)
				}
				record()
			}
			if s := p.Stats(); s.Errors.Other < 9 || s.Events.Buffered > 0 {
				t.Errorf("got %+v, want each of the errors counted", s)
			}
		})
	}
}

// A flood of wishes for audits, however long they are, makes few audits, and is no
// trouble of the connection.
func TestFloodOfWishes(t *testing.T) {
	srv := embeddedFor(t)
	newReceiver(t, srv.ClientURL())
	var audits, logged atomic.Int64
	p := connect(t, srv.ClientURL(), Config{
		AuditFunc: func() papyra.Audit { audits.Add(1); return papyra.Audit{} },
		Logger:    slog.New(countingLog{&logged}),
	})
	p.Started(someActor)
	await(t, "the record is confirmed", func() bool { return p.Stats().Events.Confirmed == 1 })
	quiet := logged.Load()
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	subject := papyra.AuditSubject(p.system)
	before, peak, began := heapInUse(), heapInUse(), time.Now()
	for i := range 20_000 {
		wish := []byte(nil)
		if i%100 == 0 {
			wish, peak = make([]byte, 512<<10), max(peak, heapInUse())
		}
		if err := nc.Publish(subject, wish); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	await(t, "an audit is made", func() bool { return p.Stats().Audits.Confirmed > 0 })
	p.Started(someActor)
	await(t, "the record is confirmed", func() bool { return p.Stats().Events.Confirmed == 2 })
	if n, most := audits.Load(), int64(time.Since(began)/time.Second)+2; n > most {
		t.Errorf("%d audits, want at most %d", n, most)
	}
	if s := p.Stats(); s.Errors.Other != 0 || s.Errors.Disconnects != 0 || logged.Load() != quiet {
		t.Errorf("got %+v and %d lines in the log, want no trouble", s.Errors, logged.Load()-quiet)
	}
	if grown := peak - before; grown > 200<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

// A wish that comes right after an audit is not forgotten.
func TestLateWishIsAnswered(t *testing.T) {
	srv := embeddedFor(t)
	var audits atomic.Int64
	p := connect(t, srv.ClientURL(), Config{AuditFunc: func() papyra.Audit { audits.Add(1); return papyra.Audit{} }})
	p.askAudit()
	await(t, "an audit is made", func() bool { return audits.Load() == 1 })
	for range 5 {
		p.askAudit()
	}
	await(t, "another one is made", func() bool { return audits.Load() == 2 })
}

// countingLog counts lines.
type countingLog struct{ lines *atomic.Int64 }

func (countingLog) Enabled(context.Context, slog.Level) bool        { return true }
func (l countingLog) Handle(_ context.Context, r slog.Record) error { l.lines.Add(1); return nil }
func (l countingLog) WithAttrs([]slog.Attr) slog.Handler            { return l }
func (l countingLog) WithGroup(string) slog.Handler                 { return l }
