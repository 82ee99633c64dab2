package sink

import (
	"cmp"
	"slices"

	"github.com/papyra/papyra"
)

const (
	// maxDropKeys bounds what is remembered between two reports, whatever runs
	// the records claim. Beyond it drops are counted for their category only.
	maxDropKeys = 1024
	// maxDropRanges bounds the ranges of one run and category between two
	// reports. Beyond it their number and the lowest and highest of them tell.
	maxDropRanges = 128
)

// ledger remembers what was dropped since the last report. Its owner's mutex
// guards it.
type ledger struct {
	entries map[dropKey]*dropEntry
}

type dropKey struct {
	reason papyra.DropReason
	stream papyra.Stream
	run    string
}

type dropEntry struct {
	n      uint64
	known  bool // of one run: its numbers mean something
	ranges []papyra.Range
	others papyra.Range // the lowest and highest number that found no place in ranges
}

// add notes one dropped record. An empty run means that it carried none.
func (l *ledger) add(reason papyra.DropReason, stream papyra.Stream, run []byte, seq uint64) {
	e := l.entries[dropKey{reason, stream, string(run)}]
	if e == nil {
		key := dropKey{reason, stream, string(run)}
		if len(l.entries) >= maxDropKeys {
			key = dropKey{reason: reason, stream: papyra.Stream{Kind: stream.Kind}}
		}
		e = l.open(key)
	}
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

func (l *ledger) open(key dropKey) *dropEntry {
	if e := l.entries[key]; e != nil {
		return e
	}
	if l.entries == nil {
		l.entries = map[dropKey]*dropEntry{}
	}
	e := &dropEntry{known: key.run != ""}
	l.entries[key] = e
	return e
}

// take returns what was dropped since the last take, in a fixed order.
func (l *ledger) take() []papyra.SinkDrops {
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
