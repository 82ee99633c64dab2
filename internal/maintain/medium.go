package maintain

import (
	"context"
	"errors"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
)

// Medium is what a store lies on: files, streams of a server, memory. With it a
// store gets [Read], [Compact] and [Recover].
type Medium interface {
	// URL names the store for people and reports.
	URL() string
	// Now is the store's clock.
	Now() time.Time
	// Life is the store's life.
	Life() *Life
	// Pin fixes the store as it is now, for what purpose says. ctx bounds all that
	// is done with the result. papyra.ErrNotFound if the store does not exist.
	Pin(ctx context.Context, purpose Purpose) (Held, error)
}

// Purpose is what a store is pinned for.
type Purpose struct {
	// Query is which records will be read; what cannot hold one of them need not be
	// pinned. Nil means all.
	Query *papyra.Query
	// Act says that every line counts: a line that cannot be read is an error of
	// the visit, instead of a part that Incomplete names.
	Act bool
	// Change says that the store will be changed: it is held against others until
	// Release, papyra.ErrBusy if somebody else holds it.
	Change bool
}

// Line is a stored line during a visit. It is valid until the visit ends.
type Line interface {
	// Judge says what the line is, and fills rec if it is a record; full is that of
	// judge.Line.
	Judge(rec *papyra.Record, full bool) (judge.Verdict, *papyra.LineError)
	// Size is its length in bytes, with the newline that it has or should have.
	Size() int64
	// Place is where it lies.
	Place() papyra.Place
	// Unfinished reports whether it is the end of a file to which somebody else may
	// be writing: then it is no damage yet.
	Unfinished() bool
}

// Part is what an act removes for one reason. A store keeps the parts apart.
type Part int

// The parts of a compaction.
const (
	Expired Part = iota // outside the view
	Copies              // exact duplicates
	PartCount
)

// Marks are lines that a visit has marked. They are of the medium's own type.
type Marks any

// Visit is shown a line. It says whether the line is to be marked; an error ends
// the visits after that, and is returned as it is.
type Visit func(l Line) (mark bool, err error)

// Pinned is a store as it was at one moment. It is not safe for concurrent use.
type Pinned interface {
	// Size is how many bytes Backward reads; negative if that is not known, and then
	// lines is how many lines.
	Size() (bytes, lines int64)

	// NewMarks returns marks that are empty.
	NewMarks() Marks

	// Backward visits the lines from the newest to the oldest. With marks it leaves
	// out those that are marked already, and marks for part those that visit says.
	Backward(marks Marks, part Part, visit Visit) error

	// Forward visits the lines from the oldest to the newest; with marks, only the
	// marked ones. What visit says of marks is ignored.
	Forward(marks Marks, visit Visit) error

	// Incomplete returns an error that wraps papyra.ErrIncomplete if a part of the
	// store could not be read up to now; op is what was tried.
	Incomplete(op string) error

	// Release ends the use of the store.
	Release()
}

// Held is what Pin returns: a pinned store that an act may change if it was pinned
// for that.
type Held interface {
	Pinned

	// Alone reports whether nobody else can act on the store before Release.
	Alone() bool

	// Scan scans what is pinned, in full. It shows every report to see, one after the
	// other, in no certain order.
	Scan(o papyra.ScanOptions, see func(*papyra.Record)) (*papyra.ScanReport, error)
	// ScanAgain scans the store as it is now, after it was changed.
	ScanAgain(o papyra.ScanOptions) (*papyra.ScanReport, error)

	// Announce appends reports, lines with their newlines, to the store and makes
	// them durable.
	Announce(lines ...[]byte) error

	// EndLines ends the last line of each file with a newline where it has none, or
	// with dryRun only counts these files. A medium without files has none.
	EndLines(dryRun bool) (files int64, err error)

	// TouchedGroups returns the consumer groups that lose entries when a part of the
	// marked lines goes.
	TouchedGroups(marks Marks, part Part) ([]papyra.RemovedGroup, error)

	// Prepare does, before the announcement, of Remove what is likely to fail and changes
	// nothing of the store: on files it writes and syncs the first new file. An error
	// ends the act, of which nothing is stored then. What was prepared goes with Release.
	Prepare(marks Marks, advance func(bytes int64)) error

	// Remove removes the marked lines, part by part or all at once, so that each
	// moment leaves a valid store. It calls advance with the bytes that it has
	// worked on, and returns the longest time for which appends waited. After an
	// error changed says whether anything may be gone.
	Remove(marks Marks, advance func(bytes int64)) (pause time.Duration, changed bool, err error)

	// VisitLeft visits, after a Remove that failed, the marked lines of a part that
	// are still in the store.
	VisitLeft(marks Marks, part Part, visit func(l Line)) error

	// Reserve keeps room for so many bytes of reports free, so that an act which
	// begins on a nearly full disk can also say how it ended. shrink lets room go up
	// to so many bytes; with 0 the reserve ends. A medium without such a bound
	// reserves nothing.
	Reserve(bytes int64) (shrink func(to int64), err error)

	// Under returns the same pinned store under another context, in order to end an
	// act whose own context has ended.
	Under(ctx context.Context) Held

	// Salvage, after a full Scan, finds the damage and, unless o.DryRun is set, brings what must be safe
	// before anything is removed into the quarantine of the act id. It changes nothing
	// else. Nothing of its work is left after an error.
	Salvage(id string, o papyra.RecoverOptions, advance func(bytes int64)) (Salvage, error)
}

// Salvage is the damage of a store on its way into quarantine.
type Salvage interface {
	// Removal is what goes.
	Removal() *Removal
	// Quarantine is where it goes.
	Quarantine() string
	// Prepare is that of Held.
	Prepare() error
	// Move takes the damage out of the store. It may be interrupted at any moment:
	// every byte is then in the store, in quarantine, or in both. After an error
	// moved is what is known to be gone from the store.
	Move() (moved Removal, err error)
	// Close ends the salvage, after Move or instead of it.
	Close()
}

// errEnough ends visits when everything that is wanted was found.
var errEnough = errors.New("enough")

// checkEvery is after how many lines a visit looks whether it has to end.
const checkEvery = 1024

// progress tells how far the work has come, about every megabyte and every
// checkEvery lines.
type progress struct {
	tell        papyra.Progress
	size, lines int64 // of one pass; size is negative if it is not known
	passes      int64

	done, seen int64 // bytes and lines, of all passes
	told       int64 // bytes when it was told last
}

func newProgress(tell papyra.Progress, p Pinned, passes int64) *progress {
	size, lines := p.Size()
	return &progress{tell: tell, size: size, lines: lines, passes: passes}
}

// total is the bytes of all passes, estimated from the lines that were seen
// where the store does not know its size.
func (p *progress) total() int64 {
	if p.size >= 0 {
		return max(p.passes*p.size, p.done)
	}
	if p.seen == 0 {
		return p.done
	}
	mean := float64(p.done) / float64(p.seen)
	return int64(mean * float64(max(p.passes*p.lines, p.seen)))
}

// addLine notes a line that was looked at.
func (p *progress) addLine(size int64) {
	p.seen++
	p.addBytes(size)
}

// addBytes notes bytes that were worked on.
func (p *progress) addBytes(n int64) {
	p.done += n
	if p.tell != nil && (p.done-p.told >= 1<<20 || p.seen%checkEvery == 0) {
		p.told = p.done
		p.tell(p.done, p.total())
	}
}

// finish tells that everything is done.
func (p *progress) finish() {
	if p.tell != nil {
		total := p.total()
		p.tell(total, total)
	}
}
