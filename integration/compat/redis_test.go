package compat

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/sink"
)

// streams are a Redis store that both sides use.
type streams struct {
	t      testing.TB
	server *redistest.Server
	ours   sink.Backend
}

const prefix = "papyra"

func newStreams(t testing.TB) *streams {
	python(t)
	server := redistest.Start(t)
	return &streams{t, server, openStore(t, fmt.Sprintf("redis://%s/0?prefix=%s", server.Addr(), prefix))}
}

// command runs a command of the Python side for one system.
func command[T any](s *streams, input any, system, verb string, args ...string) T {
	s.t.Helper()
	place := "redis:" + s.server.Addr()
	return peer[T](s.t, input, verb, place, append([]string{"--prefix", prefix, "--system", system}, args...)...)
}

// reads fails the test unless the Python side reads these facts of a system, by
// category, and finds nothing wrong. token is how the system stands in keys.
func (s *streams) reads(token, system string, want map[string][]object) {
	s.t.Helper()
	mine := map[string][]object{}
	for category, list := range want {
		for _, o := range list {
			if o["system_id"] == system {
				mine[category] = append(mine[category], o)
			}
		}
	}
	sameReading(s.t, command[map[string][]object](s, nil, token, "read"), mine)
}

// records returns our records of these kinds, in order.
func (s *streams) records(kinds ...papyra.Kind) []papyra.Record {
	s.t.Helper()
	return all(s.t, s.ours, papyra.Query{Kinds: kinds})
}

// plant puts an entry into a stream as anybody can.
func (s *streams) plant(key string, fields ...any) {
	s.t.Helper()
	s.server.Do(s.t, append([]any{"XADD", key, "*"}, fields...)...)
}

func TestStreamsPythonReadsWhatPapyraWrites(t *testing.T) {
	s := newStreams(t)
	lines, want := written(t)
	add(t, s.ours, lines)
	s.reads("orders", "orders", want)
	// The other side does not escape, and this system has a space.
	s.reads("größe=20東京", "größe 東京", want)
}

func TestStreamsPapyraReadsWhatPythonWrites(t *testing.T) {
	for _, layout := range []string{"json", "rotating"} {
		t.Run(layout, func(t *testing.T) {
			s := newStreams(t)
			wrote := many(60)
			wrote[0]["system_id"] = "größe 東京" // a key that we would spell otherwise
			command[int](s, wrote, "", "append", "--layout", layout)
			report := scan(t, s.ours)
			if !report.Clean() || report.Records != int64(len(wrote)) || report.NoticeCounts[papyra.NoticeUnsealed] != int64(len(wrote)) {
				t.Errorf("scan: clean %t, %d records, %v; want %d unsealed", report.Clean(), report.Records, report.AnomalyCounts, len(wrote))
			}
			for _, system := range []string{"orders", "東京", "größe 東京"} {
				want := map[string][]object{}
				for category, list := range ofKind(t, wrote) {
					for _, o := range list {
						if o["system_id"] == system {
							want[category] = append(want[category], o)
						}
					}
				}
				if len(want) == 0 {
					t.Fatalf("nothing was written of %s", system)
				}
				sameReading(t, factsOf(t, all(t, s.ours, papyra.Query{Systems: []string{system}})), want)
			}
			if newest := all(t, s.ours, papyra.Query{Kinds: []papyra.Kind{papyra.KindAudit}, Limit: 1}); len(newest) != 1 ||
				newest[0].Time != int64(1_700_000_000e6+57*250_000) {
				t.Errorf("the newest audit is %+v, want the one that was written last", newest)
			}

			// Both go on, in the same streams.
			lines, sealed := written(t)
			add(t, s.ours, lines)
			command[int](s, facts, "", "append", "--layout", layout)
			want := ofKind(t, wrote)
			for category, list := range sealed {
				want[category] = append(want[category], list...)
			}
			for category, list := range ofKind(t, facts) {
				want[category] = append(want[category], list...)
			}
			s.reads("orders", "orders", want)
			s.reads("東京", "東京", want)
			for _, system := range []string{"orders", "東京"} {
				mine := map[string][]object{}
				for category, list := range want {
					for _, o := range list {
						if o["system_id"] == system {
							mine[category] = append(mine[category], o)
						}
					}
				}
				sameReading(t, factsOf(t, all(t, s.ours, papyra.Query{Systems: []string{system}})), mine)
			}
		})
	}
}

