package papyra

import "encoding/json"

// Names of the reports of version 1.
const (
	ReportPublisher           = "PublisherReport"
	ReportSink                = "SinkReport"
	ReportRemoval             = "RemovalReport"
	ReportCorruptionDetected  = "CorruptionDetected"
	ReportRecoveryPerformed   = "RecoveryPerformed"
	ReportCompactionPerformed = "CompactionPerformed"
	ReportStartAccepted       = "StartAccepted"
	ReportRestore             = "RestoreReport"
	ReportRestorePerformed    = "RestorePerformed"
	ReportActRequested        = "ActRequested"
	ReportSpoolBound          = "SpoolBound"
)

// Range is an unbroken run of sequence numbers, both ends included. JSON shows
// it as [first,last].
type Range [2]uint64

// Drops counts records that were dropped for one reason. Ranges holds the new
// ones since the last report, at most 128; beyond that only N tells.
type Drops struct {
	N      uint64  `json:"n"`
	Ranges []Range `json:"ranges,omitempty"`
}

// PublisherReport is what a publisher says of its run. In each category always
// Accepted = Confirmed + Unconfirmed + Buffered + the sum of Dropped.
type PublisherReport struct {
	Final      bool                         `json:"final"`
	Uptime     float64                      `json:"uptime"` // seconds
	Categories map[string]PublisherCategory `json:"categories"`
	// Outages are the times without a broker since the last report, at most 64.
	Outages []Outage `json:"outages,omitempty"`
}

// Outage is a time without a connection, by the publisher's clock. To is 0
// while it lasts; it is then reported once more with its end.
type Outage struct {
	From float64 `json:"from"` // Unix seconds
	To   float64 `json:"to,omitempty"`
}

// PublisherCategory is the account of one category of a run.
type PublisherCategory struct {
	Accepted    uint64                `json:"accepted"`  // numbers taken; the highest one
	Confirmed   uint64                `json:"confirmed"` // a server had a receiver and queued it
	Resent      uint64                `json:"resent"`    // handed over once more
	Buffered    uint64                `json:"buffered"`
	Unconfirmed uint64                `json:"unconfirmed,omitempty"` // handed over, fate unknown; only in a final report
	Dropped     map[DropReason]*Drops `json:"dropped,omitempty"`
	// Held is why records wait although there is a connection, at the moment of the
	// report: "unheard", "unanswered" or "denied". Empty: nothing holds them.
	Held string `json:"held,omitempty"`
	// PayloadReplaced counts the records that were taken into the buffer with a
	// PayloadError in the place of their payload.
	PayloadReplaced uint64 `json:"payload_replaced,omitempty"`
	// ConfirmedBy counts, for each group of sinks that answers the publisher, the
	// records for which it has answered. UnheardBy counts those of which the publisher
	// had to let go without an answer of that group, with their new ranges as Dropped
	// has them. For the stores of other groups the two mean nothing; Confirmed counts
	// these records too.
	ConfirmedBy map[string]uint64 `json:"confirmed_by,omitempty"`
	UnheardBy   map[string]*Drops `json:"unheard_by,omitempty"`
}

