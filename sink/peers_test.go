package sink

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
)

// info is what a sink answers, changed by change.
func info(tb testing.TB, change func(*micro.Info)) []byte {
	tb.Helper()
	i := micro.Info{Type: micro.InfoResponseType, ServiceIdentity: micro.ServiceIdentity{
		Name: papyra.SinkService, ID: "x", Version: serviceVersion,
		Metadata: map[string]string{metaGroup: "archive", metaInstance: "eu-2", metaStore: "k3f9x2ab7q04mzt1"},
	}}
	if change != nil {
		change(&i)
	}
	data, err := json.Marshal(i)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// Whoever can answer on a broker can say anything.
func TestAnswersAreNotBelieved(t *testing.T) {
	meta := func(key, value string) []byte { return info(t, func(i *micro.Info) { i.Metadata[key] = value }) }
	for name, answer := range map[string][]byte{
		"empty":             nil,
		"no JSON":           []byte("{"),
		"another type":      []byte(`[]`),
		"deep":              []byte(strings.Repeat(`{"metadata":`, 20_000)),
		"no metadata":       info(t, func(i *micro.Info) { i.Metadata = nil }),
		"numbers":           []byte(`{"type":"io.nats.micro.v1.info_response","name":"papyra-sink","metadata":{"group":1,"instance":2,"store":3}}`),
		"another service":   info(t, func(i *micro.Info) { i.Name = "orders" }),
		"not an info":       info(t, func(i *micro.Info) { i.Type = micro.PingResponseType }),
		"another group":     meta(metaGroup, "live"),
		"no instance":       meta(metaInstance, ""),
		"an escape":         meta(metaInstance, "\x1b[2J"),
		"a dot":             meta(metaInstance, "eu.2"),
		"no store":          meta(metaStore, ""),
		"a long store":      meta(metaStore, strings.Repeat("x", papyra.MaxNameBytes+1)),
		"a store of others": meta(metaStore, "../etc"),
		"huge":              info(t, func(i *micro.Info) { i.Description = strings.Repeat("x", maxAnswer) }),
	} {
		if p, ok := parsePeer(answer, "archive"); ok {
			t.Errorf("%s: believed: %+v", name, p)
		}
	}
	want := papyra.Peer{Instance: "eu-2", Store: "k3f9x2ab7q04mzt1"}
	if p, ok := parsePeer(info(t, nil), "archive"); !ok || p != want {
		t.Errorf("got %+v, %v, want %+v", p, ok, want)
	}
}

func FuzzParsePeer(f *testing.F) {
	f.Add(info(f, nil))
	f.Add([]byte(`{"type":"io.nats.micro.v1.info_response","name":"papyra-sink","metadata":{"group":"archive","instance":"a","store":"b"}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		p, ok := parsePeer(answer, "archive")
		if legal := papyra.CheckName("", p.Instance) == nil && papyra.CheckName("", p.Store) == nil; ok != legal {
			t.Errorf("%q: got %+v, %v", answer, p, ok)
		}
	})
}
