package sink

import (
	"time"

	"github.com/papyra/papyra"
)

// maxDropText bounds the drops in one SinkReport, by an estimate of their bytes
// that is never too small; more go into further reports of the same moment.
const maxDropText = 128 << 10

// marks are the numbers that a report tells; when none has changed there is
// nothing to report.
type marks struct {
	received, stored, rejected, dropped, lost, disconnects uint64

	peers int
}

// report leaves a SinkReport in the buffer. A running sink skips it when
// nothing has changed, and while the last one still waits for the store.
func (s *Sink) report(state string) {
	lost := s.lostMessages()
	s.mu.Lock()
	now := marks{s.stats.Received, s.stats.Stored, s.stats.RejectedTotal(), s.stats.DroppedTotal(), lost, s.stats.Disconnects, len(s.peers)}
	if state == "running" && (now == s.reported || s.writing.own+s.backlog.own > 0) {
		s.mu.Unlock()
		return
	}
	news := now.peers > s.reported.peers
	s.reported = now
	r := papyra.SinkReport{
		State: state, Group: s.config.Group, Instance: s.config.Instance, Store: s.store, Filters: s.config.filters(),
		Uptime:   milliseconds(time.Since(s.started)),
		Received: now.received, Stored: now.stored, DroppedLines: now.dropped,
		LostMessages: lost, Disconnects: now.disconnects,
	}
	if len(s.stats.Rejected) > 0 {
		r.Rejected = make(map[string]uint64, len(s.stats.Rejected))
		for reason, n := range s.stats.Rejected {
			r.Rejected[string(reason)] = n
		}
	}
	drops := s.drops.take()
	if news || state == "stopped" || time.Since(s.peersTold) >= peersEvery {
		r.Peers, s.peersTold = s.peers.list(), time.Now()
	}
	s.mu.Unlock()

	for first := true; first || len(drops) > 0; first = false {
		n := 0
		if len(r.Peers) == 0 { // a report of both could be too long
			n = fitting(drops)
		}
		r.Dropped, drops = drops[:n], drops[n:]
		s.own(&papyra.Report{Name: papyra.ReportSink, Payload: r})
		r.Peers = nil
	}
}

// milliseconds returns d in seconds, rounded so that it reads like 2.577. It
// divides once: the sum in Duration.Seconds may be a hair beside what it should
// be, and then has 17 digits.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}

// fitting returns how many of the drops one report takes, at least one if there
// is any.
func fitting(drops []papyra.SinkDrops) int {
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

// own seals a report of the sink and puts it into the buffer, whether there is
// room or not: reports are few and small, and they explain the rest.
func (s *Sink) own(r *papyra.Report) {
	s.mu.Lock()
	s.ownSeq++
	seq := s.ownSeq
	s.mu.Unlock()
	sealed, err := papyra.SealedReport(s.identity, papyra.SystemReserved, seq, r, s.config.Now())
	if err != nil {
		s.log.Error("a report of the sink cannot be written", "report", r.Name, "error", err)
		return
	}
	s.mu.Lock()
	s.backlog.addOwn(sealed[:len(sealed)-1])
	s.mu.Unlock()
	s.wakeWriter()
}