// SinkReport is what a sink says of itself, in its own store.
type SinkReport struct {
	State    string   `json:"state"` // "started", "running", "stopped"
	Group    string   `json:"group"`
	Instance string   `json:"instance"`
	Store    string   `json:"store,omitempty"`   // random id, made with the store
	Host     string   `json:"host,omitempty"`    // of the sink
	URL      string   `json:"url,omitempty"`     // of the store, without its secrets; at most MaxURLBytes
	Filters  []string `json:"filters,omitempty"` // "system=…", "category=…"; none means everything
	// Peers are the other stores of the group that the sink has heard of since
	// its start, so that an account that was not given one of them can name it.
	// They stand in a report when there are more of them than before, in the last
	// one, and every five minutes: a reader adds up the reports of a sink's run.
	Peers    []Peer            `json:"peers,omitempty"`
	Uptime   float64           `json:"uptime"`
	Received uint64            `json:"received"`           // lines
	Stored   uint64            `json:"stored"`             // by the store, or by the spool
	Rejected map[string]uint64 `json:"rejected,omitempty"` // by reason
	// Dropped is what was dropped since the sink's last report, by reason, with
	// the run and ranges where they are known: a reader adds the reports of a
	// sink's run up. Much of it is spread over several reports of one moment.
	Dropped []SinkDrops `json:"dropped,omitempty"`
	// DroppedLines is the sum of all Dropped since the sink's start, without
	// those of reason sink_rejected, which Rejected counts:
	// Received = Stored + Rejected + DroppedLines + what waits for the store.
	DroppedLines uint64 `json:"dropped_lines"`
	// LostMessages were thrown away by the NATS client before they were read.
	LostMessages uint64 `json:"lost_messages"`
	// Answered are the messages whose publishers were told that their records are stored,
	// AnsweredEarly those of them that waited for the store too long and were told before,
	// AnswersRefused the answers that the broker refused.
	Answered       uint64 `json:"answered,omitempty"`
	AnsweredEarly  uint64 `json:"answered_early,omitempty"`
	AnswersRefused uint64 `json:"answers_refused,omitempty"`
	// Unread were left when the sink's time to stop was over: it had received them
	// and not read them. LostMessages counts them too.
	Unread uint64 `json:"unread,omitempty"`
	// Disconnects counts the lost connections to the broker.
	Disconnects uint64 `json:"disconnects"`
	// RolledBack are the times since the sink's start at which it found that the
	// store had forgotten records, the newest 16.
	RolledBack []Rollback `json:"rolled_back,omitempty"`
	// Spool is what waits in the sink's spool at the moment of the report. Of all
	// reports that name one spool the newest holds. A sink that has no spool, or does
	// not know yet what is in it, says nothing.
	Spool *SinkSpool `json:"spool,omitempty"`
}

// SinkSpool is what waits in the spool of a sink: it has these records, and the store
// has not yet. Stored counts them.
type SinkSpool struct {
	ID      string  `json:"id"` // random, made with the spool
	Dir     string  `json:"dir"`
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"`
	Since   float64 `json:"since,omitempty"` // when the oldest came, in Unix seconds
	// Waiting names them, at most 512 runs and 2,048 ranges, those of which the most
	// wait.
	Waiting []SpooledRun `json:"waiting,omitempty"`
}

// SpooledRun is what waits of one run and category.
type SpooledRun struct {
	System   string  `json:"system"`
	Category string  `json:"category"`
	Run      string  `json:"run"`
	N        uint64  `json:"n"`
	Ranges   []Range `json:"ranges,omitempty"`
	// Others are the lowest and the highest of the numbers that N counts and Ranges do
	// not name.
	Others Range `json:"others,omitzero"`
}

// SpoolBound says, in a spool's own file, for which store records wait there. The newest
// one holds.
type SpoolBound struct {
	Spool string `json:"spool"`           // id of the spool
	Store string `json:"store,omitempty"` // id of the store; empty while it was never reached
	New   bool   `json:"new,omitempty"`   // no report in the store says its id yet
}

// Rollback says that a store had forgotten records which it had acknowledged: a
// server that came back without its last data, or a file that was made shorter.
type Rollback struct {
	At     float64 `json:"at"`     // when it was noticed, in Unix seconds
	Stored uint64  `json:"stored"` // lines of the sink that the store had taken by then
}

// Peer is the store of another sink of the group. Host and URL are what that sink says
// of itself; older ones say nothing.
type Peer struct {
	Instance string `json:"instance"`
	Store    string `json:"store"`
	Host     string `json:"host,omitempty"`
	URL      string `json:"url,omitempty"`
}

// MaxURLBytes bounds the URL of a store in a report; what is behind is cut off.
const MaxURLBytes = 256

