package fileset

import (
	"cmp"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/judge"
)

const (
	// blockSize is what one scan worker takes at a time.
	blockSize = 4 << 20
	// maxWorkers keeps a scan within 64 MiB on any machine.
	maxWorkers = 16
	// longBuffers is how many lines of more than a megabyte are held at a time, in
	// 8.25 MiB each.
	longBuffers = 2
)

// Scan looks at every byte of the set as it was at the beginning, and changes
// nothing. It takes no lock and may run beside a writer: then an unfinished last
// line and a temporary file are notices "in_progress". A full scan also looks for
// duplicates and conflicts, within about 64 MiB of memory; conflicts stand last
// among the notices.
func (s *Store) Scan(ctx context.Context, o papyra.ScanOptions) (*papyra.ScanReport, error) {
	ctx, cancel, err := s.life.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	// The lock is tested before the sizes are taken and after: whoever was in the
	// middle of a write in between held it at one of these moments.
	writer := whoWrites(s.disk, s.names.lock())
	sn, err := s.pinSet()
	if err != nil {
		return nil, err
	}
	defer sn.close()
	sc := s.newScan(sn, o, cmp.Or(writer, whoWrites(s.disk, s.names.lock())))
	if o.Full {
		sc.identities = judge.NewIdentities(1)
	}
	return sc.scanSet(ctx)
}

// newScan returns a scan of a pinned set. writer is what whoWrites said.
func (s *Store) newScan(sn *snapshot, o papyra.ScanOptions, writer string) *setScan {
	return &setScan{
		disk: s.disk, url: s.url, set: sn, o: o, writer: writer, total: sn.size(),
		findings: judge.NewFindings(o), readable: sn.readable,
		long: lines.NewLongBuffers(longBuffers),
	}
}

