package pipeline

import (
	"path/filepath"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/publisher"
)

// TestGroupsAndWorkers has two workers in one group and one in another. Each
// group stores everything once; the two workers share it.
func TestGroupsAndWorkers(t *testing.T) {
	dir, url := t.TempDir(), broker(t)
	file := func(name string) string { return filepath.Join(dir, name, "records.ndjson") }
	var sinks []*worker
	for _, s := range []struct{ name, group string }{{"a1", "archive"}, {"a2", "archive"}, {"live", "live"}} {
		sinks = append(sinks, startSink(t, dir, "--server", url, "--group", s.group, "--instance", s.name, "--backend", "json:"+file(s.name)))
	}
	p := connect(t, url, publisher.Config{})
	stop := stream(p)
	testkit.Await(t, "a stream", func() bool { return confirmed(p) > 8_000 })
	accepted := stop()
	finish(t, p)
	for _, s := range sinks {
		s.terminate()
	}

	first, second := load(t, file("a1")), load(t, file("a2"))
	one, two := first.numbers(p.Run(), papyra.KindEvent), second.numbers(p.Run(), papyra.KindEvent)
	if len(one) == 0 || len(two) == 0 {
		t.Errorf("the workers of one group stored %d and %d records: they do not share the work", len(one), len(two))
	}
	for seq := range two {
		if one[seq] > 0 {
			t.Errorf("record %d was stored by both workers of one group", seq)
		}
	}
	complete(t, load(t, file("a1"), file("a2")).numbers(p.Run(), papyra.KindEvent), accepted)
	complete(t, load(t, file("live")).numbers(p.Run(), papyra.KindEvent), accepted)
	for _, s := range []struct {
		in    stored
		group string
		name  string
	}{{first, "archive", "a1"}, {second, "archive", "a2"}, {load(t, file("live")), "live", "live"}} {
		if got := lastReport[papyra.SinkReport](t, s.in, papyra.ReportSink); got.Group != s.group || got.Instance != s.name || got.State != "stopped" {
			t.Errorf("last SinkReport of %s: %+v, want group %s, stopped", s.name, got, s.group)
		}
	}
	ctl(t, 0, "scan", "--backend", "json:"+file("a1"), "--backend", "json:"+file("a2"))
}
