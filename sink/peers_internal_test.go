package sink

import (
	"encoding/json"
	"fmt"
	"slices"
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

// The report that names as many peers as a sink remembers, all with the longest
// names, is a line that every store takes, and it does not grow further.
func TestPeersAreBounded(t *testing.T) {
	s := testSink(t, Config{Group: "archive"})
	s.store = "own"
	name := func(i int) string { return strings.Repeat("x", papyra.MaxNameBytes-5) + fmt.Sprintf("%05d", i) }
	for i := range 3 * maxPeers {
		for range 2 {
			s.heard(info(t, func(m *micro.Info) { m.Metadata[metaInstance], m.Metadata[metaStore] = name(i), name(i) }))
		}
	}
	s.heard(info(t, func(m *micro.Info) { m.Metadata[metaStore] = "own" }))
	for run := range maxDropKeys { // and there is much else to say
		for n := range uint64(2 * maxDropRanges) {
			s.drops.add(papyra.DropSinkFull, papyra.Stream{System: "orders", Kind: papyra.KindEvent}, fmt.Appendf(nil, "%016d", run), 1<<60+2*n)
		}
	}
	s.report("running")
	if n := len(s.peers); n != maxPeers || s.peers["own"] != "" {
		t.Errorf("%d peers, want %d and not the own store", n, maxPeers)
	}
	naming := 0
	for _, b := range s.backlog.blocks {
		for i := range b.batch.Len() {
			line, _ := b.batch.Line(i)
			var r papyra.SinkReport
			rec, err := papyra.Parse(line)
			if err != nil || len(line) >= papyra.MaxPublishedLine || json.Unmarshal(rec.Payload, &r) != nil {
				t.Fatalf("a report of %d bytes: %v", len(line), err)
			}
			if len(r.Peers) > 0 {
				naming++
				if !slices.IsSortedFunc(r.Peers, func(a, b papyra.Peer) int { return strings.Compare(a.Store, b.Store) }) || len(r.Peers) != maxPeers {
					t.Errorf("%d peers, sorted %v", len(r.Peers), r.Peers[:3])
				}
			}
		}
	}
	if naming != 1 {
		t.Errorf("%d reports name the peers, want one", naming)
	}
}

// Peers stand in a report when they are news, in the last one, and otherwise
// only now and then.
func TestPeersAreToldWhenTheyChange(t *testing.T) {
	s := testSink(t, Config{Group: "archive"})
	told := func() (n []int) {
		for b := s.backlog.pop(); b != nil; b = s.backlog.pop() {
			for i := range b.batch.Len() {
				line, _ := b.batch.Line(i)
				var r papyra.SinkReport
				if rec, err := papyra.Parse(line); err != nil || json.Unmarshal(rec.Payload, &r) != nil {
					t.Fatalf("report %s: %v", line, err)
				}
				n = append(n, len(r.Peers))
			}
		}
		return n
	}
	step := func(what string, want ...int) {
		t.Helper()
		if got := told(); !slices.Equal(got, want) {
			t.Errorf("%s: the reports name %v peers, want %v", what, got, want)
		}
	}
	s.report("started")
	step("at the start", 0)
	s.report("running")
	step("without news")
	s.heard(info(t, nil))
	s.report("running")
	step("the first peer", 1)
	s.heard(info(t, func(i *micro.Info) { i.Metadata[metaInstance] = "another" }))
	s.report("running")
	step("its store under another name")
	s.stats.Received++
	s.report("running")
	step("other news", 0)
	s.peersTold = s.peersTold.Add(-peersEvery)
	s.stats.Received++
	s.report("running")
	step("after a while", 1)
	s.report("stopped")
	step("at the end", 1)
}