// scanSet looks at every byte.
func (sc *setScan) scanSet(ctx context.Context) (*papyra.ScanReport, error) {
	sn := sc.set
	for _, f := range sn.files {
		if err := sc.scanFile(ctx, f); err != nil {
			return nil, err
		}
	}
	duplicates, limits, err := sc.compareDuplicates(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range sn.odd {
		sc.findings.Damage(a)
	}
	for _, r := range sn.leftovers {
		a := papyra.Anomaly{Class: papyra.ClassLeftover, File: escape.EncodeName(r.base), Length: r.size, Detail: "of an act that did not finish"}
		if sc.writer != "" {
			a.Class, a.Detail = papyra.NoticeInProgress, "of an act that may be running: "+sc.writer
			sc.findings.Notice(a)
			continue
		}
		sc.findings.Damage(a)
	}
	report := judge.Report(sc.url, &sc.tally, sc.findings)
	report.Files = int64(len(sn.files))
	report.Bytes = sn.size()
	report.Incomplete = !sc.readable
	if len(sn.files) > 1 {
		report.Foreign = sc.foreign
	}
	report.Duplicates, report.Limits = duplicates, limits
	return report, nil
}

// setScan is one scan. Its files are scanned one after the other, each by
// several workers.
type setScan struct {
	disk   disk.Disk
	url    string
	set    *snapshot
	o      papyra.ScanOptions
	writer string // why somebody may be writing to the set; "" if nobody is
	total  int64

	done       int64
	tally      judge.Tally
	findings   *judge.Findings
	identities *judge.Identities // nil unless duplicates are looked for
	readable   bool
	foreign    []string             // files without a record, with more damage than a crash leaves
	long       *lines.LongBuffers   // of all workers
	see        func(*papyra.Record) // nil unless somebody wants the reports
	seeing     sync.Mutex           // held during see
}

// block is the part of a file whose lines one worker judges: those that begin
// in it.
type block struct {
	start, end int64
	lines      int64
	findings   *judge.Findings
	unreadable bool
	foreign    bool // a line is damaged as a crash leaves none
}

// scanFile scans one file, block by block. What the workers find is merged in the
// order of the blocks, so that lines have their numbers and findings their order.
func (sc *setScan) scanFile(ctx context.Context, f *pinnedFile) error {
	blocks := int((f.size + blockSize - 1) / blockSize)
	workers := min(runtime.GOMAXPROCS(0), maxWorkers, blocks)
	tallies := make([]judge.Tally, workers)
	identities := make([]*judge.Identities, workers)
	damaged, records := false, int64(0)
	start := func(ctx context.Context, n int) func(piece int) block {
		w := newBlockWorker(ctx, sc, f, &tallies[n])
		if sc.identities != nil {
			identities[n] = judge.NewIdentities(workers)
			w.identities = identities[n]
		}
		return func(piece int) block {
			at := int64(piece) * blockSize
			b := block{start: at, end: min(at+blockSize, f.size)}
			w.judgeBlock(ctx, &b)
			return b
		}
	}
	linesBefore := int64(0)
	err := inOrder(ctx, blocks, workers, start, func(b block) {
		sc.findings.Merge(b.findings, linesBefore)
		linesBefore += b.lines
		sc.readable = sc.readable && !b.unreadable
		damaged = damaged || b.foreign
		sc.done += b.end - b.start
		if sc.o.Progress != nil {
			sc.o.Progress(sc.done, sc.total)
		}
	})
	if err != nil {
		return err
	}
	for i := range tallies {
		records += tallies[i].Records
		sc.tally.Merge(&tallies[i])
		sc.identities.Merge(identities[i])
	}
	if damaged && records == 0 {
		sc.foreign = append(sc.foreign, f.text)
	}
	return nil
}

// blockWorker judges blocks of one file.
type blockWorker struct {
	sc    *setScan
	f     *pinnedFile
	tally *judge.Tally
	read  *lines.Forward
	rec   papyra.Record

	lineJudge  judge.Series
	identities *judge.Identities
}

func newBlockWorker(ctx context.Context, sc *setScan, f *pinnedFile, t *judge.Tally) *blockWorker {
	w := &blockWorker{sc: sc, f: f, tally: t, read: lines.NewForward(disk.Interruptible(ctx, sc.disk), nil, 0)}
	w.read.Share(sc.long)
	return w
}

// judgeBlock judges the lines of a block. What cannot be read is damage of it.
func (w *blockWorker) judgeBlock(ctx context.Context, b *block) {
	b.findings = judge.NewFindings(w.sc.o)
	// The block may have to wait for the one before it, whose worker may need the
	// buffer that its last line is in.
	defer w.read.Release()
	err := w.judgeLines(b)
	if err == nil || errors.Is(err, io.EOF) || ctx.Err() != nil {
		return
	}
	b.unreadable = true
	b.findings.Damage(unreadable(w.f, w.read.Offset(), b.end, err))
}

// unreadable returns the anomaly of a part of a file that cannot be read.
func unreadable(f *pinnedFile, from, to int64, err error) papyra.Anomaly {
	return papyra.Anomaly{Class: papyra.ClassUnreadable, File: f.text, Offset: from, Length: max(to-from, 0), Detail: systemError(err)}
}

// judgeLines judges the lines that begin in the block.
func (w *blockWorker) judgeLines(b *block) error {
	if b.start == 0 {
		w.read.Reset(w.f.f, 0, b.end, w.f.size)
	} else {
		// A line begins here only if the byte before is a newline.
		w.read.Reset(w.f.f, b.start-1, b.end, w.f.size)
		if err := w.read.SkipRest(); err != nil {
			return err
		}
	}
	// What is behind a hole belongs to the block in which the hole begins.
	for hole := false; hole || w.read.Offset() < b.end; {
		l, err := w.read.Next()
		if err != nil {
			return err
		}
		if !hole {
			b.lines++
		}
		w.addLine(b, &l)
		if hole = l.Hole; !hole {
			w.addAlike(b)
		}
	}
	return nil
}

// addAlike adds, all at once, the lines that are read already, as far as they are
// like the last one and a scan that trusts seals has to know no more of them. In a
// sealed file these are nearly all lines.
func (w *blockWorker) addAlike(b *block) {
	if w.sc.o.Full {
		return
	}
	more := w.lineJudge.Trusted(w.read.Buffered(), b.findings.Latest())
	if more.Lines == 0 {
		return
	}
	w.tally.AddSealed(&more)
	b.lines += int64(more.Lines)
	w.read.Skip(more.Bytes)
}

// addLine judges one line and notes what it is.
func (w *blockWorker) addLine(b *block, l *lines.Line) {
	w.tally.Lines++
	var (
		verdict judge.Verdict
		damage  *papyra.LineError
	)
	if !l.Held() {
		verdict, damage = judge.Damaged, notHeld(l)
	} else {
		verdict, damage = w.lineJudge.Line(&w.rec, l.Bytes, w.sc.o.Full)
	}
	switch verdict {
	case judge.Valid:
		w.tally.Add(&w.rec)
		w.identities.Add(&w.rec)
		if w.sc.see != nil && w.rec.Kind == papyra.KindReport {
			w.sc.seeing.Lock()
			w.sc.see(&w.rec)
			w.sc.seeing.Unlock()
		}
		if b.findings.Remarkable(&w.rec) {
			b.findings.Look(&w.rec, papyra.Anomaly{File: w.f.text, Line: b.lines, Offset: l.Offset, Length: l.Length})
		}
	case judge.Blank:
		w.tally.Blank++
	case judge.Damaged:
		if l.Open() && w.sc.writer != "" && w.f.number == 0 {
			b.findings.Notice(papyra.Anomaly{
				Class: papyra.NoticeInProgress, File: w.f.text, Line: b.lines, Offset: l.Offset, Length: l.Length,
				Detail: "an unfinished last line, and " + w.sc.writer,
			})
			return
		}
		w.tally.Damaged++
		for _, p := range damagedPlaces(w.f.text, l, damage) {
			p.anomaly.Line = b.lines
			b.foreign = b.foreign || !p.anomaly.Class.LeftByCrash()
			b.findings.Damage(p.anomaly)
		}
	}
}

// compareDuplicates compares the records whose identity occurs again. That is a
// second pass over the set; where no identity occurs again, nothing is read.
func (sc *setScan) compareDuplicates(ctx context.Context) (n int64, limits []string, err error) {
	if sc.identities == nil {
		return 0, nil, nil
	}
	repeated := sc.identities.Repeated()
	for _, f := range sc.set.files {
		if repeated.None() {
			break
		}
		if err := sc.compareFile(ctx, f, repeated); err != nil {
			return 0, nil, err
		}
	}
	n, limits = repeated.Result()
	return n, limits, nil
}

// compareFile compares the records of one file.
func (sc *setScan) compareFile(ctx context.Context, f *pinnedFile, repeated *judge.Repeated) error {
	var (
		rec papyra.Record
		r   = lines.NewForward(disk.Interruptible(ctx, sc.disk), f.f, f.size)
	)
	for n := int64(1); ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l, err := r.Next()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !errors.Is(err, io.EOF) && sc.readable { // otherwise the first pass has reported it
				sc.readable = false
				sc.findings.Damage(unreadable(f, r.Offset(), f.size, err))
			}
			return nil
		}
		if verdict, _ := judgeLine(&rec, &l, false); verdict == judge.Valid && repeated.Conflict(&rec) {
			sc.findings.Notice(papyra.Anomaly{
				Class: papyra.NoticeConflict, File: f.text, Line: n, Offset: l.Offset, Length: l.Length,
				Detail: judge.ConflictDetail(&rec),
			})
		}
	}
}

// errorText returns the text of an error that may name a file.
func errorText(err error) string { return escape.ValidName(err.Error()) }

// systemError returns the text of a system call's error without the name of the
// file, which stands beside it.
func systemError(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
