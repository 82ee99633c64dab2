package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset"
)

// queue says what a segment holds.
type queue uint8

const (
	reports queue = iota // drained first
	records
	refusedReports // of streams that the store refuses while it takes others
	refusedRecords
	queues
)

var queueNames = [queues]string{"reports", "records", "refused-reports", "refused-records"}

// isRefused reports whether the queue is one of refused streams.
func (q queue) isRefused() bool { return q >= refusedReports }

// asRefused returns the queue of refused streams for what is in a queue.
func (q queue) asRefused() queue {
	switch q {
	case reports:
		return refusedReports
	case records:
		return refusedRecords
	}
	return q
}

const (
	// segmentBytes bounds a segment.
	segmentBytes = 8 << 20
	// extension ends the name of each file of records in the directory.
	extension = ".ndjson"
	// asidePrefix begins the name of a segment that holds damage and is drained.
	asidePrefix = "damaged-"
	// numberDigits is how many digits the number of a segment has at least.
	numberDigits = 12
)

// segment is one file of what waits. Its fields are guarded by Spool.mu, but for path
// and number, which do not change, and those of the drain.
type segment struct {
	of     queue // a records segment may become a refused one, and keeps its name
	number uint64
	path   string
	since  time.Time // when it was begun

	size     int64 // bytes of its lines
	lines    int   // records in it
	done     int   // of these, stored already
	examined bool  // lines and numbers are known
	numbers  numbers

	// The drain's own.
	damaged  bool // it holds what is no record: it is set aside, not removed
	reported bool // that damage
	reads    int  // that failed in a row
	// skip says of each stream how many of its lines, from the first, are stored
	// already. Only a refused segment has it.
	skip map[papyra.Stream]int
	// streams are the lines of each stream. Only a refused segment has them. Guarded by
	// Spool.mu.
	streams map[papyra.Stream]int
}

// name returns the file name of a segment.
func (q queue) name(number uint64) string {
	return fmt.Sprintf("%s-%0*d%s", queueNames[q], numberDigits, number, extension)
}

// parseName reads a segment's file name.
func parseName(base string) (q queue, number uint64, ok bool) {
	for q = range queues {
		digits, found := strings.CutPrefix(base, queueNames[q]+"-")
		if !found {
			continue
		}
		digits, found = strings.CutSuffix(digits, extension)
		number, err := strconv.ParseUint(digits, 10, 64)
		return q, number, found && err == nil && q.name(number) == base
	}
	return 0, 0, false
}

// store opens the file as a store.
func (s *Spool) store(path string) (*fileset.Store, error) {
	sync := fileset.SyncInterval
	if s.config.SyncEach {
		sync = fileset.SyncBatch
	}
	return fileset.Open(fileset.Config{Path: path, URL: "json:" + escape.EncodeName(path), Sync: sync, Now: s.config.Now, Disk: s.disk})
}

// list finds the segments of an earlier start.
func (s *Spool) list() error {
	entries, err := os.ReadDir(s.config.Dir)
	if err != nil {
		return &papyra.StoreError{Op: "list the spool", Path: s.config.Dir, Offset: -1, Err: err}
	}
	for _, entry := range entries {
		base, aside := strings.CutPrefix(entry.Name(), asidePrefix)
		q, number, ok := parseName(base)
		if !ok {
			continue
		}
		s.number = max(s.number, number)
		info, err := entry.Info()
		if aside || err != nil || !info.Mode().IsRegular() {
			if aside {
				s.aside++
			} else if err == nil {
				s.log.Error("the spool has something that is no file in the place of a segment: it is passed over", "file", base, "kind", info.Mode().Type().String())
			}
			continue
		}
		path := filepath.Join(s.config.Dir, base)
		s.queues[q] = append(s.queues[q], &segment{of: q, number: number, path: path, size: info.Size(), since: born(path, info)})
	}
	for q := range s.queues {
		slices.SortFunc(s.queues[q], func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	}
	return nil
}

// born returns when a file was made, as far as the file system says, otherwise when it
// was written last.
func born(path string, info fs.FileInfo) time.Time {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st); err == nil && st.Mask&unix.STATX_BTIME != 0 {
		return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
	}
	return info.ModTime()
}

// openSegment is a segment that is written.
type openSegment struct {
	*segment
	store    *fileset.Store
	appender papyra.Appender
	dirty    bool
}

