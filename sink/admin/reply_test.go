package admin

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink/backend/memory"
)

// announceServer offers a server's verbs over NATS, as one of a group's sinks, until the
// test ends.
func announceServer(t *testing.T, url, instance string, w *notingWorker) *Server {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(w.store, Config{NoSocket: true})
	end := serveAs(t, s, w)
	t.Cleanup(func() {
		end()
		nc.Close()
	})
	announced, err := micro.AddService(nc, micro.Config{
		Name: papyra.SinkService, Version: "1.0.0", Metadata: map[string]string{metaGroup: "archive", metaInstance: instance},
	})
	if err == nil {
		err = s.Register(announced, nc)
	}
	if err == nil {
		err = nc.FlushTimeout(testkit.Patience)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A sink says nothing on the subjects of publishers, sinks and the server for somebody
// who asks, who may not be allowed to do so himself.
func TestAnswersOnlyToWhoAsks(t *testing.T) {
	t.Parallel()
	url := natstest.Embedded(t, nil).ClientURL()
	announceServer(t, url, "eu-1", &notingWorker{fakeWorker: fakeWorker{memory.New(nil).Open()}})
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	wrong := []string{
		papyra.HeardSubject("orders", "k3f9x2ab7q04mzt1", 1), papyra.RecordsSubject("orders", papyra.KindEvent), papyra.AuditSubject("orders"),
		papyra.AdminSubject("archive", "eu-1", VerbCompact), papyra.StoppedSubject("archive"), "$SRV.PING", papyra.SinkInbox + ".x",
	}
	heard, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	subject := papyra.AdminSubject("archive", "eu-1", VerbHealth)
	for _, reply := range wrong {
		if err := nc.PublishRequest(subject, reply, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, reply := range []string{"_INBOX.a.b", papyra.ToolInbox + ".c", "somewhere"} {
		if err := nc.PublishRequest(subject, reply, nil); err != nil {
			t.Fatal(err)
		}
		for results := 0; results == 0; {
			m, err := heard.NextMsg(testkit.Patience)
			if err != nil {
				t.Fatalf("%s: %v", reply, err)
			}
			if m.Subject == subject {
				continue
			}
			if m.Subject != reply {
				t.Errorf("the sink spoke on %s", m.Subject)
				continue
			}
			if f, err := decodeFrame(m.Data); err == nil && f.Kind == frameResult {
				results++
			}
		}
	}
}
