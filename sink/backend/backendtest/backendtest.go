// Package backendtest is the conformance suite of stores: every law that makes
// one backend as good as another. A backend, also one of a third party, passes
// when [Exercise] does. integration/thirdparty shows a whole one.
//
// What the suite cannot do on a medium that it does not know is left to the
// backend's own tests:
//   - a crash or a power cut at any moment of an append, a recovery or a
//     compaction, and what the next one makes of it;
//   - a store that does not exist (papyra.ErrNotFound), a part of it that cannot be
//     read (papyra.ErrIncomplete), somebody who writes without the lock
//     (papyra.ErrForeignWriter);
//   - the account after an act: package account tells whether the reports say
//     enough.
package backendtest

import (
	"context"
	"testing"

	"github.com/papyra/papyra"
)

// Medium is one empty store under test and the way around its backend.
type Medium struct {
	// Open returns another backend on the same store, which need not exist yet. The
	// suite closes it.
	Open func(t testing.TB) papyra.Store

	// Plant stores a line as it is, behind the others, while no appender is open.
	// The line has no newline, is no record, and has up to papyra.MaxStoredLine bytes. An
	// appender was open before.
	Plant func(t testing.TB, line []byte)

	// Shared says that several backends may append to the store at a time, as
	// servers let them that many sinks share. The laws about papyra.ErrBusy then
	// hold between the callers of one backend only, and others are shown that
	// appends and acts of different backends do each other no harm.
	Shared bool

	// Refuse makes the store refuse the lines of one stream, of which it holds none,
	// until allow is called. It is nil for a store whose streams cannot fail alone, as
	// those in a file.
	Refuse func(t testing.TB, s papyra.Stream) (allow func())

	// Quarantined returns what a recovery moved away, in the order of its places in
	// the store, without newlines.
	Quarantined func(t testing.TB, r *papyra.RecoverReport) [][]byte
}

// Factory makes an empty store that lives as long as t. It is called once for
// each law, and [Random] calls it a hundred times with one t.
type Factory func(t testing.TB) Medium

// Exercise runs the suite: [Laws] and [Random].
func Exercise(t *testing.T, factory Factory) {
	Laws(t, factory)
	t.Run("random operations against a model", func(t *testing.T) { Random(t, factory) })
}

// Unended tries that a compaction without an end is ended by the next act. A store
// that shares package maintain does so; it is no law, since a store that does
// nothing of the kind is right too: then the announcement explains.
func Unended(t *testing.T, factory Factory) {
	for _, next := range []string{nextCompact, nextNothing, nextRecover} {
		t.Run(next, func(t *testing.T) { endsOthers(t, factory(t), next) })
	}
}

// Laws tries each law on a store of its own. It is enough for a second
// configuration of a backend that passes [Exercise].
func Laws(t *testing.T, factory Factory) {
	laws := []struct {
		name string
		law  func(*testing.T, Medium)
	}{
		{"append order and bytes", appendOrder},
		{"nothing appended", appendNothing},
		{"a batch can be used again", batchReused},
		{"reopened store continues", reopened},
		{"one appender at a time", busy},
		{"closed", closed},
		{"cancelled", cancelled},
		{"a stream that is refused", streamRefused},
		{"filters before limits", queries},
		{"yield's error is passed on", yieldError},
		{"duplicates are shown once", duplicates},
		{"lines of megabytes", longLines},
		{"retention of each stream", retention},
		{"records without a date", undatedRecords},
		{"compact keeps the view", compactKeepsView},
		{"compact tells what it removes", compactReports},
		{"compact tells whose it removes", compactTellsSystems},
		{"compact keeps what the account needs", compactKeepsReports},
		{"compact without limits", compactUsage},
		{"compact removes duplicates", compactDuplicates},
		{"compact of duplicates takes from no view", compactDuplicatesKeepsViews},
		{"compact of duplicates and by limits", compactDuplicatesByLimits},
		{"compact of duplicates tells what it removes", compactDuplicatesTells},
		{"compact of duplicates of reports", compactDuplicatesOfReports},
		{"compact leaves damage", compactLeavesDamage},
		{"appends go on during compact", compactDuringAppends},
		{"scan names every damage and changes nothing", scanFinds},
		{"full scan finds duplicates and conflicts", scanFull},
		{"lines that the Python implementation rewrote", rewrittenLines},
		{"recover conserves", recoverConserves},
		{"recover with nothing to do", recoverNothing},
		{"recover asks for approval", recoverApproved},
		{"compact asks for approval", compactApproved},
		{"quarantine is shown", quarantineShown},
		{"quarantine is put back", quarantineRestored},
		{"dry runs change nothing", dryRuns},
		{"examine changes nothing", examineChangesNothing},
		{"somebody else's appender", busyActs},
	}
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) { l.law(t, factory(t)) })
	}
}

// open opens a backend that is closed with the test.
func open(t testing.TB, m Medium) papyra.Store {
	t.Helper()
	b := m.Open(t)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close backend: %v", err)
		}
	})
	return b
}

// appender opens an appender.
func appender(t testing.TB, b papyra.Store) papyra.Appender {
	t.Helper()
	a, err := b.Appender(context.Background())
	if err != nil {
		t.Fatalf("open appender: %v", err)
	}
	return a
}

// store appends lines through an appender of its own.
func store(t testing.TB, b papyra.Store, batch *papyra.Batch) {
	t.Helper()
	a := appender(t, b)
	appendAll(t, a, batch)
	if err := a.Close(); err != nil {
		t.Fatalf("close appender: %v", err)
	}
}

func closeAppender(t testing.TB, a papyra.Appender) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Errorf("close appender: %v", err)
	}
}

func appendAll(t testing.TB, a papyra.Appender, batch *papyra.Batch) {
	t.Helper()
	if n, err := a.Append(context.Background(), batch); n != batch.Len() || err != nil {
		t.Fatalf("append %d lines: stored %d, error %v", batch.Len(), n, err)
	}
}

// read returns the lines that a query chooses, by stream.
func read(t testing.TB, b papyra.Store, q papyra.Query) map[papyra.Stream][]string {
	t.Helper()
	out := map[papyra.Stream][]string{}
	_, err := b.Read(context.Background(), q, func(r *papyra.Record, _ papyra.Place) error {
		out[r.Stream()] = append(out[r.Stream()], string(r.Line))
		return nil
	})
	if err != nil {
		t.Fatalf("read %+v: %v", q, err)
	}
	return out
}

// users returns read's result without the reports that the acts write.
func users(lines map[papyra.Stream][]string) map[papyra.Stream][]string {
	delete(lines, papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport})
	return lines
}

// list returns the lines that a query chooses from a store with one stream.
func list(t testing.TB, b papyra.Store, q papyra.Query) []string {
	t.Helper()
	lines := users(read(t, b, q))
	if len(lines) > 1 {
		t.Fatalf("read %+v: %d streams, want one", q, len(lines))
	}
	for _, l := range lines {
		return l
	}
	return nil
}

func scanStore(t testing.TB, b papyra.Store, o papyra.ScanOptions) *papyra.ScanReport {
	t.Helper()
	r, err := b.Scan(context.Background(), o)
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return r
}

func text(lines [][]byte) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = string(l)
	}
	return out
}
