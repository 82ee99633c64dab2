package inspect

import "github.com/papyra/papyra"

// ScanTotal is what the scans of several stores found together, with every
// anomaly that they list.
type ScanTotal struct {
	Clean bool `json:"clean"` // nothing is damaged, and every store was scanned
	Full  bool `json:"full"`  // every line was parsed
	papyra.ScanReport
	Backend string       `json:"backend,omitempty"` // "": Stores name them
	Stores  []StoreTotal `json:"stores"`
}

// StoreTotal is what the scan of one store found.
type StoreTotal struct {
	Backend       string                 `json:"backend"`
	Clean         bool                   `json:"clean"`
	Files         int64                  `json:"files"`
	Bytes         int64                  `json:"bytes"`
	Lines         int64                  `json:"lines"`
	Records       int64                  `json:"records"`
	Sealed        int64                  `json:"sealed"`
	Unverified    int64                  `json:"unverified,omitempty"`
	AnomalyCounts map[papyra.Class]int64 `json:"anomaly_counts"`
	NoticeCounts  map[papyra.Class]int64 `json:"notice_counts"`
	Incomplete    bool                   `json:"incomplete"`
}

// NewScanTotal returns the total of no scans. full says how the stores are to be
// scanned.
func NewScanTotal(full bool) *ScanTotal {
	return &ScanTotal{Full: full, Stores: []StoreTotal{}, ScanReport: papyra.ScanReport{
		Streams:       []papyra.StreamSummary{},
		Anomalies:     []papyra.Anomaly{},
		Notices:       []papyra.Anomaly{},
		AnomalyCounts: map[papyra.Class]int64{},
		NoticeCounts:  map[papyra.Class]int64{},
	}}
}

// AddReport adds the scan of one store. Clean is left to the caller, who knows
// whether every store was scanned.
func (t *ScanTotal) AddReport(r *papyra.ScanReport) {
	t.Files += r.Files
	t.Bytes += r.Bytes
	t.Lines += r.Lines
	t.Records += r.Records
	t.Sealed += r.Sealed
	t.Unverified += r.Unverified
	t.Streams = papyra.SumStreams(t.Streams, r.Streams)
	t.Anomalies = append(t.Anomalies, r.Anomalies...)
	t.Notices = append(t.Notices, r.Notices...)
	AddCounts(t.AnomalyCounts, r.AnomalyCounts)
	AddCounts(t.NoticeCounts, r.NoticeCounts)
	t.Incomplete = t.Incomplete || r.Incomplete
	t.Duplicates += r.Duplicates
	t.Limits = append(t.Limits, r.Limits...)
	own := StoreTotal{
		Backend: r.Backend, Clean: r.Clean(),
		Files: r.Files, Bytes: r.Bytes, Lines: r.Lines, Records: r.Records, Sealed: r.Sealed, Unverified: r.Unverified,
		AnomalyCounts: map[papyra.Class]int64{}, NoticeCounts: map[papyra.Class]int64{},
		Incomplete: r.Incomplete,
	}
	AddCounts(own.AnomalyCounts, r.AnomalyCounts)
	AddCounts(own.NoticeCounts, r.NoticeCounts)
	t.Stores = append(t.Stores, own)
}

// AddCounts adds what from counts to what to counts.
func AddCounts(to, from map[papyra.Class]int64) {
	for class, n := range from {
		to[class] += n
	}
}

// StreamChange is one stream before and after a compaction.
type StreamChange struct {
	System        string `json:"system"`
	Category      string `json:"category"`
	RecordsBefore int64  `json:"records_before"`
	RecordsAfter  int64  `json:"records_after"`
	BytesBefore   int64  `json:"bytes_before"`
	BytesAfter    int64  `json:"bytes_after"`
	Duplicates    int64  `json:"duplicates,omitempty"` // removed as such
}

// StreamChanges sets what a compaction removed against the streams that a scan
// found before it, in the order of papyra.CompareStreams. The reports that the
// compaction itself appended are not in it.
func StreamChanges(before []papyra.StreamSummary, report *papyra.CompactReport) []StreamChange {
	byStream := func(list []papyra.StreamSummary) map[[2]string]papyra.StreamSummary {
		of := make(map[[2]string]papyra.StreamSummary, len(list))
		for _, s := range list {
			of[[2]string{s.System, s.Category}] = s
		}
		return of
	}
	gone, copies := byStream(report.Removed), byStream(report.Deduped)
	out := []StreamChange{}
	for _, b := range papyra.SumStreams(before) {
		stream := [2]string{b.System, b.Category}
		removed := gone[stream]
		out = append(out, StreamChange{
			System: b.System, Category: b.Category, RecordsBefore: b.Records, RecordsAfter: b.Records - removed.Records,
			BytesBefore: b.Bytes, BytesAfter: b.Bytes - removed.Bytes, Duplicates: copies[stream].Records,
		})
	}
	return out
}
