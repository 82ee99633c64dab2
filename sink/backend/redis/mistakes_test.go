package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/redis"
)

// What has gone wrong in other stores that live in Redis.

// fill appends lines through an appender of its own.
func fill(t testing.TB, s *redis.Store, lines ...[]byte) {
	t.Helper()
	a := appender(t, s)
	b := testrecord.Batch(lines...)
	if n, err := a.Append(context.Background(), b); n != b.Len() || err != nil {
		t.Fatalf("append: %d of %d stored, %v", n, b.Len(), err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// plant adds an entry of any fields and returns its id.
func plant(t testing.TB, c goredis.UniversalClient, key string, fields ...any) string {
	t.Helper()
	id, err := c.XAdd(context.Background(), &goredis.XAddArgs{Stream: key, Values: fields}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func lines(t testing.TB, s *redis.Store, q papyra.Query) []string {
	t.Helper()
	var out []string
	_, err := s.Read(context.Background(), q, func(r *papyra.Record, _ papyra.Place) error {
		out = append(out, string(r.Line))
		return nil
	})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return out
}

func texts(lines [][]byte) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = string(l)
	}
	return out
}

const events = "papyra:orders:events"

func TestNewestFirst(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	store := open(t, "redis://"+s.Addr())
	src := testrecord.New(1)
	all := src.Events(3000)
	fill(t, store, all...)
	if diff := cmp.Diff(texts(all[2990:]), lines(t, store, papyra.Query{Limit: 10})); diff != "" {
		t.Errorf("the newest ten (-want +got):\n%s", diff)
	}
	// Ten of three thousand cost one page, not all of them.
	s.Do(t, "CONFIG", "RESETSTAT")
	_ = lines(t, store, papyra.Query{Limit: 10, Systems: []string{"orders"}, Kinds: []papyra.Kind{papyra.KindEvent}, Reverse: true})
	stats := fmt.Sprint(s.Do(t, "INFO", "commandstats"))
	if n := strings.Count(stats, "cmdstat_scan"); n != 0 {
		t.Errorf("a query that names its system looked through all keys:\n%s", stats)
	}
	if !strings.Contains(stats, "cmdstat_xrevrange:calls=2,") { // the end, and a page
		t.Errorf("more was read than one page:\n%s", stats)
	}
}

func TestEverythingIsScanned(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	src := testrecord.New(1)
	var bad []string
	for range 5 {
		fill(t, store, src.Events(1200)...)
		bad = append(bad, plant(t, c, events, "data", "junk"))
	}
	r, err := store.Scan(context.Background(), papyra.ScanOptions{})
	if err != nil || r.Lines != 6005 || r.AnomalyCounts[papyra.ClassCorrupted] != 5 {
		t.Fatalf("scan: %+v, %v", r, err)
	}
	var got []string
	for _, a := range r.Anomalies {
		if a.Stream != events || a.Length != 4 {
			t.Errorf("anomaly %+v, want one of 4 bytes in %s", a, events)
		}
		got = append(got, a.ID)
	}
	if diff := cmp.Diff(bad, got); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	moved, err := store.Recover(context.Background(), papyra.RecoverOptions{})
	if err != nil || moved.Moved != 5 || moved.After.Lines != 6002 || !moved.After.Clean() {
		t.Errorf("recover: %+v, %v", moved, err)
	}
}

func TestWholeEntryIsMoved(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	good := testrecord.New(1).Events(3)
	fill(t, store, good[0])
	all := [][]any{
		{"data", "junk"},
		{"data", string(good[0]), "note", "extra"},
		{"other", "\x00\xff\xfe", "data", ""},
		{"data", "first", "data", "second"},
		{"", "no name", "\xc3\x28", "no UTF-8"},
		{"data", strings.Repeat("x", papyra.MaxStoredLine)},
		{"data", string(good[1]) + "\n"},
		{"data", string(good[1]) + "\n" + string(good[2])},
		{"data", string(testrecord.New(2).Line("billing", papyra.KindEvent, "x"))},
		{"data", string(testrecord.New(2).Line("orders", papyra.KindAudit, "x"))},
	}
	var ids []string
	for _, fields := range all {
		ids = append(ids, plant(t, c, events, fields...))
	}
	fill(t, store, good[2])
	now := time.Unix(1_700_000_000, 250_000_000)
	r, err := store.Recover(context.Background(), papyra.RecoverOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if r.Moved != int64(len(all)) || !r.After.Clean() || r.Quarantine != "papyra:orders:quarantine:papyra_orders_events" {
		t.Errorf("%+v", r)
	}
	want := map[papyra.Class]int64{papyra.ClassCorrupted: 7, papyra.ClassMissingField: 1, papyra.ClassOversize: 1}
	want[papyra.ClassCorrupted] = int64(len(all)) - 2
	if diff := cmp.Diff(want, r.Before.AnomalyCounts); diff != "" {
		t.Errorf("classes (-want +got):\n%s", diff)
	}
	got := quarantined(t, c, r.Quarantine)
	if len(got) != len(all) {
		t.Fatalf("%d entries in quarantine, want %d", len(got), len(all))
	}
	for i, fields := range all {
		var pairs [][2]string
		data, found := "", false
		for j := 0; j < len(fields); j += 2 {
			name, value := fields[j].(string), fields[j+1].(string)
			pairs = append(pairs, [2]string{name, value})
			if name == "data" && !found {
				data, found = value, true
			}
		}
		q := got[i]
		if diff := cmp.Diff(pairs, q.fields); diff != "" {
			t.Errorf("entry %d (-planted +quarantined):\n%.500s", i, diff)
		}
		if q.id != ids[i] || q.source != events || q.timestamp != "1700000000.25" || q.data != data {
			t.Errorf("entry %d: id %s, source %s, timestamp %s, data %.50q; want %s, %s, 1700000000.25, %.50q", i, q.id, q.source, q.timestamp, q.data, ids[i], events, data)
		}
	}
	if diff := cmp.Diff([]string{string(good[0]), string(good[2])}, stored(t, c, events)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

func TestErrorsAreNoZeros(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	ctx := context.Background()
	fill(t, open(t, "redis://"+s.Addr()), testrecord.New(1).Events(3)...)
	s.Do(t, words("ACL SETUSER half on nopass ~papyra:store ~papyra:orders:audits +@all")...)
	fill(t, open(t, "redis://"+s.Addr()), testrecord.New(1).Line("orders", papyra.KindAudit, "x"))
	half := open(t, "redis://half:x@"+s.Addr())
	r, err := half.Scan(ctx, papyra.ScanOptions{})
	if err != nil || !r.Incomplete || r.AnomalyCounts[papyra.ClassUnreadable] != 1 || r.Records != 1 {
		t.Errorf("scan of a stream that may not be read: %+v, %v", r, err)
	}
	n := 0
	_, err = half.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { n++; return nil })
	if n != 1 || !errors.Is(err, papyra.ErrIncomplete) || !strings.Contains(err.Error(), events) {
		t.Errorf("read: %d records, %v; want the one of the other stream and papyra.ErrIncomplete", n, err)
	}
	for name, call := range map[string]func() error{
		"recover": func() error { _, err := half.Recover(ctx, papyra.RecoverOptions{}); return err },
		"compact": func() error {
			_, err := half.Compact(ctx, papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1}}, At: testrecord.Start})
			return err
		},
	} {
		if err := call(); !errors.Is(err, papyra.ErrIncomplete) {
			t.Errorf("%s: got %v, want papyra.ErrIncomplete", name, err)
		}
	}
	none := open(t, "redis://"+s.Addr()+"?prefix=papyr")
	if _, err := none.Scan(ctx, papyra.ScanOptions{}); !errors.Is(err, papyra.ErrNotFound) {
		t.Errorf("scan of a mistyped prefix: %v, want papyra.ErrNotFound", err)
	}
	if _, err := none.Read(ctx, papyra.Query{Systems: []string{"orders"}}, nil); !errors.Is(err, papyra.ErrNotFound) {
		t.Errorf("read of a mistyped prefix: %v, want papyra.ErrNotFound", err)
	}
}

func TestTrimmingIsExact(t *testing.T) {
	t.Parallel()
	// More entries than one node of the server's tree holds, and than XTRIM takes
	// on its own: an approximate trim would leave some.
	s := redistest.Start(t)
	store := open(t, "redis://"+s.Addr())
	src := testrecord.New(1)
	var all [][]byte
	for range 9 {
		some := src.Events(2777)
		fill(t, store, some...)
		all = append(all, some...)
	}
	for _, l := range []papyra.Limits{{Records: 20_001}, {Age: 10_000 * time.Second}, {Bytes: 1_000_001}, {Records: 1}} {
		at := testrecord.Start.Add(time.Duration(len(all)) * time.Second)
		want := lines(t, store, papyra.Query{Retention: papyra.Retention{General: l}, At: at, Systems: []string{"orders"}})
		r, err := store.Compact(context.Background(), papyra.CompactOptions{Retention: papyra.Retention{General: l}, At: at})
		if err != nil {
			t.Fatal(err)
		}
		if got := stored(t, s.Client(t), events); !slices.Equal(want, got) {
			t.Errorf("%+v left %d records that are not the %d of the view", l, len(got), len(want))
		}
		if r.RecordsAfter-int64(len(want)) > 12 {
			t.Errorf("%+v: report %+v", l, r)
		}
	}
}

func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := testkit.NewProxy(t, s.Addr())
	a := appender(t, open(t, "redis://"+p.Addr()))
	f := newFeed(t, a, 1)
	f.add(5000)
	f.drain()
	s.Do(t, "CONFIG", "RESETSTAT")
	f.add(5000)
	f.drain()
	stats := fmt.Sprint(s.Do(t, "INFO", "commandstats"))
	// 9 streams of some 550 lines each.
	if !strings.Contains(stats, "cmdstat_evalsha:calls=9,") || strings.Contains(stats, "cmdstat_eval:") {
		t.Errorf("a batch of 5,000 lines in nine streams should be nine commands in one round trip:\n%s", stats)
	}
}

func TestGroupsStayIntact(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	src := testrecord.New(1)
	fill(t, store, src.Events(30)...)
	plant(t, c, events, "data", "junk")
	fill(t, store, src.Events(69)...)
	for _, g := range []struct {
		name  string
		read  int64
		acked int
	}{{"behind", 40, 10}, {"done", 100, 100}, {"new", 0, 0}} {
		if err := c.XGroupCreate(ctx, events, g.name, "0").Err(); err != nil {
			t.Fatal(err)
		}
		if g.read == 0 {
			continue
		}
		read, err := c.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: g.name, Consumer: "c", Streams: []string{events, ">"}, Count: g.read}).Result()
		if err != nil || len(read[0].Messages) != int(g.read) {
			t.Fatalf("read %v, %v", read, err)
		}
		for _, m := range read[0].Messages[:g.acked] {
			c.XAck(ctx, events, g.name, m.ID)
		}
	}
	before, err := store.Groups(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range before {
		names = append(names, fmt.Sprintf("%s %s: %d consumers, %d pending, %d to come", g.Stream, g.Group, g.Consumers, g.Pending, *g.Lag))
	}
	wantGroups := []string{
		events + " behind: 1 consumers, 30 pending, 60 to come",
		events + " done: 1 consumers, 0 pending, 0 to come",
		events + " new: 0 consumers, 0 pending, 100 to come",
	}
	if diff := cmp.Diff(wantGroups, names); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}

	o := papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 20}}, At: testrecord.Start, DryRun: true}
	for _, dry := range []bool{true, false} {
		o.DryRun = dry
		r, err := store.Compact(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		// 79 records go, numbers 1 to 79; the junk, the 31st entry, stays. "behind"
		// was given entries 1 to 40 and acknowledged 1 to 10.
		want := []papyra.RemovedGroup{
			{Stream: events, Group: "behind", Pending: 29, Undelivered: 40},
			{Stream: events, Group: "new", Undelivered: 79},
		}
		if diff := cmp.Diff(want, r.Groups); diff != "" {
			t.Errorf("dry %v (-want +got):\n%s", dry, diff)
		}
		if !dry {
			report := lines(t, store, papyra.Query{Types: []string{papyra.ReportRemoval}})
			if len(report) != 1 || !strings.Contains(report[0], `"group":"behind","pending":29,"undelivered":40`) {
				t.Errorf("RemovalReport: %s", report)
			}
		}
	}
	moved, err := store.Recover(ctx, papyra.RecoverOptions{})
	want := []papyra.RemovedGroup{{Stream: events, Group: "behind", Pending: 1}, {Stream: events, Group: "new", Undelivered: 1}}
	if err != nil || moved.Moved != 1 {
		t.Fatalf("recover: %+v, %v", moved, err)
	}
	if diff := cmp.Diff(want, moved.Groups); diff != "" {
		t.Errorf("recover (-want +got):\n%s", diff)
	}
	after, err := store.Groups(ctx)
	if err != nil || len(after) != 3 {
		t.Fatalf("%+v, %v", after, err)
	}
	for i := range after {
		if after[i].Group != before[i].Group || after[i].Pending != before[i].Pending || after[i].Consumers != before[i].Consumers {
			t.Errorf("group %+v became %+v", before[i], after[i])
		}
	}
	// They go on with what is left.
	read, err := c.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: "new", Consumer: "c", Streams: []string{events, ">"}}).Result()
	if err != nil || len(read[0].Messages) != 20 {
		t.Errorf("the new group reads %v, %v; want the 20 that are left", read, err)
	}
}

