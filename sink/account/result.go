package account

import "github.com/papyra/papyra"

// Result is the account of a group. Its JSON form is stable: members are only
// ever added. Times are Unix seconds, 0 or absent where they are not known.
type Result struct {
	Group   string  `json:"group"`            // "" when no store says
	System  string  `json:"system,omitempty"` // the only one that was judged
	At      float64 `json:"at,omitempty"`
	Settle  float64 `json:"settle"` // seconds
	Since   float64 `json:"since,omitempty"`
	Verdict Verdict `json:"verdict"`

	Total  Counts   `json:"total"`
	Runs   []Run    `json:"runs"` // by system, node and time
	Stores []Store  `json:"stores"`
	Absent []Absent `json:"absent"` // stores of the group that were not given

	// TooLarge are the systems that are in no row, since they hold more runs, reports
	// and ranges than Options.Memory lets one of them, by name and at most 1000, and
	// TooLargeTotal counts them. If papyra is among them, the pipeline's own reports
	// are not whole, so that what others miss may be explained. TooManySystems says
	// that there are more systems than are told apart, 131,072.
	TooLarge       []string `json:"too_large,omitempty"`
	TooLargeTotal  uint64   `json:"too_large_total,omitempty"`
	TooManySystems bool     `json:"too_many_systems,omitempty"`

	// Gaps are the missing ranges in the order of the runs, only with
	// Options.Gaps and at most Options.MaxGaps; GapsTotal counts them all.
	Gaps      []Gap  `json:"gaps"`
	GapsTotal uint64 `json:"gaps_total"`
	// Incidents are these gaps by what probably happened, oldest first.
	Incidents []Incident `json:"incidents"`

	// LostMessages were thrown away in the group's sinks before anybody read
	// them: whose records they held is not known.
	LostMessages uint64 `json:"lost_messages"`
	// UnreadMessages are those of them that a sink had received and not read when
	// its time to stop was over, at its last word after Since. Nothing says that
	// their records were sent again: with them an account is never balanced.
	UnreadMessages uint64 `json:"unread_messages,omitempty"`

	// Unjudged are the lines that have no number, absent when there are none.
	Unjudged Unjudged `json:"unjudged,omitzero"`

	// Spools are the spools in which something waits, as the last report of each says,
	// by id; absent when there are none. Whether one still exists no store knows.
	Spools []Spool `json:"spools,omitempty"`

	// Doubts are the reports that are not believed, by system, and DoubtsTotal is
	// how many there are.
	Doubts      []Doubt `json:"doubts,omitempty"`
	DoubtsTotal uint64  `json:"doubts_total,omitempty"`

	// Unended are the compactions that announced what is still stored and never said
	// how they ended, absent when there are none. Notes name them too.
	Unended []Unended `json:"unended,omitempty"`

	// Notes are worth knowing and change nothing.
	Notes []string `json:"notes"`
}

// Verdict is the account in one word.
type Verdict string

// The verdicts. Of several the last in this list is given.
const (
	Balanced   Verdict = "balanced"    // every record that has a number is accounted for
	StartsLate Verdict = "starts_late" // records were confirmed before the stores begin, and nobody accepted that
	Missing    Verdict = "missing"     // records are missing without a reason, or a sink ended with messages unread
	Incomplete Verdict = "incomplete"  // something could not be read, was not given, or was too large: missing is no more than a hint
)

// Counts are the numbers of a series, or of many. Always Accepted is the sum of
// Stored, Dropped, Removed, Filtered, Before, Pending and Missing.
type Counts struct {
	Accepted uint64                       `json:"accepted"` // numbers that are known to have been taken
	Stored   uint64                       `json:"stored"`   // of these, numbers that lie in a store
	Dropped  map[papyra.DropReason]uint64 `json:"dropped"`
	Removed  map[string]uint64            `json:"removed"` // by act
	Filtered uint64                       `json:"filtered"`
	Before   uint64                       `json:"before"`
	Pending  uint64                       `json:"pending"`
	Missing  uint64                       `json:"missing"`

	// Spooled are those of Pending that wait in the spool of a sink, as its last report
	// says: they come when its store does.
	Spooled uint64 `json:"spooled,omitempty"`

	// Late are those of Before that a publisher says were confirmed: somebody had
	// received them before the stores begin. It is at least so many.
	Late uint64 `json:"late,omitempty"`

	// Unverified are those of Stored that only such records bear as the Python
	// implementation has rewritten so that no checksum vouches for them any more.
	Unverified uint64 `json:"unverified,omitempty"`

	// Unnamed are those of Dropped and Removed that a report counts without
	// saying which they are.
	Unnamed uint64 `json:"unnamed"`

	// Duplicates are copies beyond the first of a record, and Conflicts other
	// records with the identity of one. Neither is in Accepted.
	Duplicates uint64 `json:"duplicates"`
	Conflicts  uint64 `json:"conflicts"`
}

