package sink

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
)

// A peer says where its store is; what is no place is left out, and secrets are hidden
// also where a peer does not hide them.
func TestPeerSaysWhereItsStoreIs(t *testing.T) {
	for _, tt := range []struct{ host, url, wantHost, wantURL string }{
		{"eu-2", "json:/var/lib/r.ndjson", "eu-2", "json:/var/lib/r.ndjson"},
		{"", "", "", ""},
		{"a b\x1b", "redis://u:canary@h/0", "", "redis://u:xxxxx@h/0"},
		{strings.Repeat("h", 65), strings.Repeat("u", papyra.MaxURLBytes+1), "", ""},
	} {
		p, ok := parsePeer(info(t, func(i *micro.Info) { i.Metadata[metaHost], i.Metadata[metaURL] = tt.host, tt.url }), "archive")
		if !ok || p.Host != tt.wantHost || p.URL != tt.wantURL {
			t.Errorf("%q, %q: got %+v, %v", tt.host, tt.url, p, ok)
		}
	}
	if u := shownURL("redis://u:canary@h/0?prefix=" + strings.Repeat("ü", 300)); strings.Contains(u, "canary") || len(u) > papyra.MaxURLBytes {
		t.Errorf("shown as %q", u)
	}
	// Who said less before is known better; the other store stays what it was.
	var ps peerList
	bare, full := papyra.Peer{Instance: "a", Store: "s"}, papyra.Peer{Instance: "b", Store: "s", Host: "h", URL: "json:x"}
	news := []bool{ps.addPeer(bare), ps.addPeer(full), ps.addPeer(papyra.Peer{Instance: "c", Store: "s", URL: "json:y"})}
	if want := (papyra.Peer{Instance: "a", Store: "s", Host: "h", URL: "json:x"}); ps.list()[0] != want || !news[0] || news[1] || news[2] {
		t.Errorf("got %+v (%v), want %+v", ps.list(), news, want)
	}
	// However many there are, they fit in a report.
	for i := range maxPeers {
		ps.addPeer(papyra.Peer{Instance: strings.Repeat("i", 60), Store: strings.Repeat("s", 55) + string(rune('0'+i/100)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10)), Host: strings.Repeat("h", 64), URL: strings.Repeat("u", papyra.MaxURLBytes)})
	}
	line, err := papyra.SealedReport(papyra.NewIdentity("x"), papyra.SystemReserved, 1, &papyra.Report{Name: papyra.ReportSink, Payload: papyra.SinkReport{Peers: ps.list()}}, testTime)
	if err != nil || len(ps.list()) != maxPeers || ps.list()[0].URL == "" {
		t.Errorf("%d peers in %d bytes: %v", len(ps.list()), len(line), err)
	}
}
