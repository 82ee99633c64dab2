package sink

import (
	"log/slog"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/spool"
)

// maxDropText bounds the drops in one SinkReport, by an estimate of their bytes
// that is never too small; more go into further reports of the same moment.
const maxDropText = 128 << 10

// maxRollbacks bounds the rollbacks that a SinkReport names; older ones are left
// out.
const maxRollbacks = 16

// The states that a SinkReport tells.
const (
	reportStarted = "started"
	reportRunning = "running"
	reportStopped = "stopped"
)

// reporter writes the sink's own reports into the buffer. It has no lock: Run
// uses it until the writer starts, and from then on only the writer does.
type reporter struct {
	config       *Config
	log          *slog.Logger
	identity     *papyra.Identity // seals the reports
	buffer       *buffer
	health       *health
	peers        *peerList
	answers      *answers
	lostMessages func() uint64
	forgotten    func() int64 // how often the store was found to have forgotten records; nil before it is open
	spool        *spool.Spool // nil without one

	started time.Time // of Run
	store   string    // the store's id; set before the first SinkReport
	url     string    // of the store, without its secrets

	seq       uint64 // of the last report
	reported  marks  // of the last SinkReport
	rollbacks []papyra.Rollback
	peersTold time.Time // when a SinkReport last named the peers
	unread    uint64    // messages; set before the writer is told to stop
}

// marks are the numbers that a SinkReport tells; when none has changed there is
// nothing to report.
type marks struct {
	lineTotals
	lost, disconnects uint64
	forgotten         int64
	spool             spoolMarks

	peers int
}

// addSinkReport puts a SinkReport into the buffer. A running sink skips it when
// nothing has changed, and while the last one still waits for the store.
func (r *reporter) addSinkReport(state string) {
	now := marks{r.buffer.totals(), r.lostMessages(), r.health.disconnectCount(), r.forgottenCount(), marksOf(r.spool), r.peers.count()}
	if state == reportRunning && (now == r.reported || r.buffer.holdsReports()) {
		return
	}
	r.learnStoreID()
	account, drops := r.buffer.takeAccount()
	now.lineTotals = account.totals()
	if now.forgotten > r.reported.forgotten {
		r.rollbacks = append(r.rollbacks, papyra.Rollback{At: float64(r.config.Now().UnixMicro()) / 1e6, Stored: now.stored})
		r.rollbacks = r.rollbacks[max(0, len(r.rollbacks)-maxRollbacks):]
	}
	report := papyra.SinkReport{
		State: state, Group: r.config.Group, Instance: r.config.Instance, Store: r.store, Filters: r.config.filters(),
		Host: hostName(), URL: r.url,
		Uptime:   milliseconds(time.Since(r.started)),
		Received: now.received, Stored: now.stored, DroppedLines: now.dropped,
		Answered: r.answers.answered.Load(), AnsweredEarly: r.answers.early.Load(), AnswersRefused: r.answers.refusals.Load(),
		LostMessages: now.lost, Unread: min(r.unread, now.lost), Disconnects: now.disconnects, RolledBack: r.rollbacks,
	}
	if len(account.rejected) > 0 {
		report.Rejected = make(map[string]uint64, len(account.rejected))
		for reason, n := range account.rejected {
			report.Rejected[string(reason)] = n
		}
	}
	if now.peers > r.reported.peers || state == reportStopped || time.Since(r.peersTold) >= peersEvery {
		report.Peers, r.peersTold = r.peers.list(), time.Now()
		now.peers = len(report.Peers)
	}
	r.reported = now
	waiting := r.spool.Waiting()
	if waiting != nil && len(waiting.Waiting) == 0 {
		report.Spool = waiting
	}

	for first := true; first || len(drops) > 0; first = false {
		n := 0
		if len(report.Peers) == 0 { // a report of both could be too long
			n = fittingDrops(drops)
		}
		report.Dropped, drops = drops[:n], drops[n:]
		r.addReport(&papyra.Report{Name: papyra.ReportSink, Payload: report})
		report.Peers = nil
	}
	r.addSpoolReport(&report, waiting)
}

// forgottenCount returns how often the store was found to have forgotten records.
func (r *reporter) forgottenCount() int64 {
	if r.forgotten == nil {
		return 0
	}
	return r.forgotten()
}

// reportForgotten writes a report at once if the store was found to have forgotten
// records since the last one.
func (r *reporter) reportForgotten() {
	if r.forgottenCount() > r.reported.forgotten {
		r.addSinkReport(reportRunning)
	}
}

// addReport seals a report and puts it into the buffer.
func (r *reporter) addReport(report *papyra.Report) {
	r.seq++
	sealed, err := papyra.SealedReport(r.identity, papyra.SystemReserved, r.seq, report, r.config.Now())
	if err != nil {
		r.log.Error("a report of the sink cannot be written", "report", report.Name, "error", err)
		return
	}
	r.buffer.addReport(sealed[:len(sealed)-1])
}

// milliseconds returns d in seconds, rounded so that it reads like 2.577. It
// divides once: the sum in Duration.Seconds may differ from that by the last
// bit, and then has 17 digits.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}

// fittingDrops returns how many of the drops one report takes, at least one if
// there is any.
func fittingDrops(drops []papyra.SinkDrops) int {
	const perDrop, perRange = 160, 44 // names and braces; two numbers of 20 digits
	size := 0
	for i := range drops {
		// A system id of control-free UTF-8 may be escaped: at most twice.
		size += perDrop + 2*len(drops[i].System) + perRange*(len(drops[i].Ranges)+1)
		if size > maxDropText && i > 0 {
			return i
		}
	}
	return len(drops)
}