// SinkDrops is what a sink dropped of one run and category for one reason. Run
// is empty where the records carried none.
type SinkDrops struct {
	Reason   DropReason `json:"reason"`
	System   string     `json:"system"`
	Category string     `json:"category"`
	Run      string     `json:"run,omitempty"`
	N        uint64     `json:"n"`
	Ranges   []Range    `json:"ranges,omitempty"`
	// Others are the lowest and the highest of the numbers that N counts and
	// Ranges do not name.
	Others Range `json:"others,omitzero"`
	// Group is the one that did not answer, of reason unheard_by, which only carried
	// reports have; for the stores of other groups the drop means nothing.
	Group string `json:"group,omitempty"`
}

// The acts of a RemovalReport.
const (
	ActCompact = "compact"
	ActRotate  = "rotate"
	ActRecover = "recover"
	ActDedupe  = "dedupe"
)

// RemovalReport is appended and synced before the first byte goes. A large one
// is several reports with the same ID and counts that add up.
//
// A rotation also removes RemovalReports. What these said it says again, for
// each act that they were of, in reports that are Carried; it leaves out the
// runs of which the store holds nothing any more. So the sum over all reports of
// a store is always what was ever removed from it. What is dropped of other
// reports and still needed it carries too: the first and the last of a publisher
// and the last of a sink as they are, the drops of the others in Dropped.
type RemovalReport struct {
	Act        string                     `json:"act"`
	ID         string                     `json:"id"`
	Categories map[string]RemovedCategory `json:"categories"`
	// Carried says that this repeats earlier reports, with their counts; ID is of
	// the rotation that removed them.
	Carried bool `json:"carried,omitempty"`
	// Dropped is what reports of sinks and publishers named as dropped that a
	// rotation has removed. Only carried reports have it; a reader adds it to what
	// the others say.
	Dropped []SinkDrops `json:"dropped,omitempty"`
	// Damaged counts lines that are of no category, moved by a recovery or dropped
	// by a rotation.
	Damaged      int64 `json:"damaged,omitempty"`
	DamagedBytes int64 `json:"damaged_bytes,omitempty"`
	// Groups are the consumer groups of others, on Redis, for which entries go
	// that are pending or not delivered yet; as many as fit in 32 KiB.
	Groups []RemovedGroup `json:"groups,omitempty"`
}

// RemovedGroup is what an act takes away from a consumer group.
type RemovedGroup struct {
	Stream      string `json:"stream"` // the Redis key
	Group       string `json:"group"`
	Pending     int64  `json:"pending"`     // delivered, and not acknowledged
	Undelivered int64  `json:"undelivered"` // not delivered yet
}

// RemovedCategory says what is removed of one category.
type RemovedCategory struct {
	Records int64        `json:"records"`
	Bytes   int64        `json:"bytes"`
	Runs    []RemovedRun `json:"runs,omitempty"`
}

// RemovedRun names the records of one run: Ranges, or everything below a
// number instead of more than 4,096 ranges.
type RemovedRun struct {
	System string  `json:"system,omitempty"` // "" in reports of version 0.1
	Node   string  `json:"node,omitempty"`
	Run    string  `json:"run"`
	Ranges []Range `json:"ranges,omitempty"`
	Below  uint64  `json:"below,omitempty"`
	// N is how many numbers are removed below Below; 0 means that it is not
	// known.
	N uint64 `json:"n,omitempty"`
}

// CorruptionDetected says that a sink's scan found damage.
type CorruptionDetected struct {
	Counts map[Class]int64 `json:"counts"`
	First  []Anomaly       `json:"first,omitempty"` // at most 16
}

// The ends of an act, as its last report says.
const (
	// EndDone: what was announced is removed.
	EndDone = "done"
	// EndWithdrawn: the act failed or was interrupted before it removed anything.
	// Its RemovalReports explain nothing and are in no sum.
	EndWithdrawn = "withdrawn"
	// EndPartial: the act failed or was interrupted after it had removed a part. Its
	// RemovalReports explain nothing and are in no sum; those of the act ReplacedBy
	// name what is gone.
	EndPartial = "partial"
)

