package sink

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/numset"
)

const (
	// maxDropKeys bounds what is remembered between two reports, whatever runs
	// the records claim. Beyond it drops are counted for their category only.
	//
	// Of these a system gets no more than half of what the others leave, so that one
	// which sends lines of many runs leaves room to name what others lost.
	maxDropKeys = 1024
	// maxDropRanges bounds the ranges of one run and category between two
	// reports. Beyond it a drop is told by their number and by the lowest and the
	// highest of them.
	maxDropRanges = 128
)

// dropLedger remembers which records were dropped since the last report. It is
// safe for concurrent use and takes no other lock under its own.
type dropLedger struct {
	mu      sync.Mutex
	entries map[dropKey]*dropEntry
	bySys   map[string]int // entries of each system
}

// dropKey is what the drops of an entry have in common.
type dropKey struct {
	reason papyra.DropReason
	stream papyra.Stream
	run    string // "": the records carried no run, or too many runs are remembered
}

type dropEntry struct {
	n     uint64
	known bool // the records are of one run, so that their numbers mean something
	named numset.Named
}

// addDrops remembers lines of one stream that were dropped for one reason.
func (l *dropLedger) addDrops(reason papyra.DropReason, stream papyra.Stream, lines []acceptedLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var e *dropEntry
	for i := range lines {
		if e == nil || !bytes.Equal(lines[i].run, lines[i-1].run) {
			e = l.entryFor(reason, stream, lines[i].run)
		}
		e.addNumbers(papyra.Range{lines[i].seq, lines[i].seq})
	}
}

// addDrop remembers one dropped record. An empty run means that it carried none.
func (l *dropLedger) addDrop(reason papyra.DropReason, stream papyra.Stream, run []byte, seq uint64) {
	l.addRange(reason, stream, run, papyra.Range{seq, seq})
}

// addRange remembers the dropped records of a run whose numbers are in a range.
func (l *dropLedger) addRange(reason papyra.DropReason, stream papyra.Stream, run []byte, seqs papyra.Range) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entryFor(reason, stream, run).addNumbers(seqs)
}

// entryFor returns the entry of a drop. When too many are remembered, it is the
// one of the drop's category. The caller holds the lock.
func (l *dropLedger) entryFor(reason papyra.DropReason, stream papyra.Stream, run []byte) *dropEntry {
	if e := l.entries[dropKey{reason, stream, string(run)}]; e != nil {
		return e
	}
	key := dropKey{reason, stream, string(run)}
	own := l.bySys[stream.System]
	if own >= (maxDropKeys-(len(l.entries)-own))/2 {
		key = dropKey{reason: reason, stream: papyra.Stream{Kind: stream.Kind}}
	}
	e := l.entries[key]
	if e == nil {
		if l.entries == nil {
			l.entries, l.bySys = map[dropKey]*dropEntry{}, map[string]int{}
		}
		e = &dropEntry{known: key.run != ""}
		l.entries[key] = e
		l.bySys[key.stream.System]++
	}
	return e
}

// addNumbers counts drops and joins their numbers to a range.
func (e *dropEntry) addNumbers(seqs papyra.Range) {
	e.n += seqs[1] - seqs[0] + 1
	if e.known {
		e.named.Add(seqs, maxDropRanges)
	}
}

// takeDrops returns what was dropped since the last call, in a fixed order.
func (l *dropLedger) takeDrops() []papyra.SinkDrops {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]papyra.SinkDrops, 0, len(l.entries))
	for k, e := range l.entries {
		list = append(list, papyra.SinkDrops{
			Reason: k.reason, System: k.stream.System, Category: k.stream.Kind.Category(),
			Run: k.run, N: e.n, Ranges: e.named.Ranges, Others: e.named.Others,
		})
	}
	clear(l.entries)
	clear(l.bySys)
	slices.SortFunc(list, func(a, b papyra.SinkDrops) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Category, b.Category),
			cmp.Compare(a.Run, b.Run), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}