// begin makes a segment. The caller holds turn.
func (s *Spool) begin(q queue) (*openSegment, error) {
	number := s.number + 1
	path := filepath.Join(s.config.Dir, q.name(number))
	store, err := s.store(path)
	if err != nil {
		return nil, err
	}
	a, err := store.Appender(context.Background())
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	s.number = number
	o := &openSegment{
		segment: &segment{of: q, number: number, path: path, since: s.config.Now(), examined: true},
		store:   store, appender: a,
	}
	s.mu.Lock()
	s.queues[q] = append(s.queues[q], o.segment)
	s.mu.Unlock()
	s.open[q] = o
	return o, nil
}

// seal ends the segment of a queue that is written: nothing is appended to it any
// more. The caller holds turn. After an error it is sealed all the same, and what was
// appended since the last sync may not survive a power cut.
func (s *Spool) seal(q queue) error {
	o := s.open[q]
	if o == nil {
		return nil
	}
	s.open[q] = nil
	return errors.Join(o.appender.Close(), o.store.Close())
}

// fill appends the lines of a batch that belong to a queue, in order, and notes which
// are taken. It stops at the first line that is not. The caller holds turn.
func (s *Spool) fill(q queue, b *papyra.Batch, mine func(line int) bool, taken []bool) error {
	s.part.Reset()
	s.places = s.places[:0]
	room := 0
	flush := func() error {
		if s.part.Len() == 0 {
			return nil
		}
		o := s.open[q]
		n, err := o.appender.Append(context.Background(), &s.part)
		o.dirty = o.dirty || n > 0
		s.noteSpooled(o.segment, n)
		for _, line := range s.places[:n] {
			taken[line] = true
		}
		s.part.Reset()
		s.places = s.places[:0]
		if err != nil && o.size > 0 && !noRoom(err) {
			// Another file may still take lines; this one waits like any other.
			if serr := s.seal(q); serr != nil {
				s.log.Error("a segment of the spool could not be synced", "file", o.path, "error", serr)
			}
		}
		return err
	}
	for i := range b.Len() {
		if !mine(i) {
			continue
		}
		line, stream := b.Line(i)
		n := len(line) + 1
		if s.part.Len() == 0 || n > room {
			if err := flush(); err != nil {
				return err
			}
			var err error
			if room, err = s.roomFor(q, n); err != nil {
				return err
			}
		}
		s.part.Append(s.part.StreamIndex(stream), line)
		s.places = append(s.places, i)
		room -= n
	}
	return flush()
}

// noRoom reports whether another file would not take more either.
func noRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// roomFor makes room for n bytes in the segment that is written, and returns how many
// bytes it may take now.
func (s *Spool) roomFor(q queue, n int) (int, error) {
	bound := s.boundRoom(q)
	if bound < n {
		return 0, fmt.Errorf("its bound of %d bytes is reached", s.config.MaxBytes)
	}
	o := s.open[q]
	if o != nil && o.size > 0 && o.size+int64(n) > int64(s.segmentBytes) {
		// Synced first, so that a sync that fails leaves the file open: it keeps what
		// it must write again.
		if err := o.appender.Sync(context.Background()); err != nil {
			return 0, err
		}
		if err := s.seal(q); err != nil {
			s.log.Error("a segment of the spool could not be closed", "file", o.path, "error", err)
		}
		o = nil
	}
	if o == nil {
		var err error
		if o, err = s.begin(q); err != nil {
			return 0, err
		}
	}
	return min(bound, max(s.segmentBytes-int(o.size), n)), nil
}

// boundRoom returns how many bytes the bound leaves for a queue. What moves from one
// segment to a refused one is not bounded: its room comes back at once.
func (s *Spool) boundRoom(q queue) int {
	if s.moving {
		return math.MaxInt
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.bytesLocked()
	if q == reports || q == refusedReports {
		return int(s.config.MaxBytes - all)
	}
	// Reports have a reserve, and what they take of the rest the others lack.
	return int(min(s.config.MaxBytes-s.config.MaxBytes/reserveShare-s.bytes[records]-s.bytes[refusedRecords], s.config.MaxBytes-all))
}

// noteSpooled counts the first n lines of part, which stand in a segment.
func (s *Spool) noteSpooled(seg *segment, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		line, stream := s.part.Line(i)
		if papyra.SealedIdentity(&s.rec, line) {
			seg.numbers.addRecord(&s.rec)
		}
		if seg.of.isRefused() {
			seg.addStream(stream)
			s.blocked[stream]++
		}
	}
	size := int64(s.part.End(n))
	seg.size += size
	seg.lines += n
	s.bytes[seg.of] += size
	s.spooled += uint64(n)
}