// RecoveryPerformed says how a recovery ended.
type RecoveryPerformed struct {
	ID         string          `json:"id"`
	Moved      int64           `json:"moved"`
	MovedBytes int64           `json:"moved_bytes"`
	Quarantine string          `json:"quarantine"`
	Counts     map[Class]int64 `json:"counts"`
	ActEnd
}

// CompactionPerformed says how a compaction ended.
type CompactionPerformed struct {
	ID            string `json:"id"`
	RecordsBefore int64  `json:"records_before"`
	RecordsAfter  int64  `json:"records_after"`
	BytesBefore   int64  `json:"bytes_before"`
	BytesAfter    int64  `json:"bytes_after"`
	ActEnd
}

// ActEnd says how an act ended. An act of which no end is stored was killed, or is
// of a version before 0.1.0 had ends: its announcement explains.
type ActEnd struct {
	// End is one of the Act's ends; empty means EndDone.
	End string `json:"end,omitempty"`
	// ReplacedBy is the id of the RemovalReports that name what a partial act has
	// removed.
	ReplacedBy string `json:"replaced_by,omitempty"`
	// Cause says why the act did not come to its end.
	Cause string `json:"cause,omitempty"`
}

// EndOfAct returns the id of the act whose last report rec is, and how it ended. ok
// is false of any other record, also of one that another system than
// SystemReserved claims to have written. rec was parsed in full.
func EndOfAct(rec *Record) (id string, end ActEnd, ok bool) {
	if rec.Kind != KindReport || string(rec.System) != SystemReserved {
		return "", end, false
	}
	if name := string(rec.Type); name != ReportCompactionPerformed && name != ReportRecoveryPerformed {
		return "", end, false
	}
	var p struct {
		ID string `json:"id"`
		ActEnd
	}
	err := json.Unmarshal(rec.Payload, &p)
	return p.ID, p.ActEnd, err == nil
}

// TakesBack reports whether the act's own RemovalReports do not hold.
func (e *ActEnd) TakesBack() bool { return e.End == EndWithdrawn || e.End == EndPartial }

// StartAccepted says that somebody accepted that the store does not hold what
// publishers had confirmed before its group's first sink: the group is new, or
// what the store held is lost and known to be. It speaks for every start up to
// its own timestamp.
type StartAccepted struct {
	ID string `json:"id"`
	// Late is how many records an account named at that moment.
	Late uint64 `json:"late"`
}

// RestoreReport announces that records which a recovery had moved away are put back. It
// explains nothing: a record that is back is stored.
type RestoreReport struct {
	ID      string `json:"id"`
	From    string `json:"from"` // the recovery
	Records int64  `json:"records"`
	Bytes   int64  `json:"bytes"`
}

// RestorePerformed says how that ended, and how many are back.
type RestorePerformed struct {
	ID      string `json:"id"`
	From    string `json:"from"`
	Records int64  `json:"records"`
	Bytes   int64  `json:"bytes"`
	ActEnd
}

// ActRequested says that somebody asked a living sink for an act, before the act began.
// It is there also of an act that then found nothing to do, and not of a dry run.
type ActRequested struct {
	Job       string          `json:"job"`       // made by who asked; the same job never runs twice
	Verb      string          `json:"verb"`      // "recover", "compact" or "forget"
	Arguments json.RawMessage `json:"arguments"` // as they were asked for
	By        string          `json:"by"`        // who asked
	// Proven says who vouches for By: ProvenSocket or ProvenBroker. Empty means that
	// whoever asked only claims it.
	Proven string `json:"proven,omitempty"`
}

// What proves who asked for an act.
const (
	ProvenSocket = "socket" // the system knows the user at the other end of a socket
	ProvenBroker = "broker" // the broker says which of its logins asked
)
