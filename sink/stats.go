package sink

import (
	"fmt"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/spool"
)

// Stats are a sink's numbers since its start. At every moment
//
//	Received = Stored + the sum of Rejected + the sum of Dropped + Pending
//
// None of these numbers counts the sink's own reports.
type Stats struct {
	State    string // "starting", "running", "stopping", "stopped"
	Messages uint64 // NATS messages; each holds any number of lines
	Received uint64 // lines
	Bytes    uint64 // of the lines received, without their newlines

	Stored      uint64 // lines that the store took, or the spool
	StoredBytes uint64 // with newlines, the sink's own reports too
	Rejected    map[papyra.RejectReason]uint64
	Dropped     map[papyra.DropReason]uint64

	Pending      int // lines that wait for the store
	PendingBytes int // their bytes, and those of the sink's own reports

	// RefusedStreams are the streams that the store refuses while it takes those of
	// others; RefusedPending of the pending lines are theirs, and are tried again by
	// themselves. The sink is not ready then.
	RefusedStreams int
	RefusedPending int

	// LostMessages were thrown away by the NATS client because the sink did not
	// keep up; how many lines they held is not known.
	LostMessages uint64
	// Disconnects counts lost connections to the server, whoever ended them.
	Disconnects uint64

	// RefusedSubscriptions counts how often the server refused a subscription to
	// records, at any time: for its permissions, or for a limit. The sink is not
	// ready then, and subscribes again until the server takes it.
	RefusedSubscriptions uint64

	// Answered counts the messages whose publishers were told that their records are
	// stored, or rejected and counted. AnsweredEarly of these waited for the store for so
	// long that they were told before: what of them is not stored when the sink is killed
	// is lost. AnswersRefused counts how often the server refused an answer for the
	// sink's permissions; it then answers nobody for a minute, or until there is another connection.
	Answered       uint64
	AnsweredEarly  uint64
	AnswersRefused uint64

	// ServiceErrors counts failures to announce the sink or to look for the others
	// of its group. They cost no record.
	ServiceErrors uint64

	AppendErrors map[papyra.Cause]uint64 // failed Appends, as CauseOf says; each is tried again
	SyncErrors   uint64                  // failed Syncs; each is tried again
	// Files is what the store's files went through since the sink opened them,
	// and how many stored records their rotation removed. It is as old as the last
	// sync. It stays zero for a store that does not count.
	Files papyra.AppendStats
	// RejectsNotKept counts rejected lines that the reject file did not take: it
	// cannot be written, does not keep up, or has had enough of this message or of
	// this second. Without a reject file it stays 0.
	RejectsNotKept uint64
	// RejectFilesReplaced counts older reject files that a newer one replaced.
	RejectFilesReplaced uint64

	// Spool is what waits in the spool; the zero Status without one. The lines of it
	// that came since the start are among Stored.
	Spool spool.Status

	// Acts are the scans, recoveries and compactions of the startup check and of
	// Sink.Maintainer.
	Acts ActStats
}

// ActStats counts what was done to a store apart from appending.
type ActStats struct {
	Scans            uint64
	ScanErrors       uint64 // scans that ended with an error; a scan of a store that does not exist counts nowhere
	Anomalies        uint64 // found by the scans; each scan counts all that it sees, also what one before has seen
	Recoveries       uint64
	RecoveryErrors   uint64
	Compactions      uint64
	CompactionErrors uint64
}

// RejectedTotal is the sum of Rejected.
func (s Stats) RejectedTotal() uint64 { return sum(s.Rejected) }

// DroppedTotal is the sum of Dropped.
func (s Stats) DroppedTotal() uint64 { return sum(s.Dropped) }

// AppendErrorsTotal is the sum of AppendErrors.
func (s Stats) AppendErrorsTotal() uint64 { return sum(s.AppendErrors) }

func sum[K comparable](m map[K]uint64) (total uint64) {
	for _, n := range m {
		total += n
	}
	return total
}

// Stats returns the sink's numbers as they are now. It may be called at any time,
// also before Run and after it.
func (s *Sink) Stats() Stats {
	var st Stats
	// The buffer's account of the lines is read after what must not be ahead of it:
	// with the state "stopped" it has the last numbers, and it counts every reject
	// that the reject file did not keep.
	st.LostMessages = s.lostMessages()
	st.RejectsNotKept, st.RejectFilesReplaced = s.rejects.keptCounts()
	s.health.fillStats(&st)
	s.buffer.fillStats(&st)
	st.RefusedSubscriptions = s.refusedSubscriptions()
	s.answers.fillStats(&st)
	st.ServiceErrors = s.service.failures.Load()
	st.Files = s.events.latestCounts()
	st.Spool = s.spool.Load().Status()
	st.Acts = s.acts.snapshot()
	return st
}

// Ready returns nil while the sink is connected and its store takes records,
// otherwise an error that tells a person why not. It is quick: it asks neither
// the store nor the server.
func (s *Sink) Ready() error {
	if err := s.health.notReady(); err != nil {
		return err
	}
	return s.spool.Load().NotReady()
}

// Notes returns, in a sentence each, what an operator should know of a sink that is
// ready. It is as quick as Ready.
func (s *Sink) Notes() []string {
	if r := s.answers.refused.Load(); r != nil {
		return []string{fmt.Sprintf("the NATS server does not let this sink answer publishers (%v): allow this login to publish %s", r.err, papyra.SubjectAllHeard)}
	}
	return nil
}
