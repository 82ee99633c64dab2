package papyra

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/papyra/papyra/internal/jsontext"
)

// Progress is called now and then during long work, from one goroutine at a
// time, with bytes done of bytes in all. Nil is allowed.
type Progress func(done, total int64)

// ScanOptions say how a store is scanned.
type ScanOptions struct {
	// Full parses every line; otherwise a line whose seal verifies is trusted.
	Full bool
	// MaxListed bounds the anomalies that the report lists, and the notices; the
	// counts are always exact. 0 means 10,000.
	MaxListed int
	Now       time.Time // for clock_skew; zero disables it
	Progress  Progress
}

// ScanReport is what a scan found. A scan changes nothing.
type ScanReport struct {
	Backend       string          `json:"backend"`
	Files         int64           `json:"files,omitempty"`
	Bytes         int64           `json:"bytes"`
	Lines         int64           `json:"lines"`   // blank ones too
	Records       int64           `json:"records"` // lines that are not damaged
	Sealed        int64           `json:"sealed"`
	Unverified    int64           `json:"unverified,omitempty"` // with an identity that no checksum vouches for
	Streams       []StreamSummary `json:"streams"`
	Anomalies     []Anomaly       `json:"anomalies"` // the first MaxListed, in order of place
	AnomalyCounts map[Class]int64 `json:"anomaly_counts"`
	Notices       []Anomaly       `json:"notices"` // without unsealed and blank_line, which are only counted
	NoticeCounts  map[Class]int64 `json:"notice_counts"`
	Incomplete    bool            `json:"incomplete"` // a part could not be read
	// Foreign are the files of a store of several of which no line is a record,
	// though more is damaged than a crash leaves. They have their names as text.
	Foreign []string `json:"foreign,omitempty"`

	// Duplicates counts the exact duplicates, each copy but the first. Only a
	// full scan looks for them and for conflicts; when it reached the bound of
	// its memory on the way, Limits says so in words, and both are lower bounds.
	Duplicates int64    `json:"duplicates"`
	Limits     []string `json:"limits,omitempty"`
}

// Clean reports whether nothing is damaged.
func (r *ScanReport) Clean() bool { return len(r.AnomalyCounts) == 0 }

// Damaged returns how many places are damaged.
func (r *ScanReport) Damaged() (n int64) {
	for _, count := range r.AnomalyCounts {
		n += count
	}
	return n
}

// StreamSummary counts one stream.
type StreamSummary struct {
	System   string `json:"system"`
	Category string `json:"category"`
	Records  int64  `json:"records"`
	Bytes    int64  `json:"bytes"`
	// Oldest and Newest are the extreme timestamps, in Unix seconds.
	Oldest float64 `json:"oldest,omitempty"`
	Newest float64 `json:"newest,omitempty"`
}

// RecoverOptions say how damage is moved out of a store.
type RecoverOptions struct {
	// QuarantineDir takes the damaged bytes; empty means the store's own place
	// beside it. It may be on another file system.
	QuarantineDir string
	DryRun        bool
	Now           time.Time
	Progress      Progress
	// Approve is called, unless it is nil, before a recovery that would move something
	// writes anything; the plan has Before and Mistake. Its error ends the act, and
	// Recover returns it as it is. A dry run does not ask.
	Approve func(plan *RecoverReport) error
}

// RecoverReport is what a recovery did, or with DryRun would do.
type RecoverReport struct {
	Backend    string      `json:"backend"`
	DryRun     bool        `json:"dry_run"`
	Before     *ScanReport `json:"before"`
	After      *ScanReport `json:"after,omitempty"` // absent with DryRun
	Moved      int64       `json:"moved"`           // damaged places
	MovedBytes int64       `json:"moved_bytes"`     // without inserted newlines
	Ended      int64       `json:"ended,omitempty"` // files whose last line got its newline
	// Quarantine is the act's directory, as text as File of an Anomaly is, or stream;
	// empty when nothing moved.
	Quarantine string `json:"quarantine,omitempty"`
	Act        string `json:"act,omitempty"` // id that RemovalReport and RecoveryPerformed carry
	// Groups are the consumer groups of others that lose entries.
	Groups []RemovedGroup `json:"groups,omitempty"`
	// Mistake is that of RecoverMistake. A library goes on all the same.
	Mistake string `json:"mistake,omitempty"`
}

