package inspect

import (
	"encoding/json"
	"testing"

	"github.com/papyra/papyra"
)

func TestReportInWords(t *testing.T) {
	for _, tc := range []struct {
		name    string
		report  string
		payload any
		want    string
	}{
		{
			"publisher", papyra.ReportPublisher,
			papyra.PublisherReport{Final: true, Categories: map[string]papyra.PublisherCategory{
				"events": {
					Accepted: 12345, Confirmed: 12000, Unconfirmed: 40,
					Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: {N: 300}, papyra.DropEncode: {N: 5}},
				},
				"dead_letters": {Accepted: 2, Confirmed: 1, Buffered: 1, PayloadReplaced: 1},
				"audits":       {},
			}},
			"final; events 12,000 of 12,345 confirmed, 5 dropped (encode), 300 dropped (queue_full), 40 of unknown fate; dead_letters 1 of 2 confirmed, 1 waiting, 1 with the payload replaced",
		},
		{"publisher that did nothing", papyra.ReportPublisher, papyra.PublisherReport{}, "running"},
		{
			"sink", papyra.ReportSink,
			papyra.SinkReport{
				State: "stopped", Group: "archive", Instance: "eu-1", Received: 1000, Stored: 990,
				Rejected: map[string]uint64{"corrupted": 3, "bad_subject": 2}, DroppedLines: 5, LostMessages: 7, Disconnects: 1,
			},
			"stopped as archive/eu-1, received 1,000, stored 990, rejected 5, dropped 5, messages lost 7, disconnects 1",
		},
		{
			"removal", papyra.ReportRemoval,
			papyra.RemovalReport{Act: papyra.ActRecover, ID: "x", Damaged: 1, Categories: map[string]papyra.RemovedCategory{"events": {Records: 1200}}},
			"recover removes 1,200 events, 1 damaged line (act x)",
		},
		{"removal of nothing", papyra.ReportRemoval, papyra.RemovalReport{Act: papyra.ActCompact, ID: "y"}, "compact removes nothing of a category (act y)"},
		{
			"corruption", papyra.ReportCorruptionDetected,
			papyra.CorruptionDetected{Counts: map[papyra.Class]int64{papyra.ClassNULRun: 1, papyra.ClassCorrupted: 3}},
			"found 3 corrupted, 1 nul_run",
		},
		{"recovery", papyra.ReportRecoveryPerformed, papyra.RecoveryPerformed{Moved: 2, MovedBytes: 2000, Quarantine: "/q"}, "moved 2 damaged places, 2.0 kB, to /q"},
		{
			"compaction", papyra.ReportCompactionPerformed,
			papyra.CompactionPerformed{RecordsBefore: 10, RecordsAfter: 4, BytesBefore: 4000, BytesAfter: 1000},
			"10 records became 4, 4.0 kB became 1.0 kB",
		},
		{"unknown name", "NewReport", map[string]int{"a": 1}, `{"a":1}`},
		{"other form", papyra.ReportSink, []string{"x"}, `["x"]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			payload, err := json.Marshal(tc.payload)
			if err != nil {
				t.Fatal(err)
			}
			if got := ReportInWords(&papyra.Record{Type: []byte(tc.report), Payload: payload}); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