func TestNoTwoSystemsShareAKey(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	systems := []string{"a:b", "a_b", "a=3Ab", "a b", "a=20b", "{a}", "a*", "a?", "[a]", `a\b`, "é", "quarantine", "store", "papyra:x"}
	want := map[string]string{}
	for i, system := range systems {
		src := testrecord.New(i)
		line := src.Line(system, papyra.KindEvent, "x")
		fill(t, store, line)
		want[system] = string(line)
	}
	keys := c.Keys(context.Background(), "papyra:*:events").Val()
	if len(keys) != len(systems) {
		t.Errorf("%d keys for %d systems: %q", len(keys), len(systems), keys)
	}
	for system, line := range want {
		for _, limit := range []int{0, 1} {
			got := lines(t, store, papyra.Query{Systems: []string{system}, Limit: limit})
			if diff := cmp.Diff([]string{line}, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", system, diff)
			}
		}
	}
	for _, key := range keys {
		plant(t, c, key, "data", "junk")
	}
	r, err := store.Recover(context.Background(), papyra.RecoverOptions{})
	if err != nil || r.Moved != int64(len(systems)) || !r.After.Clean() || r.Quarantine != "papyra:*:quarantine:*" {
		t.Errorf("recover: %+v, %v", r, err)
	}
	if n := len(c.Keys(context.Background(), "papyra:*:quarantine:*").Val()); n != len(systems) {
		t.Errorf("%d quarantine streams for %d systems", n, len(systems))
	}
	if got := lines(t, store, papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}}); len(got) != len(systems) {
		t.Errorf("%d records, want %d", len(got), len(systems))
	}
}