// Damage among what the Python side wrote: it moves what it finds, we find the
// rest too, and both read one quarantine.
func TestStreamsPapyraRecoversWhatPythonWrote(t *testing.T) {
	const key = prefix + ":orders:events"
	s := newStreams(t)
	wrote := many(60)
	command[int](s, wrote, "", "append")
	s.plant(key, "data", "not-json")
	s.plant(key, "data", `{"kind": "event", "system_id": "orders"`)
	if r := scan(t, s.ours); r.AnomalyCounts[papyra.ClassCorrupted]+r.AnomalyCounts[papyra.ClassTruncated] != 2 || r.Records != int64(len(wrote)) {
		t.Errorf("scan: %v and %d records, want two damaged and %d", r.AnomalyCounts, r.Records, len(wrote))
	}
	if got := command[object](s, nil, "orders", "recover", "--mode", "quarantine"); fmt.Sprint(got["moved"]) != "2" {
		t.Fatalf("the Python side moved %v, want 2", got["moved"])
	}
	// Its quarantine is no stream of records.
	if r := scan(t, s.ours); !r.Clean() || r.Records != int64(len(wrote)) {
		t.Errorf("scan after it: %v and %d records, want none and %d", r.AnomalyCounts, r.Records, len(wrote))
	}

	// The Python side would let the second of these pass.
	late := []string{"words", `{"kind": "event", "system_id": "orders", "timestamp": "soon"}`, "[\"a list\"]"}
	for _, data := range late {
		s.plant(key, "data", data)
	}
	s.plant(key, "other", "field")
	r, err := s.ours.Recover(t.Context(), papyra.RecoverOptions{Now: time.Unix(1_700_000_500, 250_000_000)})
	if err != nil || r.Moved != 4 || !r.After.Clean() {
		t.Fatalf("recover: %+v, %v; want 4 moved and nothing left", r, err)
	}
	var got []string
	for i, o := range command[[]object](s, nil, "orders", "quarantined", "events") {
		if o["source"] != key {
			t.Errorf("the source of entry %d is %v, want %s", i, o["source"], key)
		}
		if i >= 2 && fmt.Sprint(o["timestamp"]) != "1700000500.25" {
			t.Errorf("the time of entry %d is %v, want that of the recovery", i, o["timestamp"])
		}
		got = append(got, o["data"].(string))
	}
	if want := append([]string{`{"kind": "event", "system_id": "orders"`, "not-json"}, append(late, "")...); !reflect.DeepEqual(got, want) {
		t.Errorf("the Python side reads in the quarantine\ngot:  %q\nwant: %q", got, want)
	}
	s.reads("orders", "orders", ofKind(t, wrote))
	s.reads("東京", "東京", ofKind(t, wrote))
}

func TestStreamsPapyraCompactsWhatPythonWrote(t *testing.T) {
	s := newStreams(t)
	wrote := many(60)
	command[int](s, wrote, "", "append")
	if _, err := s.ours.Compact(t.Context(), papyra.CompactOptions{At: time.Now(),
		Retention: papyra.Retention{General: papyra.Limits{Records: 3}}}); err != nil {
		t.Fatal(err)
	}
	want := map[string][]object{}
	left := map[string]int{}
	for i := len(wrote) - 1; i >= 0; i-- {
		category := papyra.ParseKind(wrote[i]["kind"].(string)).Category()
		stream := fmt.Sprint(category, wrote[i]["system_id"])
		if left[stream]++; left[stream] <= 3 {
			want[category] = append(numbers(t, wrote[i]), want[category]...)
		}
	}
	s.reads("orders", "orders", want)
	s.reads("東京", "東京", want)
	if n := len(s.records(papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter)); len(left) != 4 || n != 12 {
		t.Errorf("%d records of %d streams are left, want 3 of each of 4", n, len(left))
	}

	// And what the Python side trims is gone for us, without damage.
	if got := command[object](s, nil, "orders", "compact", "--max-records", "1"); fmt.Sprint(got["after_records"]) != "3" {
		t.Fatalf("the Python side keeps %v, want one of each category", got)
	}
	if r := scan(t, s.ours); !r.Clean() || len(s.records(papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter)) != 6 {
		t.Errorf("scan after it: %v; want six records", r.AnomalyCounts)
	}
}

// The Python side loads every object and dumps it again.
func TestStreamsRewriteByPythonKeepsTheIdentity(t *testing.T) {
	s := newStreams(t)
	lines, facts := written(t)
	add(t, s.ours, lines)
	kinds := []papyra.Kind{papyra.KindEvent, papyra.KindAudit, papyra.KindDeadLetter}
	sealed := map[papyra.Kind][]papyra.Record{}
	for _, kind := range kinds {
		sealed[kind] = s.records(kind)
	}
	command[any](s, nil, "orders", "rewrite")
	command[any](s, nil, "größe=20東京", "rewrite")
	total := 0
	for _, kind := range kinds {
		total += len(sealed[kind])
		bySystem := func(list []papyra.Record) (out []papyra.Record) {
			for _, system := range []string{"orders", "größe 東京"} {
				for _, rec := range list {
					if string(rec.System) == system {
						out = append(out, rec)
					}
				}
			}
			return out
		}
		sameIdentities(t, bySystem(s.records(kind)), bySystem(sealed[kind]))
	}
	if r := scan(t, s.ours); !r.Clean() || r.Sealed < int64(total) || len(r.NoticeCounts) != 0 {
		t.Errorf("scan after the rewrite: %v, notices %v, %d sealed; want no notice and at least %d", r.AnomalyCounts, r.NoticeCounts, r.Sealed, total)
	}
	s.reads("orders", "orders", facts)
	add(t, s.ours, sealedLine(t, 100))
	if got := all(t, s.ours, papyra.Query{Systems: []string{"orders"}, Limit: 1, Kinds: []papyra.Kind{papyra.KindEvent}}); len(got) != 1 || !got[0].Sealed || got[0].Seq != 100 {
		t.Errorf("the newest event is %+v, want the one that was appended behind the rewrite", got)
	}
}