// addStream counts a line of a stream. The caller holds mu.
func (seg *segment) addStream(stream papyra.Stream) {
	if seg.streams == nil {
		seg.streams = map[papyra.Stream]int{}
	}
	seg.streams[stream]++
}

// leftLocked returns how many lines of a refused segment are not stored yet, without
// those of some streams. The caller holds mu.
func (seg *segment) leftLocked(without map[papyra.Stream]bool) (n int) {
	for stream, all := range seg.streams {
		if !without[stream] {
			n += all - seg.skip[stream]
		}
	}
	return n
}

// load reads the lines of a segment that are to be stored, and notes what is in it.
// What cannot be read, and what is no record, stays in the file, which is then damaged.
func (s *Spool) load(ctx context.Context, seg *segment) (*papyra.Batch, error) {
	store, err := s.store(seg.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // it was read only, or its appender is closed
	s.mu.Lock()
	known := seg.examined
	s.mu.Unlock()
	if !known {
		s.heal(ctx, seg, store)
	}
	b := &papyra.Batch{}
	var found numbers
	all := 0
	skip := maps.Clone(seg.skip)
	damaged, err := store.Read(ctx, papyra.Query{Duplicates: true}, func(rec *papyra.Record, _ papyra.Place) error {
		if rec.Kind == papyra.KindUnknown {
			seg.damaged = true // of a newer version: there is no stream for it
			return nil
		}
		all++
		found.addRecord(rec)
		stream := rec.Stream()
		if skip[stream] > 0 {
			skip[stream]--
			return nil
		}
		b.Append(b.StreamIndex(stream), rec.Line)
		return nil
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(err, papyra.ErrNotFound) {
		s.log.Error("a segment of the spool is gone: somebody took it away", "file", seg.path)
		err = nil
	}
	if seg.reads++; err != nil && seg.reads < maxReads {
		return nil, segmentError{err} // it may pass
	}
	if err != nil {
		s.log.Error("a part of a segment of the spool cannot be read: the file is set aside", "file", seg.path, "error", err)
	}
	seg.reads = 0
	seg.damaged = seg.damaged || damaged > 0 || err != nil
	if seg.damaged && !seg.reported {
		s.reportDamage(ctx, seg, store)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !seg.examined {
		seg.examined, seg.lines, seg.numbers = true, all, found
		if seg.of.isRefused() {
			seg.streams = countLines(b)
			for stream, n := range seg.streams {
				s.blocked[stream] += n
			}
		}
	}
	return b, nil
}

// maxReads is how often a segment is read that cannot be read in full.
const maxReads = 5

// segmentError is an error of a segment, not of the store.
type segmentError struct{ error }

func (e segmentError) Unwrap() error { return e.error }

// remove takes a segment away all of whose lines are stored and synced. One that holds
// damage gets another name. It returns papyra.ErrBusy while a tool works on the file.
func (s *Spool) remove(seg *segment) error {
	store, err := s.store(seg.path)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // it was read only, or its appender is closed
	// The lock keeps a tool away that would put another file in its place.
	lock, err := store.Appender(context.Background())
	if errors.Is(err, papyra.ErrBusy) {
		return segmentError{err}
	}
	base := filepath.Base(seg.path)
	if seg.damaged {
		err = s.disk.Move(seg.path, filepath.Join(s.config.Dir, asidePrefix+base))
	} else {
		err = s.disk.Remove(seg.path)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = s.disk.Remove(filepath.Join(s.config.Dir, "."+base+".lock"))
	}
	if lock != nil {
		_ = lock.Close() // the file is gone, or it says nothing new
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("a segment of the spool is stored and cannot be taken away: the next start stores its records a second time", "file", seg.path, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.damaged {
		s.aside++
	}
	s.leaveQueueLocked(seg)
	return nil
}

// leaveQueueLocked takes a segment out of its queue. The caller holds mu.
func (s *Spool) leaveQueueLocked(seg *segment) {
	s.queues[seg.of] = slices.DeleteFunc(s.queues[seg.of], func(other *segment) bool { return other == seg })
	s.bytes[seg.of] -= seg.size
}