func TestNoPasswords(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://user:" + canary + "@127.0.0.1:1/0",
		"redis://:" + canary + "@127.0.0.1:1",
		"redis+sentinel://u:" + canary + "@127.0.0.1:1/main/0",
		"redis+cluster://u:" + canary + "@127.0.0.1:1,127.0.0.1:2",
		"unix://u:" + canary + "@/nowhere/s",
	} {
		store := open(t, url+"?timeout=1s")
		_, err := store.Scan(context.Background(), papyra.ScanOptions{})
		if err == nil || strings.Contains(err.Error(), canary) || strings.Contains(store.URL(), canary) || strings.Contains(store.URL(), "@") {
			t.Errorf("%s: %s, %v", url, store.URL(), err)
		}
	}
	for _, url := range []string{
		"redis://u:" + canary + "@h:99999", "redis://u:" + canary + "%zz@h", "redis://u:" + canary + "@h/x", "http://u:" + canary + "@h",
		"redis://u:" + canary + "@h?x=1", "redis:/u:" + canary + "@h", "redis://u:" + canary + "@h,h2", canary,
	} {
		if _, err := redis.Open(url, redis.Config{}); !errors.Is(err, papyra.ErrConfig) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want papyra.ErrConfig and no secret", url, err)
		}
	}
}

