package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
	"github.com/papyra/papyra/internal/maintain"
)

// Scan looks at every stored line.
func (s *Store) Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	ctx, cancel, err := s.within(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	entries := s.m.pin()
	report, err := s.scan(ctx, entries, o)
	if err != nil || !o.Full {
		return report, err
	}
	return report, s.compare(ctx, entries, report, o)
}

// compare looks for duplicates and conflicts.
func (s *Store) compare(ctx context.Context, entries []entry, report *papyra.ScanReport, o papyra.ScanOptions) error {
	var rec papyra.Record
	ids := judge.NewIdentities(1)
	each := func(visit func(e entry)) error {
		for i, e := range entries {
			if i%1024 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if verdict, _ := judge.Line(&rec, e.line, false); verdict == judge.Valid {
				visit(e)
			}
		}
		return nil
	}
	if err := each(func(entry) { ids.Add(&rec) }); err != nil {
		return err
	}
	repeated := ids.Repeated()
	if repeated.None() {
		return nil
	}
	conflicts := judge.NewFindings(o)
	err := each(func(e entry) {
		if repeated.Conflict(&rec) {
			conflicts.Notice(papyra.Anomaly{Class: papyra.NoticeConflict, ID: e.id(), Length: int64(len(e.line)), Detail: judge.ConflictDetail(&rec)})
		}
	})
	conflicts.AddTo(report)
	report.Duplicates, report.Limits = repeated.Result()
	return err
}

func (s *Store) scan(ctx context.Context, entries []entry, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	var (
		tally    judge.Tally
		findings = judge.NewFindings(o)
		rec      papyra.Record
		bytes    int64
	)
	for i, e := range entries {
		if i%1024 == 0 {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if o.Progress != nil {
				o.Progress(int64(i), int64(len(entries)))
			}
		}
		tally.Lines++
		bytes += int64(len(e.line)) + 1
		place := papyra.Anomaly{ID: e.id(), Length: int64(len(e.line))}
		verdict, damage := judge.Line(&rec, e.line, o.Full)
		switch verdict {
		case judge.Valid:
			tally.Add(&rec)
			findings.Look(&rec, place)
		case judge.Blank:
			tally.Blank++
		case judge.Damaged:
			tally.Damaged++
			place.Class, place.Detail = damage.Class, damage.Detail
			findings.Damage(place)
		}
	}
	r := judge.Report(s.URL(), &tally, findings)
	r.Bytes = bytes
	return r, nil
}

