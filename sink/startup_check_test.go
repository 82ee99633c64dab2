package sink_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

func TestStartupCheck(t *testing.T) {
	damaged := &papyra.ScanReport{
		AnomalyCounts: map[papyra.Class]int64{papyra.ClassTruncated: 1, papyra.ClassNULRun: 2},
		Anomalies:     []papyra.Anomaly{{Class: papyra.ClassTruncated, File: "x.ndjson", Offset: 17}},
	}
	clean := &papyra.ScanReport{}
	for _, tt := range []struct {
		name     string
		mode     sink.StartupMode
		scans    []*papyra.ScanReport
		recover  error
		want     error
		part     string
		reported bool // CorruptionDetected
		acts     sink.ActStats
	}{
		{"ignore", sink.CheckIgnore, []*papyra.ScanReport{damaged}, nil, nil, "", false, sink.ActStats{}},
		{"no store yet", sink.CheckFail, nil, nil, nil, "", false, sink.ActStats{}},
		{"clean", sink.CheckFail, []*papyra.ScanReport{clean}, nil, nil, "", false, sink.ActStats{Scans: 1}},
		{"scan goes on", sink.CheckScan, []*papyra.ScanReport{damaged}, nil, nil, "", true, sink.ActStats{Scans: 1, Anomalies: 3}},
		{"fail", sink.CheckFail, []*papyra.ScanReport{damaged}, nil, sink.ErrAnomalies, `3 anomalies, the first (truncated) in "x.ndjson" at offset 17`, false, sink.ActStats{Scans: 1, Anomalies: 3}},
		{"recover", sink.CheckRecover, []*papyra.ScanReport{damaged, clean}, nil, nil, "", true, sink.ActStats{Scans: 2, Anomalies: 3, Recoveries: 1}},
		{"recover what is clean", sink.CheckRecover, []*papyra.ScanReport{clean}, errors.New("must not be called"), nil, "", false, sink.ActStats{Scans: 1}},
		{"recovery fails", sink.CheckRecover, []*papyra.ScanReport{damaged}, papyra.ErrBusy, papyra.ErrBusy, "recover the store", false, sink.ActStats{Scans: 1, Anomalies: 3, Recoveries: 1, RecoveryErrors: 1}},
		{"recovery leaves damage", sink.CheckRecover, []*papyra.ScanReport{damaged, damaged}, nil, sink.ErrNotClean, "papyra-ctl scan", false, sink.ActStats{Scans: 2, Anomalies: 6, Recoveries: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := startBroker(t)
			store := &fakeStore{scans: tt.scans, recover: func() error { return tt.recover }}
			w := startSink(t, sink.Config{URL: b.URL(), StartupCheck: tt.mode}, store)
			if tt.want == nil {
				eventually(t, "the sink runs", func() bool { return w.Ready() == nil })
				w.cancel()
			}
			err := w.wait()
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil || tt.part != "" && !strings.Contains(err.Error(), tt.part) {
				t.Fatalf("Run() = %v, want %v with %q", err, tt.want, tt.part)
			}
			_, own := store.stored()
			if got := slices.ContainsFunc(own, func(l string) bool { return strings.Contains(l, papyra.ReportCorruptionDetected) }); got != tt.reported {
				t.Errorf("CorruptionDetected in the store is %v, want %v", got, tt.reported)
			}
			if got := w.Stats().Acts; got != tt.acts {
				t.Errorf("counted %+v, want %+v", got, tt.acts)
			}
		})
	}
}

func TestWarningsOfTheStoreAreLoggedOnce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		store *askedStore
		want  []string
	}{
		{"none", &askedStore{}, nil},
		{"two", &askedStore{warnings: []string{"it may evict", "it persists nothing"}}, []string{"it may evict", "it persists nothing"}},
		{"incomplete", &askedStore{warnings: []string{"it may evict"}, warnErr: errors.New("no answer")}, []string{"it may evict", "no answer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log syncBuffer
			keep := papyra.Retention{General: papyra.Limits{Records: 7}}
			w := runSink(t, sink.Config{
				URL: startBroker(t).URL(), Retention: keep, SyncEvery: time.Millisecond, ReportEvery: time.Millisecond,
				Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			}, tt.store)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			if n := len(tt.store.asked); n != 1 || tt.store.asked[0].General.Records != 7 {
				t.Errorf("asked with %+v, want once with %+v", tt.store.asked, keep)
			}
			lines := strings.Count(log.String(), "\n")
			if lines != len(tt.want) {
				t.Errorf("%d log lines, want %d:\n%s", lines, len(tt.want), log.String())
			}
			for _, text := range tt.want {
				if n := strings.Count(log.String(), text); n != 1 {
					t.Errorf("%q is logged %d times:\n%s", text, n, log.String())
				}
			}
		})
	}
}
