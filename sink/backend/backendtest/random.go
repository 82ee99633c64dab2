package backendtest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// Random does random things to a store and to a model of it, and compares what
// both show. The flags of package rapid say how often.
func Random(t *testing.T, factory Factory) {
	rapid.Check(t, func(rt *rapid.T) {
		m := factory(t)
		mc := &machine{t: t, rt: rt, medium: m, backend: m.Open(t), source: testrecord.New(1)}
		mc.oversize = rapid.IntRange(0, 7).Draw(rt, "oversize") == 7
		defer func() {
			if err := mc.backend.Close(); err != nil {
				rt.Fatalf("close: %v", err)
			}
		}()
		mc.open()
		rt.Repeat(map[string]func(*rapid.T){
			"append":  mc.append,
			"compact": mc.compact,
			"damage":  mc.damage,
			"recover": mc.recover,
			"reopen":  mc.reopen,
			"read":    mc.read,
			"scan":    mc.scan,
		})
		mc.read(rt)
		mc.scan(rt)
	})
}

// machine is a store and its model.
type machine struct {
	t        *testing.T
	rt       *rapid.T
	medium   Medium
	backend  papyra.Store
	appender papyra.Appender
	source   *testrecord.Source

	made    int      // unsealed lines so far: each is another one
	lines   []string // valid ones, without the acts' own reports
	damaged int

	oversize bool // damage may be a line that is too long
}

func (mc *machine) fatal(what string, err error) {
	if err != nil {
		mc.rt.Fatalf("%s: %v", what, err)
	}
}

func (mc *machine) open() {
	var err error
	mc.appender, err = mc.backend.Appender(context.Background())
	mc.fatal("open appender", err)
}

func (mc *machine) reopen(rt *rapid.T) {
	mc.rt = rt
	mc.fatal("close appender", mc.appender.Close())
	if rapid.Bool().Draw(rt, "backend too") {
		mc.fatal("close backend", mc.backend.Close())
		mc.backend = mc.medium.Open(mc.t)
	}
	mc.open()
}

func (mc *machine) append(rt *rapid.T) {
	mc.rt = rt
	var lines [][]byte
	for range rapid.IntRange(1, 12).Draw(rt, "lines") {
		if len(mc.lines) > 0 && rapid.IntRange(0, 5).Draw(rt, "again") == 0 {
			lines = append(lines, []byte(rapid.SampledFrom(mc.lines).Draw(rt, "copied")))
			continue
		}
		system := rapid.SampledFrom([]string{"a", "b:c"}).Draw(rt, "system")
		if rapid.IntRange(0, 4).Draw(rt, "unsealed") == 0 {
			at := testrecord.Start.Add(time.Duration(rapid.IntRange(0, 300).Draw(rt, "second")) * time.Second)
			mc.made++
			lines = append(lines, fmt.Appendf(nil, `{"kind":"event","system_id":%q,"actor_address":"a:b","event_type":"Odd","payload":%d,"timestamp":%d.0}`, system, mc.made, at.Unix()))
			continue
		}
		kind := rapid.SampledFrom([]papyra.Kind{papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter}).Draw(rt, "kind")
		lines = append(lines, mc.source.Line(system, kind, "x"))
	}
	n, err := mc.appender.Append(context.Background(), testrecord.Batch(lines...))
	if n != len(lines) {
		rt.Fatalf("append stored %d of %d lines", n, len(lines))
	}
	mc.fatal("append", err)
	mc.lines = append(mc.lines, text(lines)...)
}

func (mc *machine) retention(rt *rapid.T) papyra.Retention {
	limits := rapid.Custom(func(rt *rapid.T) papyra.Limits {
		return papyra.Limits{
			Records: rapid.Int64Range(0, 20).Draw(rt, "records"),
			Age:     time.Duration(rapid.IntRange(0, 200).Draw(rt, "seconds")) * time.Second,
			Bytes:   rapid.Int64Range(0, 5).Draw(rt, "kilobytes") * 1000,
		}
	})
	r := papyra.Retention{General: limits.Draw(rt, "general")}
	r.ByKind[papyra.KindAudit] = limits.Draw(rt, "audits")
	return r
}

func (mc *machine) moment(rt *rapid.T) time.Time {
	return testrecord.Start.Add(time.Duration(rapid.IntRange(0, 400).Draw(rt, "at")) * time.Second)
}