// turn waits until no other recovery or compaction runs.
func (m *Memory) turn(ctx context.Context) (done func(), err error) {
	select {
	case m.acts <- struct{}{}:
		return func() { <-m.acts }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// busyFor returns papyra.ErrBusy if another Store's appender holds the memory.
func (m *Memory) busyFor(s *Store) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.appender != nil && m.appender.s != s {
		return fmt.Errorf("change memory: %w", papyra.ErrBusy)
	}
	return nil
}

// Recover moves damaged lines into a quarantine within the memory.
// RecoverOptions.QuarantineDir is refused: a memory has no directories.
func (s *Store) Recover(ctx context.Context, o papyra.RecoverOptions) (*papyra.RecoverReport, error) {
	if o.QuarantineDir != "" {
		return nil, fmt.Errorf("a memory keeps its quarantine in itself, give no directory: %w", papyra.ErrUsage)
	}
	ctx, cancel, err := s.within(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	done, err := s.m.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := s.m.busyFor(s); err != nil && !o.DryRun {
		return nil, err
	}
	entries := s.m.pin()
	options := papyra.ScanOptions{Full: true, Now: o.Now, Progress: o.Progress}
	before, err := s.scan(ctx, entries, options)
	if err != nil {
		return nil, err
	}
	report := &papyra.RecoverReport{Backend: s.URL(), DryRun: o.DryRun, Before: before}
	act := maintain.New(papyra.ActRecover, s.at(o.Now))
	var (
		rec     papyra.Record
		moved   []Quarantined
		kept    []entry
		removal maintain.Removal
	)
	for _, e := range entries {
		verdict, damage := judge.Line(&rec, e.line, true)
		if verdict != judge.Damaged {
			kept = append(kept, e)
			continue
		}
		moved = append(moved, Quarantined{Act: act.ID, ID: e.id(), Class: damage.Class, Bytes: e.line})
		removal.Damaged++
		removal.DamagedBytes += int64(len(e.line)) + 1
	}
	report.Moved, report.MovedBytes = removal.Damaged, removal.DamagedBytes
	if o.DryRun {
		return report, nil
	}
	if len(moved) == 0 {
		report.After = before
		return report, nil
	}
	report.Act, report.Quarantine = act.ID, s.URL()+"quarantine/"+act.ID
	performed := papyra.RecoveryPerformed{
		ID: act.ID, Moved: report.Moved, MovedBytes: report.MovedBytes, Quarantine: report.Quarantine, Counts: before.AnomalyCounts,
	}
	reports, err := removal.Reports(act, s.m.now())
	if err != nil {
		return nil, err
	}
	if _, err := s.swap(act, reports, kept, len(entries), moved, papyra.ReportRecoveryPerformed, &performed); err != nil {
		return nil, err
	}
	report.After, err = s.scan(ctx, s.m.pin(), papyra.ScanOptions{Full: true, Now: o.Now})
	return report, err
}

func (s *Store) at(t time.Time) time.Time {
	if t.IsZero() {
		return s.m.now()
	}
	return t
}

// swap puts kept in the place of the first pinned entries, with the act's
// reports where they belong, and returns how long appends had to wait.
func (s *Store) swap(act *maintain.Act, reports [][]byte, kept []entry, pinned int, moved []Quarantined, name string, performed any) (time.Duration, error) {
	last, err := act.Line(name, performed, s.m.now())
	if err != nil {
		return 0, err
	}
	// What stays is copied, so that what goes is freed.
	size := 0
	for _, e := range kept {
		size += len(e.line)
	}
	data := make([]byte, 0, size)
	for i, e := range kept {
		data = append(data, e.line...)
		kept[i].line = data[len(data)-len(e.line) : len(data) : len(data)]
	}
	began := time.Now()
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for _, line := range reports {
		s.m.add(line[:len(line)-1])
	}
	s.m.entries = append(kept, s.m.entries[pinned:]...)
	s.m.saved = append(s.m.saved, moved...)
	s.m.add(last[:len(last)-1])
	return time.Since(began), nil
}

// Compact removes what is outside the view at o.At, and duplicates if o says so.
func (s *Store) Compact(ctx context.Context, o papyra.CompactOptions) (*papyra.CompactReport, error) {
	if err := maintain.CheckCompaction(o); err != nil {
		return nil, err
	}
	ctx, cancel, err := s.within(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	done, err := s.m.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := s.m.busyFor(s); err != nil && !o.DryRun {
		return nil, err
	}
	var (
		entries = s.m.pin()
		count   = maintain.NewCompaction(o)
		remove  = make([]bool, len(entries))
		rec     papyra.Record
	)
	// look decides about each entry, from the newest to the oldest.
	look := func(remove func(i int)) error {
		for i := len(entries) - 1; i >= 0; i-- {
			if i%1024 == 0 {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if o.Progress != nil {
					o.Progress(int64(len(entries)-i), int64(len(entries)))
				}
			}
			remove(i)
		}
		return nil
	}
	if count.NeedsSurvey() {
		if err := look(func(i int) {
			verdict, _ := judge.Line(&rec, entries[i].line, true)
			count.Survey(&rec, verdict)
		}); err != nil {
			return nil, err
		}
	}
	if err := look(func(i int) {
		remove[i] = !count.Keep(&rec, entries[i].line, int64(len(entries[i].line))+1)
	}); err != nil {
		return nil, err
	}
	if count.Repeats() {
		if err := look(func(i int) {
			if remove[i] {
				return
			}
			verdict, _ := judge.Line(&rec, entries[i].line, true)
			remove[i] = verdict == judge.Valid && count.Suspect(&rec) && count.Copy(&rec)
		}); err != nil {
			return nil, err
		}
	}
	report := count.Report(s.URL())
	if o.DryRun || count.Nothing() {
		return report, nil
	}
	var kept []entry
	for i, e := range entries {
		if !remove[i] {
			kept = append(kept, e)
		}
	}
	act := maintain.New(papyra.ActCompact, s.m.now())
	report.Act = act.ID
	reports, err := count.Reports(act, s.m.now())
	if err != nil {
		return nil, err
	}
	pause, err := s.swap(act, reports, kept, len(entries), nil, papyra.ReportCompactionPerformed, maintain.Performed(report))
	report.Pause = papyra.Duration(pause)
	return report, err
}
