package publisher

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
)

// loginsWith are those of a publisher that may subscribe to these subjects, and of
// a sink.
func loginsWith(subscribe string) string {
	return `authorization { users = [ {user: pub, password: pub, permissions: {
		subscribe: {allow: [` + subscribe + `]}}}, {user: sink, password: sink} ] }`
}

const (
	mayAll     = `"papyra.v1.heard.orders.>", "_INBOX.>", "papyra.v1.audit.>"`
	mayAudits  = `"papyra.v1.audit.>"`
	mayReplies = `"papyra.v1.heard.orders.>", "_INBOX.>"`
)

func userPub() Config { return Config{NATS: []nats.Option{nats.UserInfo("pub", "pub")}} }

// An inbox that is refused later proves nothing: without it nobody hears that a
// sink is missing. When it may be subscribed again, it is.
func TestInboxThatIsRefusedLater(t *testing.T) {
	b := newBroker(t, loginsWith(mayAll))
	r := newReceiver(t, b.url(), nats.UserInfo("sink", "sink"))
	p := connect(t, b.url(), userPub())
	p.Started(someActor)
	await(t, "a record is confirmed", func() bool { return p.Stats().Events.Confirmed == 1 })
	for range 2 {
		b.reload(loginsWith(mayAudits))
		await(t, "the refusal is shown", func() bool { return p.Stats().RepliesRefused })
		before := p.Stats().Events.Confirmed
		for range 10 {
			p.Started(someActor)
		}
		time.Sleep(100 * time.Millisecond)
		if s := p.Stats().Events; s.Confirmed != before {
			t.Fatalf("got %+v, want nothing confirmed without the inbox", s)
		}
		b.reload(loginsWith(mayAll))
		await(t, "records are confirmed", func() bool { return p.Stats().Events.Confirmed == before+10 })
		if p.Stats().RepliesRefused {
			t.Error("the inbox is still shown as refused")
		}
	}
	if n := len(r.missing(papyra.KindEvent, 21)); n > 0 {
		t.Errorf("%d records are missing", n)
	}
}

// An inbox that stays refused does not hold up records for ever.
func TestInboxThatStaysRefused(t *testing.T) {
	b := newBroker(t, loginsWith(mayAll))
	newReceiver(t, b.url(), nats.UserInfo("sink", "sink"))
	p := connect(t, b.url(), userPub())
	p.Started(someActor)
	await(t, "a record is confirmed", func() bool { return p.Stats().Events.Confirmed == 1 })
	b.reload(loginsWith(mayAudits))
	await(t, "the refusal is shown", func() bool { return p.Stats().RepliesRefused })
	p.link.mu.Lock()
	p.link.renewal.deafSince = time.Now().Add(-longestDeaf)
	p.link.mu.Unlock()
	p.Started(someActor)
	await(t, "a record is confirmed by the answer alone", func() bool { return p.Stats().Events.Confirmed == 2 })
}

// An inbox that is refused from the start and allowed later is heard again.
func TestInboxThatIsAllowedLater(t *testing.T) {
	b := newBroker(t, loginsWith(mayAudits))
	p := connect(t, b.url(), userPub())
	p.Started(someActor)
	await(t, "the refusal is shown", func() bool { return p.Stats().RepliesRefused })
	b.reload(loginsWith(mayAll))
	await(t, "the inbox is served", func() bool { return !p.Stats().RepliesRefused })
	p.Started(someActor)
	await(t, "it is heard that nobody listens", func() bool { return p.Stats().Events.Hold == HoldUnheard })
}

// Wishes for audits that are refused, at the start or later, are heard again; a
// publisher without any records tries it too.
func TestWishesThatAreRefused(t *testing.T) {
	for name, first := range map[string]string{"from the start": mayReplies, "later": mayAll} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, loginsWith(first))
			var audits atomic.Int64
			c := userPub()
			c.AuditFunc = func() papyra.Audit { audits.Add(1); return papyra.Audit{} }
			p := connect(t, b.url(), c)
			await(t, "it is connected", func() bool { return p.Stats().Connected })
			b.reload(loginsWith(mayReplies))
			await(t, "the refusal is counted", func() bool { return p.Stats().Errors.Permission > 0 })
			b.reload(loginsWith(mayAll))
			var nc *nats.Conn
			await(t, "the server has read its configuration", func() (ok bool) { // it knows no logins for a moment
				var err error
				nc, err = nats.Connect(b.url(), nats.UserInfo("sink", "sink"))
				return err == nil
			})
			defer nc.Close()
			await(t, "a wish is heard", func() bool {
				_ = nc.Publish(papyra.AuditSubject(p.system), nil)
				_ = nc.Flush()
				return audits.Load() > 0
			})
		})
	}
}

// A limit refuses one of the two subscriptions; the broker does not say which.
func TestLimitOnSubscriptions(t *testing.T) {
	b := newBroker(t, "max_subscriptions: 1")
	p := connect(t, b.url(), Config{})
	for range 100 {
		p.Started(someActor)
	}
	await(t, "it is heard that nobody listens", func() bool {
		s := p.Stats()
		return !s.RepliesRefused && s.Events.Hold == HoldUnheard
	})
	b.kill()
	b.must(b.Configure(""))
	b.start()
	newReceiver(t, b.url())
	await(t, "records are confirmed", func() bool { return p.Stats().Events.Confirmed == 100 })
}
