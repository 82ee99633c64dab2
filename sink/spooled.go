package sink

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/spool"
)

// What a sink does with a spool: it opens it in front of the store, says in its reports
// what waits there, and leaves there what is in memory when it stops.
//
//	buffer ── blocks ──► writer ──► spool ──► Appender
//	                                (bounded)  (store)

// checkSpool checks what the configuration says of the spool, and fills in what is left
// out.
func (c *Config) checkSpool() error {
	if c.SpoolDir == "" {
		return nil
	}
	setDefault(&c.SpoolBytes, spool.DefaultMaxBytes)
	if c.SpoolBytes < spool.MinMaxBytes {
		return fmt.Errorf("spool of %d bytes is too small: give at least %d", c.SpoolBytes, spool.MinMaxBytes)
	}
	return nil
}

// openStore opens the store, behind the spool if there is one, and finds its id. The id
// is "" for a store that is down and that the spool has never met.
func (s *Sink) openStore(ctx context.Context) (Appender, string, error) {
	if s.config.SpoolDir == "" {
		a, err := s.backend.Appender(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("open the store: %w", err)
		}
		s.logStoreWarnings(ctx)
		store, err := findStoreID(ctx, s.backend, s.config.Instance, s.log)
		if err != nil {
			return nil, "", errors.Join(err, a.Close())
		}
		return a, store, nil
	}
	if err := s.checkSpoolPlace(); err != nil {
		return nil, "", err
	}
	sp, err := spool.Open(ctx, spool.Config{
		Dir: s.config.SpoolDir, MaxBytes: s.config.SpoolBytes, Adopt: s.config.SpoolAdopt,
		SyncEach: s.backend.Traits().Sync == "batch",
		Open:     s.backend.Appender,
		StoreID:  func(ctx context.Context) (string, error) { return s.storeIDForSpool(ctx) },
		Failed:   s.health.storeFailed,
		Logger:   s.log, Now: s.config.Now,
	})
	if err != nil {
		return nil, "", err
	}
	s.warnOfSharedDevice()
	s.logStoreWarnings(ctx)
	s.spool.Store(sp)
	s.reporter.spool = sp
	return sp, sp.StoreID(), nil
}

// storeIDForSpool returns the id of the store. What cannot be read is no store without
// an id.
func (s *Sink) storeIDForSpool(ctx context.Context) (string, error) {
	id, err := lookForStoreID(ctx, s.backend)
	if id != "" {
		err = nil
	}
	return id, err
}

// storeDir returns the directory of a store of files, "" for another one.
func (s *Sink) storeDir() string {
	if beside := s.backend.RejectFile(); beside != "" {
		return filepath.Dir(beside)
	}
	return ""
}

// checkSpoolPlace refuses a spool in the directory of the store: each would take the
// other's files for its own.
func (s *Sink) checkSpoolPlace() error {
	store, errStore := filepath.Abs(s.storeDir())
	dir, errDir := filepath.Abs(s.config.SpoolDir)
	if s.storeDir() != "" && errStore == nil && errDir == nil && store == dir {
		return fmt.Errorf("%w: the spool %s is the directory of the store: give it one of its own", papyra.ErrConfig, s.config.SpoolDir)
	}
	return nil
}

// warnOfSharedDevice says that a disk that is full for the store is full for the spool.
func (s *Sink) warnOfSharedDevice() {
	var spool, store syscall.Stat_t
	if dir := s.storeDir(); dir == "" || syscall.Stat(dir, &store) != nil || syscall.Stat(s.config.SpoolDir, &spool) != nil || spool.Dev != store.Dev {
		return
	}
	s.log.Warn("the spool is on the same device as the store: when that is full or fails, so is the spool; put it on another disk",
		"spool", s.config.SpoolDir, "store", s.backend.URL())
}

// storeFailed counts an error of the store after which records went into the spool.
func (h *health) storeFailed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.appendErrors[CauseOf(err)]++
	h.noteTrouble(appendTrouble(err))
}

// spoolMarks are the numbers of the spool that a SinkReport tells.
type spoolMarks struct{ spooled, drained uint64 }

func marksOf(sp *spool.Spool) spoolMarks {
	st := sp.Status()
	return spoolMarks{st.Spooled, st.Drained}
}

// learnStoreID takes over the id of a store that was met since the start.
func (r *reporter) learnStoreID() {
	if r.spool != nil {
		r.store = r.spool.StoreID()
	}
}

// addSpoolReport puts what waits in the spool into the buffer, as the last report of
// this moment: what a compaction keeps of a sink's reports is the last one. Where nothing
// waits, the others have said so.
func (r *reporter) addSpoolReport(report *papyra.SinkReport, waiting *papyra.SinkSpool) {
	if waiting == nil || len(waiting.Waiting) == 0 {
		return
	}
	report.Dropped, report.Peers, report.Spool = nil, nil, waiting
	r.addReport(&papyra.Report{Name: papyra.ReportSink, Payload: *report})
}

// reportSpoolDamage writes a report of each segment that was found to be damaged.
func (r *reporter) reportSpoolDamage() {
	if r.spool == nil {
		return
	}
	for _, found := range r.spool.TakeDamage() {
		r.addReport(&papyra.Report{Name: papyra.ReportCorruptionDetected, Payload: found})
	}
}

// storeHasReports reports whether the reports that were stored and synced are in the
// store itself. If so, and with a spool, the service learns the id of the store, of which
// it must not speak before.
func (w *writer) storeHasReports() bool {
	if w.spool == nil {
		return true
	}
	if !w.spool.Status().Direct {
		return false
	}
	w.service.store = w.spool.StoreID()
	return true
}

// spoolRest puts what is left in memory into the spool when the store is lost. The next
// start finds it there.
func (w *writer) spoolRest(ctx context.Context) {
	if w.spool == nil || w.failed == nil {
		return
	}
	for w.nextBlock() {
		before := w.out.batch.Len()
		if _ = w.appendBlock(ctx); w.out != nil && w.out.batch.Len() == before {
			return
		}
	}
}

// logSpool says how many records wait where.
func (w *writer) logSpool() {
	if w.spool == nil {
		return
	}
	if st := w.spool.Status(); st.Bytes > 0 {
		w.log.Warn("records wait in the spool: start a sink with this store and this spool again, and it stores them",
			"records", st.Records, "bytes", st.Bytes, "spool", st.Dir, "since", st.Oldest)
	}
}

// fullReason is the reason of a line for which there is no room. The caller holds the
// lock.
func (b *buffer) fullReason() papyra.DropReason {
	if b.spoolFull {
		return papyra.DropSpoolFull
	}
	return papyra.DropSinkFull
}

// dropReason is fullReason. Only the writer's own calls change it.
func (b *buffer) dropReason() papyra.DropReason {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fullReason()
}