// DroppedTotal is the sum of Dropped.
func (c *Counts) DroppedTotal() uint64 { return sum(c.Dropped) }

// RemovedTotal is the sum of Removed.
func (c *Counts) RemovedTotal() uint64 { return sum(c.Removed) }

func sum[K comparable](m map[K]uint64) (total uint64) {
	for _, n := range m {
		total = sumOf(total, n)
	}
	return total
}

// addDropped adds n; even for none there is a map, so that JSON shows an object.
func (c *Counts) addDropped(reason papyra.DropReason, n uint64) {
	if c.Dropped == nil {
		c.Dropped = map[papyra.DropReason]uint64{}
	}
	if n > 0 {
		c.Dropped[reason] = sumOf(c.Dropped[reason], n)
	}
}

// addRemoved is addDropped of what acts removed.
func (c *Counts) addRemoved(act string, n uint64) {
	if c.Removed == nil {
		c.Removed = map[string]uint64{}
	}
	if n > 0 {
		c.Removed[act] = sumOf(c.Removed[act], n)
	}
}

// addCounts adds another series to a total, whose numbers stay at the highest
// one instead of overflowing.
func (c *Counts) addCounts(o *Counts) {
	c.Accepted = sumOf(c.Accepted, o.Accepted)
	c.Stored = sumOf(c.Stored, o.Stored)
	c.addDropped("", 0)
	for reason, n := range o.Dropped {
		c.addDropped(reason, n)
	}
	c.addRemoved("", 0)
	for act, n := range o.Removed {
		c.addRemoved(act, n)
	}
	c.Filtered = sumOf(c.Filtered, o.Filtered)
	c.Before = sumOf(c.Before, o.Before)
	c.Late = sumOf(c.Late, o.Late)
	c.Pending = sumOf(c.Pending, o.Pending)
	c.Spooled = sumOf(c.Spooled, o.Spooled)
	c.Missing = sumOf(c.Missing, o.Missing)
	c.Unverified = sumOf(c.Unverified, o.Unverified)
	c.Unnamed = sumOf(c.Unnamed, o.Unnamed)
	c.Duplicates = sumOf(c.Duplicates, o.Duplicates)
	c.Conflicts = sumOf(c.Conflicts, o.Conflicts)
}

// RunState says what is known of a run's end.
type RunState string

// The states of a run.
const (
	RunClosed RunState = "closed" // its final report is there: nothing is above the highest number
	RunOpen   RunState = "open"   // it still lives
	RunEnded  RunState = "ended"  // silent, without a final report: what it took above the highest number is unknown
	RunAct    RunState = "act"    // the reports of one compaction, recovery or rotation
	RunGone   RunState = "gone"   // nothing but its removal is known
)

// Run is one start of a publisher. The pipeline's own reports are accounted
// too: their system is papyra.SystemReserved, and their runs are the sinks' and
// those of maintenance.
type Run struct {
	System  string   `json:"system"` // "" when only a removal is known
	Node    string   `json:"node"`
	Run     string   `json:"run"`
	State   RunState `json:"state"`
	Started float64  `json:"started,omitempty"` // by its reports, otherwise its first record
	Last    float64  `json:"last,omitempty"`    // timestamp of its last record or report
	Reports uint64   `json:"reports"`           // PublisherReports that were found, copies too

	Categories []Category `json:"categories"`
}

// Category is the account of one category of a run.
type Category struct {
	Category string `json:"category"`
	First    uint64 `json:"first"`   // the first number that is judged: 1, or where the window begins
	Highest  uint64 `json:"highest"` // the highest number that anything names
	Counts
	Reported *Reported `json:"reported,omitempty"`
}

// Reported is what the last report of a publisher said of a category.
type Reported struct {
	At          float64 `json:"at"`
	Accepted    uint64  `json:"accepted"`
	Confirmed   uint64  `json:"confirmed"`
	Resent      uint64  `json:"resent"`
	Buffered    uint64  `json:"buffered"`
	Unconfirmed uint64  `json:"unconfirmed"`
	// PayloadReplaced counts those that have a papyra.PayloadError.
	PayloadReplaced uint64 `json:"payload_replaced,omitempty"`
}

