package sink

import (
	"cmp"
	"slices"
	"sync"

	"github.com/papyra/papyra"
)

const (
	// maxDropKeys bounds what is remembered between two reports, whatever runs
	// the records claim. Beyond it drops are counted for their category only.
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
}

// dropKey is what the drops of an entry have in common.
type dropKey struct {
	reason papyra.DropReason
	stream papyra.Stream
	run    string // "": the records carried no run, or too many runs are remembered
}

type dropEntry struct {
	n      uint64
	known  bool // the records are of one run, so that their numbers mean something
	ranges []papyra.Range
	others papyra.Range // the lowest and highest number that found no place in ranges
}

// addDrops remembers lines of one stream that were dropped for one reason.
func (l *dropLedger) addDrops(reason papyra.DropReason, stream papyra.Stream, lines []acceptedLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range lines {
		l.entryFor(reason, stream, lines[i].run).addNumber(lines[i].seq)
	}
}

// addDrop remembers one dropped record. An empty run means that it carried none.
func (l *dropLedger) addDrop(reason papyra.DropReason, stream papyra.Stream, run []byte, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entryFor(reason, stream, run).addNumber(seq)
}

// entryFor returns the entry of a drop. When too many are remembered, it is the
// one of the drop's category. The caller holds the lock.
func (l *dropLedger) entryFor(reason papyra.DropReason, stream papyra.Stream, run []byte) *dropEntry {
	if e := l.entries[dropKey{reason, stream, string(run)}]; e != nil {
		return e
	}
	key := dropKey{reason, stream, string(run)}
	if len(l.entries) >= maxDropKeys {
		key = dropKey{reason: reason, stream: papyra.Stream{Kind: stream.Kind}}
	}
	e := l.entries[key]
	if e == nil {
		if l.entries == nil {
			l.entries = map[dropKey]*dropEntry{}
		}
		e = &dropEntry{known: key.run != ""}
		l.entries[key] = e
	}
	return e
}

// addNumber counts a drop and joins its number to a range.
func (e *dropEntry) addNumber(seq uint64) {
	e.n++
	if !e.known {
		return
	}
	if last := len(e.ranges) - 1; last >= 0 && e.ranges[last][1]+1 == seq {
		e.ranges[last][1] = seq
	} else if len(e.ranges) < maxDropRanges {
		e.ranges = append(e.ranges, papyra.Range{seq, seq})
	} else {
		if e.others[0] == 0 {
			e.others[0] = seq
		}
		e.others = papyra.Range{min(e.others[0], seq), max(e.others[1], seq)}
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
			Run: k.run, N: e.n, Ranges: e.ranges, Others: e.others,
		})
	}
	clear(l.entries)
	slices.SortFunc(list, func(a, b papyra.SinkDrops) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Category, b.Category),
			cmp.Compare(a.Run, b.Run), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}