// Keys that only look like ours are left alone; what stands in the place of a
// stream is named, and neither read, moved nor deleted.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	other := open(t, "redis://"+s.Addr()+"?prefix=papyra:x")
	fill(t, store, testrecord.New(1).Events(5)...)
	fill(t, other, testrecord.New(2).Events(7)...)
	plant(t, c, "papyra:orders:weird", "data", "junk")
	plant(t, c, "papyra", "data", "junk")
	plant(t, c, "papyrax:orders:events", "data", "junk")
	plant(t, c, "papyra:orders:quarantine:old", "data", "junk")
	for store, want := range map[*redis.Store]int64{store: 5, other: 7} {
		if r, err := store.Scan(ctx, papyra.ScanOptions{}); err != nil || r.Lines != want || !r.Clean() {
			t.Errorf("%s: %+v, %v; want %d lines", store.URL(), r, err, want)
		}
	}
	s.Do(t, "SET", "papyra:shop:audits", "x")
	s.Do(t, "RPUSH", "papyra:shop:events", "x")
	r, err := store.Scan(ctx, papyra.ScanOptions{})
	if err != nil || r.AnomalyCounts[papyra.ClassUnexpectedFile] != 2 || r.Incomplete || r.Lines != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	if a := r.Anomalies[0]; a.Stream != "papyra:shop:audits" || a.Detail != "a string in the place of a stream" {
		t.Errorf("%+v", a)
	}
	plant(t, c, events, "data", "junk")
	moved, err := store.Recover(ctx, papyra.RecoverOptions{})
	if err != nil || moved.Moved != 1 || moved.After.AnomalyCounts[papyra.ClassUnexpectedFile] != 2 || len(moved.After.AnomalyCounts) != 1 {
		t.Errorf("recover: %+v, %v; want the two odd keys left", moved, err)
	}
	if s.Do(t, "GET", "papyra:shop:audits") != "x" || s.Do(t, "LLEN", "papyra:shop:events") != int64(1) {
		t.Error("the odd keys changed")
	}
}