// CompactOptions say what compaction removes: first what the view at At does
// not hold, then, with Dedupe, the exact duplicates among the rest.
type CompactOptions struct {
	Retention Retention // must limit something, unless Dedupe is set
	// Dedupe removes of each record every exact duplicate but the newest: the one
	// that is last in append order is in every view that any of the others is in,
	// and the bound of a rotating store drops it last. So no view, now or later,
	// loses a record by it. A view limited by keep_records or keep_bytes may reach
	// further back afterwards, over the room that duplicates took; the view at At
	// is the same.
	Dedupe   bool
	At       time.Time // the one moment T of the view; zero is an error
	DryRun   bool
	Progress Progress
	// Approve is called, unless it is nil, before a compaction that would remove
	// something writes anything; the plan is what a dry run reports. Its error ends the
	// act, and Compact returns it as it is. A dry run does not ask.
	Approve func(plan *CompactReport) error
}

// CompactReport is what a compaction did, or with DryRun would do.
type CompactReport struct {
	Backend       string          `json:"backend"`
	DryRun        bool            `json:"dry_run"`
	Act           string          `json:"act,omitempty"`
	At            float64         `json:"at"` // Unix seconds
	RecordsBefore int64           `json:"records_before"`
	RecordsAfter  int64           `json:"records_after"`
	BytesBefore   int64           `json:"bytes_before"`
	BytesAfter    int64           `json:"bytes_after"`
	Removed       []StreamSummary `json:"removed"`
	Deduped       []StreamSummary `json:"deduped,omitempty"` // of Removed, the exact duplicates
	Damaged       int64           `json:"damaged"`           // lines left where they are
	// KeptUndated are the records that stayed only because they have no date: see
	// [Record.HasDate].
	KeptUndated int64           `json:"kept_undated,omitempty"`
	Pause       Duration        `json:"pause"` // appends were held up so long
	Counts      map[Class]int64 `json:"anomaly_counts,omitempty"`
	// Limits says in words which bounds kept exact duplicates from being removed.
	Limits []string `json:"limits,omitempty"`
	// Groups are the consumer groups of others that lose entries.
	Groups []RemovedGroup `json:"groups,omitempty"`
	// Mistake is that of NewestRecord. A library goes on all the same.
	Mistake string `json:"mistake,omitempty"`
}

// ConsumerGroup is a consumer group that some other program has on a stream of a
// store on Redis. Papyra never uses, makes or changes one.
type ConsumerGroup struct {
	Stream    string `json:"stream"` // the key
	System    string `json:"system"`
	Category  string `json:"category"`
	Group     string `json:"group"`
	Consumers int64  `json:"consumers"`
	Pending   int64  `json:"pending"` // delivered and not acknowledged
	Lag       *int64 `json:"lag"`     // not delivered yet; nil if the server does not know
}

// Duration is a time.Duration that JSON shows in seconds.
type Duration time.Duration

// MarshalJSON writes seconds with a fraction.
func (d Duration) MarshalJSON() ([]byte, error) {
	return jsontext.AppendFloat(nil, time.Duration(d).Seconds(), 64), nil
}

// UnmarshalJSON reads seconds.
func (d *Duration) UnmarshalJSON(text []byte) error {
	seconds, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fmt.Errorf("read a duration: %w", err)
	}
	*d = Duration(math.Round(seconds * float64(time.Second)))
	return nil
}

// AppendStats counts what an appender had to survive since it was opened. Its
// Stats method returns it. What a backend does not have stays 0.
type AppendStats struct {
	// Of file backends.
	Healed       int64 `json:"healed"`        // ends without a newline that got one
	CutBack      int64 `json:"cut_back"`      // failed writes that were cut off again
	Torn         int64 `json:"torn"`          // failed writes that could not be cut off: a fragment stays
	Reopened     int64 `json:"reopened"`      // the file was renamed or deleted from outside
	Truncated    int64 `json:"truncated"`     // the file was made shorter from outside
	SyncFailures int64 `json:"sync_failures"` // after each, the bytes were or will be written again
	LockRetaken  int64 `json:"lock_retaken"`  // the lock file was removed from outside

	// What the bound of a rotating store did.
	Rotations      int64 `json:"rotations"`
	DroppedFiles   int64 `json:"dropped_files"`   // oldest files that had to go
	DroppedRecords int64 `json:"dropped_records"` // in them
	DroppedBytes   int64 `json:"dropped_bytes"`   // of these files, damaged lines included, what was kept of them not

	// Of a store on a server: parts of batches to which an answer was lost.
	Resent     int64 `json:"resent"`      // they were sent again
	Fenced     int64 `json:"fenced"`      // of these, the ones that were stored already
	RolledBack int64 `json:"rolled_back"` // the server had forgotten what it had acknowledged
}
