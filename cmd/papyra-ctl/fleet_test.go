package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/sink/admin"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/fleet"
)

// askFleet returns the JSON of fleet.
func askFleet(t *testing.T, want int, args ...string) (r fleetResult) {
	t.Helper()
	code, out, errs := runTool(append([]string{"fleet", "--output", "json"}, args...)...)
	if code != want {
		t.Errorf("fleet %v: exit code %d, want %d: %s", args, code, want, errs)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

func statesOf(r *fleetResult) (list []string) {
	for i := range r.Sinks {
		list = append(list, r.Sinks[i].Group+"/"+r.Sinks[i].Instance+" "+r.Sinks[i].State)
	}
	return list
}

// vanishing announces a sink until the returned function is called, which ends it without
// a word, as kill -9 does.
func vanishing(t *testing.T, server, group, instance string) (end func()) {
	t.Helper()
	nc, err := nats.Connect(server)
	if err != nil {
		t.Fatal(err)
	}
	_, err = micro.AddService(nc, micro.Config{Name: papyra.SinkService, Version: "0.1.0", Metadata: map[string]string{
		"group": group, "instance": instance, "store": "storeofit", "host": "elsewhere", "url": "json:/gone.ndjson",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return nc.Close
}

// Every sink that ought to be there is a row, in whatever group: one that a peer
// remembers and that is gone, and one that is expected by name, are silent, exit 5.
func TestFleetShowsEverySink(t *testing.T) {
	server := natstest.Embedded(t, nil).ClientURL()
	if code, _, errs := runTool("fleet", "--server", server); code != 69 {
		t.Errorf("no sink at all: exit code %d: %s", code, errs)
	}
	end := vanishing(t, server, "a", "two")
	a1 := startLiving(t, server, "a", "one", testrecord.New(1).Events(2))
	startLiving(t, server, "b", "one", testrecord.New(2).Events(2))
	testkit.Await(t, "a/one to hear of a/two", func() bool { return len(a1.Expects()) == 1 })
	end()
	for _, c := range []struct {
		args string
		exit int
		want []string
	}{
		{"--group b", 0, []string{"b/one ready"}},
		{"", 5, []string{"a/one ready", "a/two silent", "b/one ready"}},
		{"--group b --expect two --expect b/three", 5, []string{"b/one ready", "b/three silent", "b/two silent"}},
		{"--expect c/one --expect one", 5, []string{"a/one ready", "a/two silent", "b/one ready", "c/one silent"}},
		{"--expect four", 64, nil},
		{"--expect a..b", 64, nil},
		{"--expect a/b/c", 64, nil},
		{"--group b --expect a/one", 64, nil},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			r := askFleet(t, c.exit, append(strings.Fields(c.args), "--server", server)...)
			if diff := cmp.Diff(c.want, statesOf(&r)); diff != "" {
				t.Error(diff)
			}
			for i := range r.Sinks {
				checkRow(t, a1, &r.Sinks[i])
			}
		})
	}
	t.Run("table", func(t *testing.T) {
		t.Parallel()
		code, out, _ := runTool("fleet", "--server", server)
		if code != 5 || !strings.Contains(out, "silent") || !strings.Contains(out, "elsewhere") || strings.Count(out, "\n") != 4 {
			t.Errorf("the table, exit code %d:\n%s", code, out)
		}
	})
}

// checkRow looks at what a row says of one sink, and of one that is gone.
func checkRow(t *testing.T, a1 *livingSink, row *fleet.SinkRow) {
	t.Helper()
	switch row.Group + "/" + row.Instance {
	case "a/one":
		if row.Host == "" || row.Version == "" || !strings.HasSuffix(row.Store, a1.path) || row.StoreID != a1.StoreID() ||
			row.Since == 0 || row.Buffer == nil || row.Buffer.Max == 0 || row.Spool != nil {
			t.Errorf("the row of a sink is %+v", row)
		}
	case "a/two":
		if row.Host != "elsewhere" || row.Store != "json:/gone.ndjson" || row.Since == 0 || row.Why == "" {
			t.Errorf("the row of one that is gone is %+v", row)
		}
	}
}

func TestShownFill(t *testing.T) {
	for _, c := range []struct {
		fill *fleet.Fill
		want string
	}{
		{nil, "-"},
		{&fleet.Fill{Bytes: 0, Max: 100, FullIn: 10}, "0%"},
		{&fleet.Fill{Bytes: 12, Max: 100}, "12%"},
		{&fleet.Fill{Bytes: 12, Max: 100, FullIn: 200.2}, "12%, full in 3m20s"},
		{&fleet.Fill{Bytes: 12, Max: 100, FullIn: 1e12}, "12%"},
	} {
		if got := shownFill(c.fill); got != c.want {
			t.Errorf("%v is shown as %q, want %q", c.fill, got, c.want)
		}
	}
	for seconds, want := range map[float64]string{0: "0s", .0123: "12ms", 75.4: "1m15s", 1e300: "277777h46m40s"} {
		if got := shownLag(seconds); got != want {
			t.Errorf("%v s is shown as %s, want %s", seconds, got, want)
		}
	}
}

// Each run of a publisher is a row, whichever sink of whichever group heard its last
// report.
func TestFleetShowsPublishers(t *testing.T) {
	server := natstest.Embedded(t, nil).ClientURL()
	startLiving(t, server, "a", "one", testrecord.New(1).Events(2))
	p, err := publisher.Connect(server, publisher.Config{System: "shop", Node: "n1", ReportEvery: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		p.Started(papyra.Address{System: "shop", ID: 7})
	}
	look := func(state string) (row fleet.PublisherRow) {
		testkit.Await(t, "a publisher that is "+state, func() bool {
			r := askFleet(t, 0, "--server", server)
			if len(r.Publishers) == 1 {
				row = r.Publishers[0]
			}
			return row.State == state && row.ConfirmedBy["a"] >= 5
		})
		return row
	}
	row := look(fleet.StateRunning)
	if row.System != "shop" || row.Node != "n1" || len(row.Run) != 16 || row.Accepted < 5 {
		t.Errorf("the row is %+v", row)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if ended := look(fleet.StateEnded); ended.Run != row.Run || ended.Buffered != 0 {
		t.Errorf("the row of a run that has ended is %+v", ended)
	}
	code, out, _ := runTool("fleet", "--server", server)
	if code != 0 || !strings.Contains(out, row.Run) || !strings.Contains(out, "CONFIRMED BY") {
		t.Errorf("the table, exit code %d:\n%s", code, out)
	}
}

// readerOf takes so many objects, and nothing more.
type readerOf struct {
	bytes.Buffer
	objects int
	between func(n int) // called after each
}

func (r *readerOf) Write(b []byte) (int, error) {
	if r.objects == 0 {
		return 0, syscall.EPIPE
	}
	if bytes.HasSuffix(b, []byte("}\n")) {
		r.objects--
		r.between(r.objects)
	}
	return r.Buffer.Write(b)
}

// --watch looks again: each look is an object of its own with the exit code of its
// moment, also of one without any sink.
func TestFleetWatches(t *testing.T) {
	server := natstest.Embedded(t, nil).ClientURL()
	s := startLiving(t, server, "a", "one", testrecord.New(1).Events(2))
	out := readerOf{objects: 2, between: func(left int) {
		if left == 1 {
			s.stop()
		}
	}}
	tool := &tool{open: backend.Open, now: testClock}
	var errs bytes.Buffer
	code := cli.Run(tool.app(), []string{"papyra-ctl", "fleet", "--server", server, "--watch", "--every", "1ms", "--output", "json"}, &out, &errs)
	var got []string
	for d := json.NewDecoder(&out.Buffer); d.More(); {
		var look struct {
			fleetResult
			Exit int
		}
		if err := d.Decode(&look); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(look.Exit, statesOf(&look.fleetResult)))
	}
	if diff := cmp.Diff([]string{"0 [a/one ready]", "69 []"}, got); diff != "" {
		t.Errorf("exit code %d, %s: looks (-want +got):\n%s", code, &errs, diff)
	}
	if code, _, errs := runTool("fleet", "--server", server, "--watch", "--every", "0s"); code != cli.CodeUsage {
		t.Errorf("--every 0s: exit code %d: %s", code, errs)
	}
}

// A sink that is gone for good is forgotten on demand: who asked stands in the store of
// each that expected it, and fleet is content again.
func TestFleetForgets(t *testing.T) {
	server := natstest.Embedded(t, nil).ClientURL()
	end := vanishing(t, server, "a", "two")
	a1 := startLiving(t, server, "a", "one", testrecord.New(1).Events(2))
	testkit.Await(t, "a/one to hear of a/two", func() bool { return len(a1.Expects()) == 1 })
	forget := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := runTool(append([]string{"fleet", "forget", "--server", server}, args...)...)
		if code != want {
			t.Errorf("forget %v: exit code %d, want %d: %s", args, code, want, errs)
		}
		return out
	}
	end()
	forget(64)
	forget(64, "one", "two")
	forget(1, "one")
	forget(3, "three")
	if out := forget(0, "--dry-run", "two"); !strings.Contains(out, "would be asked") || len(a1.Expects()) != 1 || len(requestsIn(t, a1.path)) != 0 {
		t.Errorf("a dry run says %q, and the sink expects %v", out, a1.Expects())
	}
	if out := forget(0, "two"); !strings.Contains(out, "sink one of group a expects two no more") {
		t.Errorf("forget says %q", out)
	}
	if got := requestsIn(t, a1.path); len(got) != 1 || got[0].Verb != admin.VerbForget || string(got[0].Arguments) != `{"instance":"two"}` || got[0].By == "" {
		t.Errorf("the store tells of %+v", got)
	}
	askFleet(t, 0, "--server", server)
	forget(3, "two")
}
