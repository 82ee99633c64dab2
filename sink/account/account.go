package account

import (
	"hash/maphash"
	"math"
	"time"

	"github.com/papyra/papyra"
)

// The defaults of [Options].
const (
	// DefaultSettle is how long a record may be on its way before its absence
	// counts.
	DefaultSettle = time.Minute
	// DefaultMaxGaps is how many gaps a result lists.
	DefaultMaxGaps = 1000
)

// maxSeq is the highest number that a seal can hold.
const maxSeq = 9_999_999_999_999_999_999

// silence is how long a run may say nothing and still count as live. A
// publisher reports at least every minute, whatever happens: two reports in a
// row were lost, and half a minute more.
const silence = 150 * time.Second

// Options say what is judged and how.
type Options struct {
	// Group is the sink group to judge. Empty means the one group that all
	// stores belong to; when they belong to different ones it must be chosen.
	Group string

	// At is the moment of judgement, which should be taken before the first
	// store is read. With the zero time nothing is pending and no run is open.
	At time.Time

	// Settle is how old a number must be before its absence counts; younger ones
	// are pending. It must exceed the skew between the clocks. Default
	// DefaultSettle; a negative value means that nothing is pending for its age.
	Settle time.Duration

	// Since begins the window that is judged; zero means everything. Numbers of
	// which a report says that they were taken earlier are left out, so that the
	// window begins up to one interval of reports early, never late.
	Since time.Time

	// Gaps asks for a list of the missing ranges with the times around them and
	// their probable cause. It needs a second reading of the stores when there
	// are any.
	Gaps bool

	// MaxGaps bounds that list; the counts are always exact. Default
	// DefaultMaxGaps.
	MaxGaps int

	// Without are the ids of stores that are not missed when a report names them:
	// they are gone for good, or never were. Whoever may answer on the broker can
	// name a store to a sink.
	Without []string

	// System is the one system to judge; empty means every one. Then nothing is said
	// of the others, nor of the pipeline's own reports.
	System string

	// Memory bounds about how many bytes are held of what is stored, with what the
	// result says of it. One system may take a quarter of it; where System names the
	// only one, it may take four times as much as all. Papyra's own reports, and
	// removals that name no system, have half of it each, beside it. A system that
	// needs more is in no row, and the verdict is Incomplete. Default DefaultMemory.
	Memory uint64

	// Stores are the names of the stores for messages, by index.
	Stores []string
}

// Account gathers what the stores of a group say. Feed it all their records
// with Add, then ask Again whether a second reading would tell more, feed them
// to Revisit if so, and take the Result. It does no I/O of its own; [Read] does
// all this for stores. An Account is not safe for concurrent use.
type Account struct {
	o      Options
	cutoff int64 // microseconds; a record that was taken later may still be on its way
	since  int64 // microseconds; the window begins here
	books  []*book
	memory

	judged *judgement // set by Again
	seed   maphash.Seed
}

// New returns an account without any record.
func New(o Options) *Account {
	if o.Settle == 0 {
		o.Settle = DefaultSettle
	}
	if o.MaxGaps <= 0 {
		o.MaxGaps = DefaultMaxGaps
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	a := &Account{o: o, cutoff: math.MaxInt64, since: math.MinInt64, seed: maphash.MakeSeed(), memory: newMemory(&o)}
	if !o.At.IsZero() && o.Settle > 0 {
		a.cutoff = o.At.Add(-o.Settle).UnixMicro()
	}
	if !o.Since.IsZero() {
		a.since = o.Since.UnixMicro()
	}
	for range o.Stores {
		a.book(len(a.books))
	}
	return a
}

// book returns the book of a store.
func (a *Account) book(store int) *book {
	for len(a.books) <= store {
		a.books = append(a.books, newBook(a))
	}
	return a.books[store]
}

// Add enters a record of a store. The stores are numbered from 0; the order of
// the records does not matter. A record that is read twice by mistake counts as
// a duplicate. Nothing of rec is kept.
func (a *Account) Add(store int, rec *papyra.Record) { a.book(store).addRecord(rec) }

// Unread notes what could not be read of a store: how many lines were damaged,
// and the problem with any other part, nil if there is none.
func (a *Account) Unread(store int, damaged int64, problem error) {
	b := a.book(store)
	b.damaged += damaged
	if problem != nil {
		b.problem = problem.Error()
	}
}

// Again ends the first reading. It returns an error that wraps
// [papyra.ErrUsage] when the stores belong to different groups or to another
// one than was asked for. It reports whether a second reading would tell more:
// which repeated numbers are exact duplicates and which conflicts, and, with
// Options.Gaps, the times around the gaps. q is what that reading needs to see.
func (a *Account) Again() (q papyra.Query, again bool, err error) {
	if a.judged != nil {
		return papyra.Query{}, false, nil
	}
	l, err := a.joinBooks()
	if err != nil {
		return papyra.Query{}, false, err
	}
	a.judged = newJudgement(a, l)
	q, again = a.judged.prepareSecond()
	return q, again, nil
}

// Revisit looks at a record again, after Again asked for it. Records that Add
// never saw do no harm.
func (a *Account) Revisit(store int, rec *papyra.Record) {
	if a.judged != nil && store < len(a.books) && a.books[store].chosen {
		a.judged.revisit(rec)
	}
}

// Result returns the account. Without the second reading that Again asked for,
// every repeated number counts as a duplicate and gaps come without times.
func (a *Account) Result() (*Result, error) {
	if _, _, err := a.Again(); err != nil {
		return nil, err
	}
	return a.judged.result(), nil
}