// Store is what was read of one store.
type Store struct {
	Name    string   `json:"name"`
	Judged  bool     `json:"judged"` // false: of another group
	Groups  []string `json:"groups"`
	IDs     []string `json:"ids"`
	Records uint64   `json:"records"`
	// Unsealed and UnknownKind records have no number, or none that means
	// something to this version: they are in no count of the account.
	Unsealed          uint64 `json:"unsealed"`
	UnknownKind       uint64 `json:"unknown_kind"`
	UnreadableReports uint64 `json:"unreadable_reports"`
	Damaged           int64  `json:"damaged"`
	Incomplete        bool   `json:"incomplete"` // a part could not be read
	Problem           string `json:"problem,omitempty"`
}

// Absent is a store of the group that a report names and nobody gave.
type Absent struct {
	ID       string `json:"id"`
	Instance string `json:"instance"`
	Host     string `json:"host,omitempty"` // of its sink, where the report says it
	URL      string `json:"url,omitempty"`  // likewise, without secrets
}

// Spool is a spool of a sink of the group in which something waits.
type Spool struct {
	ID       string  `json:"id"`
	Instance string  `json:"instance"` // the sink that said so last
	Dir      string  `json:"dir"`
	Records  int64   `json:"records"`
	Since    float64 `json:"since,omitempty"` // when the oldest came
	At       float64 `json:"at"`              // of the report
}

// Gap is a range of numbers that are missing without a reason.
type Gap struct {
	System   string `json:"system"`
	Node     string `json:"node"`
	Run      string `json:"run"`
	Category string `json:"category"`
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Count    uint64 `json:"count"`
	// Partly is true where some of the numbers were dropped or removed by a
	// report that does not name them: only Missing of the Of holes of this
	// stretch of the series are missing, no one can say which.
	Partly  bool   `json:"partly,omitempty"`
	Missing uint64 `json:"missing,omitempty"`
	Of      uint64 `json:"of,omitempty"`

	// After and Before are the timestamps of the stored neighbours.
	After  float64 `json:"after,omitempty"`
	Before float64 `json:"before,omitempty"`

	Outages []papyra.Outage `json:"outages,omitempty"` // of its publisher, that overlap it
	// Downtimes are the times without any sink of the group that overlap it; one
	// without an end lasts.
	Downtimes []papyra.Outage `json:"downtimes,omitempty"`
	// Rollbacks are the times after which a store was found to have forgotten records
	// that may have been these.
	Rollbacks []papyra.Rollback `json:"rollbacks,omitempty"`
	// Quarantines are the recoveries that may have moved its records away.
	Quarantines []Quarantine `json:"quarantines,omitempty"`
	Causes      []Cause      `json:"causes"` // the most probable first
}

// Quarantine is a recovery that moved damaged lines away. A damaged line cannot
// be trusted to say whose it was, so that it is no more than a probable cause.
type Quarantine struct {
	Act   string  `json:"act"` // its name, also in the place where the lines lie
	At    float64 `json:"at"`  // Unix seconds
	Lines int64   `json:"lines"`
}

// Cause is what probably happened to missing records. The list is closed.
type Cause string

// The causes, the most telling first.
const (
	CauseUnconfirmed   Cause = "unconfirmed"     // handed over when the publisher closed, never confirmed
	CauseProcessEnd    Cause = "process_end"     // the newest records of a process that ended without a word
	CauseDisconnection Cause = "disconnection"   // the publisher lost its broker meanwhile: what that had queued is gone
	CauseNoSink        Cause = "no_sink"         // no sink of the group ran meanwhile: the confirmation came from another group
	CauseStoreForgot   Cause = "store_forgot"    // the store was found to have forgotten what it held: a server that came back without its last data
	CauseSinkLost      Cause = "sink_lost"       // a sink's client threw messages away that nobody read in time
	CauseSinkStopped   Cause = "sink_stopped"    // a sink ended without a word meanwhile
	CauseSinkCut       Cause = "sink_cut"        // a sink lost its broker meanwhile
	CauseStoreNotGiven Cause = "store_not_given" // another store of the group exists
	CauseQuarantined   Cause = "quarantined"     // a later recovery moved damaged lines away: perhaps these
	CauseDamage        Cause = "damage"          // a store has damaged lines: scan it
	CauseReportsLost   Cause = "reports_lost"    // reports of the run are missing too: one of them may have said
	CauseUnknown       Cause = "unknown"
)