// Streams that the Python implementation writes are read: its keys are not
// escaped, and its lines are spaced.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr())
	line := `{"kind": "event", "system_id": "my shop=1", "actor_address": null, "event_type": "X", "payload": {}, "timestamp": 1700000000.5}`
	line = strings.Replace(line, `"actor_address": null`, `"actor_address": "a:b"`, 1)
	plant(t, c, "papyra:my shop=1:events", "data", line)
	for _, q := range []papyra.Query{{}, {Systems: []string{"my shop=1"}}} {
		if diff := cmp.Diff([]string{line}, lines(t, store, q)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", q, diff)
		}
	}
	own := testrecord.New(1).Line("my shop=1", papyra.KindEvent, "x")
	fill(t, store, own)
	// Both keys are one stream.
	if diff := cmp.Diff([]string{string(own)}, lines(t, store, papyra.Query{Retention: papyra.Retention{General: papyra.Limits{Records: 1}}})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Many streams, one of which is large, are merged in the order of their ids.
func TestMergeOfManyStreams(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	store := open(t, "redis://"+s.Addr())
	a := appender(t, store)
	for i := range 40 {
		var batch [][]byte
		for j := range 30 {
			batch = append(batch, testrecord.New(100*i+j).Line(fmt.Sprintf("s%d", j*j%25), papyra.KindEvent, strings.Repeat("x", j*i)))
		}
		if _, err := a.Append(context.Background(), testrecord.Batch(batch...)); err != nil {
			t.Fatal(err)
		}
	}
	var forward, back []string
	read := func(q papyra.Query, out *[]string) {
		last := ""
		_, err := store.Read(context.Background(), q, func(r *papyra.Record, p papyra.Place) error {
			*out = append(*out, p.ID+" "+string(r.System)+" "+string(r.Run))
			if time, _, _ := strings.Cut(p.ID, "-"); !q.Reverse {
				if time < last {
					t.Fatalf("%s follows %s", p.ID, last)
				}
				last = time
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read(papyra.Query{}, &forward)
	read(papyra.Query{Reverse: true}, &back)
	slices.Reverse(back)
	if len(forward) != 1200 {
		t.Errorf("%d records, want 1200", len(forward))
	}
	if diff := cmp.Diff(forward, back); diff != "" {
		t.Errorf("reverse is not the reverse (-forward +back):\n%.2000s", diff)
	}
	var limited []string
	read(papyra.Query{Limit: 100}, &limited)
	if diff := cmp.Diff(forward[1100:], limited); diff != "" {
		t.Errorf("the newest hundred (-want +got):\n%.2000s", diff)
	}
}