func (mc *machine) compact(rt *rapid.T) {
	mc.rt = rt
	o := papyra.CompactOptions{Retention: mc.retention(rt), At: mc.moment(rt), Dedupe: rapid.Bool().Draw(rt, "dedupe")}
	if rapid.Bool().Draw(rt, "no limits") {
		o.Retention = papyra.Retention{}
	}
	if o.Retention.IsZero() && !o.Dedupe {
		o.Retention = keep(3)
	}
	report, err := mc.backend.Compact(context.Background(), o)
	mc.fatal("compact", err)
	before, expired := len(mc.lines), len(mc.lines)
	views := modelViews(mc.lines, o.Retention, o.At)
	mc.lines = nil
	for _, stream := range slices.SortedFunc(maps.Keys(views), compareStreams) {
		view := views[stream]
		expired -= len(view)
		if o.Dedupe {
			view = modelDeduped(view)
		}
		mc.lines = append(mc.lines, view...)
	}
	removed, deduped := count(report.Removed), count(report.Deduped)
	if int64(before-len(mc.lines)) != removed || removed-deduped != int64(expired) ||
		report.RecordsBefore-report.RecordsAfter != removed || report.Damaged != int64(mc.damaged) {
		rt.Fatalf("compact %+v: %d to %d records and %d damaged, %d removed and %d of them duplicates; want %d removed, %d of them duplicates, and %d damaged",
			o, report.RecordsBefore, report.RecordsAfter, report.Damaged, removed, deduped, before-len(mc.lines), before-len(mc.lines)-expired, mc.damaged)
	}
}

func compareStreams(a, b papyra.Stream) int {
	return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Kind, b.Kind))
}

func count(streams []papyra.StreamSummary) (n int64) {
	for _, s := range streams {
		n += s.Records
	}
	return n
}

func (mc *machine) damage(rt *rapid.T) {
	mc.rt = rt
	d := rapid.SampledFrom(damage()).Draw(rt, "damage")
	if d.class == papyra.ClassOversize && !mc.oversize {
		rt.Skip("a line that is too long: it costs more than all the rest")
	}
	mc.fatal("close appender", mc.appender.Close())
	mc.medium.Plant(mc.t, d.line)
	mc.damaged++
	mc.open()
}

func (mc *machine) recover(rt *rapid.T) {
	mc.rt = rt
	report, err := mc.backend.Recover(context.Background(), papyra.RecoverOptions{Now: testrecord.Start})
	mc.fatal("recover", err)
	if report.Moved != int64(mc.damaged) || !report.After.Clean() {
		rt.Fatalf("recover moved %d, want %d, and left %v", report.Moved, mc.damaged, report.After.AnomalyCounts)
	}
	mc.damaged = 0
}

func (mc *machine) read(rt *rapid.T) {
	mc.rt = rt
	q := papyra.Query{
		Retention: mc.retention(rt), At: mc.moment(rt), Reverse: rapid.Bool().Draw(rt, "reverse"),
		Systems: []string{rapid.SampledFrom([]string{"a", "b:c"}).Draw(rt, "of system")},
		Kinds:   []papyra.Kind{rapid.SampledFrom([]papyra.Kind{papyra.KindEvent, papyra.KindAudit}).Draw(rt, "of kind")},
	}
	if rapid.Bool().Draw(rt, "all") {
		q.Retention = papyra.Retention{}
	}
	q.Limit = rapid.IntRange(0, 6).Draw(rt, "limit")
	var got []string
	_, err := mc.backend.Read(context.Background(), q, func(r *papyra.Record, _ papyra.Place) error {
		got = append(got, string(r.Line))
		return nil
	})
	mc.fatal("read", err)
	view := modelViews(mc.lines, q.Retention, q.At)[papyra.Stream{System: q.Systems[0], Kind: q.Kinds[0]}]
	if diff := gocmp.Diff(modelRead(view, q), got); diff != "" {
		rt.Fatalf("read %+v (-want +got):\n%s", q, diff)
	}
}

func (mc *machine) scan(rt *rapid.T) {
	mc.rt = rt
	full := rapid.Bool().Draw(rt, "full")
	report, err := mc.backend.Scan(context.Background(), papyra.ScanOptions{Full: full})
	mc.fatal("scan", err)
	if copies := len(mc.lines) - len(modelDeduped(mc.lines)); full && report.Duplicates != int64(copies) {
		rt.Fatalf("scan: %d duplicates, want %d", report.Duplicates, copies)
	}
	n := int64(0)
	for _, s := range report.Streams {
		if s.System != papyra.SystemReserved {
			n += s.Records
		}
	}
	damaged := report.Damaged()
	if n != int64(len(mc.lines)) || damaged != int64(mc.damaged) {
		rt.Fatalf("scan: %d records and %d damaged, want %d and %d", n, damaged, len(mc.lines), mc.damaged)
	}
}
