package main

import (
	"testing"
	"time"

	"github.com/papyra/papyra"
)

func TestSetLimit(t *testing.T) {
	kinds := func(k papyra.Kind, l papyra.Limits) (r papyra.Retention) {
		r.ByKind[k] = l
		return r
	}
	for _, tc := range []struct {
		name, value string
		want        papyra.Retention
		shown       string
	}{
		{"keep_records", "1000", papyra.Retention{General: papyra.Limits{Records: 1000}}, "keep_records 1,000"},
		{"keep_age", "7d", papyra.Retention{General: papyra.Limits{Age: 7 * 24 * time.Hour}}, "keep_age 7d"},
		{"keep_age", "1h30m", papyra.Retention{General: papyra.Limits{Age: 90 * time.Minute}}, "keep_age 1h30m"},
		{"keep_age", "36h", papyra.Retention{General: papyra.Limits{Age: 36 * time.Hour}}, "keep_age 36h"},
		{"keep_bytes", "50MB", papyra.Retention{General: papyra.Limits{Bytes: 50_000_000}}, "keep_bytes 50 MB"},
		{"dead_letters.keep_age", "30d", kinds(papyra.KindDeadLetter, papyra.Limits{Age: 30 * 24 * time.Hour}), "dead_letters.keep_age 30d"},
		{"reports.keep_records", "5", kinds(papyra.KindReport, papyra.Limits{Records: 5}), "reports.keep_records 5"},
		{"events.keep_bytes", "1KiB", kinds(papyra.KindEvent, papyra.Limits{Bytes: 1024}), "events.keep_bytes 1.0 kB"},
	} {
		var got papyra.Retention
		if err := setLimit(&got, tc.name, tc.value); err != nil || got != tc.want {
			t.Errorf("setLimit(%s=%s): got %+v, %v, want %+v", tc.name, tc.value, got, err, tc.want)
		}
		if shown := showRetention(got); shown != tc.shown {
			t.Errorf("showRetention(%s=%s): got %q, want %q", tc.name, tc.value, shown, tc.shown)
		}
	}
	for _, tc := range []struct{ name, value string }{
		{"keep_records", "-1"}, {"keep_records", "many"}, {"keep_records", ""}, {"keep_records", "1.5"},
		{"keep_age", "-7d"}, {"keep_age", "7"}, {"keep_bytes", "-1"}, {"keep_bytes", "1XB"},
		{"event.keep_age", "7d"}, {"unknown.keep_age", "7d"}, {"keep", "7d"}, {"events.", "7d"}, {"", "7d"},
	} {
		var r papyra.Retention
		if err := setLimit(&r, tc.name, tc.value); err == nil {
			t.Errorf("setLimit(%s=%s): got %+v, want an error", tc.name, tc.value, r)
		}
	}
}
