package sink

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
)

// However much was dropped, each report fits in a line that publishers' limits
// allow.
func TestLargeLedgerIsSpreadOverReports(t *testing.T) {
	s := testSink(t, Config{})
	const runs = 300
	for i := range runs {
		system := strings.Repeat("\"", 60) + fmt.Sprintf("%04d", i)
		for n := range uint64(maxDropRanges) {
			s.buffer.account.dropped[papyra.DropSinkFull]++
			s.drops.addDrop(papyra.DropSinkFull, papyra.Stream{System: system, Kind: papyra.KindDeadLetter}, fmt.Appendf(nil, "%016d", i), 1<<62+2*n)
		}
	}
	s.reporter.addSinkReport("running")
	var dropped uint64
	waiting := s.buffer.waiting.takeOldest()
	reports := waiting.batch.Len()
	for i := range reports {
		l, _ := waiting.batch.Line(i)
		rec, err := papyra.Parse(l)
		if err != nil || len(l)+1 > papyra.MaxPublishedLine {
			t.Fatalf("report of %d bytes: %v", len(l), err)
		}
		var r papyra.SinkReport
		if err := json.Unmarshal(rec.Payload, &r); err != nil {
			t.Fatal(err)
		}
		for _, d := range r.Dropped {
			dropped += d.N
		}
		if r.DroppedLines != runs*maxDropRanges {
			t.Errorf("dropped_lines is %d, want %d", r.DroppedLines, runs*maxDropRanges)
		}
	}
	if reports < 5 || dropped != runs*maxDropRanges {
		t.Errorf("%d reports tell of %d drops, want several of %d", reports, dropped, runs*maxDropRanges)
	}
}

func TestMillisecondsReadShort(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0"},
		{499 * time.Microsecond, "0"},
		{2_576_918_297, "2.577"},
		{1118 * time.Millisecond, "1.118"}, // 1.1179999999999999 as Duration.Seconds says it
		{36 * time.Hour, "129600"},
	} {
		if got := strconv.FormatFloat(milliseconds(tt.d), 'f', -1, 64); got != tt.want {
			t.Errorf("%v reads %s, want %s", tt.d, got, tt.want)
		}
	}
}

// The report that names as many peers as a sink remembers, all with the longest
// names, is a line that every store takes, and it does not grow further.
func TestPeersAreBounded(t *testing.T) {
	s := testSink(t, Config{Group: "archive"})
	s.service.store = "own"
	name := func(i int) string { return strings.Repeat("x", papyra.MaxNameBytes-5) + fmt.Sprintf("%05d", i) }
	for i := range 3 * maxPeers {
		for range 2 {
			s.service.hear(info(t, func(m *micro.Info) { m.Metadata[metaInstance], m.Metadata[metaStore] = name(i), name(i) }))
		}
	}
	s.service.hear(info(t, func(m *micro.Info) { m.Metadata[metaStore] = "own" }))
	for run := range maxDropKeys { // and there is much else to say
		for n := range uint64(2 * maxDropRanges) {
			s.drops.addDrop(papyra.DropSinkFull, papyra.Stream{System: "orders", Kind: papyra.KindEvent}, fmt.Appendf(nil, "%016d", run), 1<<60+2*n)
		}
	}
	s.reporter.addSinkReport("running")
	if n := s.peers.count(); n != maxPeers || s.peers.instances["own"].Instance != "" {
		t.Errorf("%d peers, want %d and not the own store", n, maxPeers)
	}
	naming := 0
	for _, b := range s.buffer.waiting.blocks {
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
		for b := s.buffer.waiting.takeOldest(); b != nil; b = s.buffer.waiting.takeOldest() {
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
	s.reporter.addSinkReport("started")
	step("at the start", 0)
	s.reporter.addSinkReport("running")
	step("without news")
	s.service.hear(info(t, nil))
	s.reporter.addSinkReport("running")
	step("the first peer", 1)
	s.service.hear(info(t, func(i *micro.Info) { i.Metadata[metaInstance] = "another" }))
	s.reporter.addSinkReport("running")
	step("its store under another name")
	s.buffer.account.received++
	s.reporter.addSinkReport("running")
	step("other news", 0)
	s.reporter.peersTold = s.reporter.peersTold.Add(-peersEvery)
	s.buffer.account.received++
	s.reporter.addSinkReport("running")
	step("after a while", 1)
	s.reporter.addSinkReport("stopped")
	step("at the end", 1)
}
