package publisher

import "github.com/papyra/papyra"

// The reasons for which a publisher drops a record, as indices.
const (
	dropQueueFull = iota
	dropTooLarge
	dropEncode
	dropClosed
	dropReasons
)

var dropNames = [dropReasons]papyra.DropReason{
	dropQueueFull: papyra.DropQueueFull,
	dropTooLarge:  papyra.DropTooLarge,
	dropEncode:    papyra.DropEncode,
	dropClosed:    papyra.DropClosed,
}

// maxRanges bounds the ranges of one reason in one report; beyond it only the
// number tells.
const maxRanges = 128

// dropLog counts the records of a category that were dropped for one reason,
// and which ones since the last report. Its memory is bounded and taken at the
// start, because the caller's side writes into it.
type dropLog struct {
	n      uint64
	ranges []papyra.Range // since the last report, at most maxRanges
}

func newDropLog() dropLog {
	return dropLog{ranges: make([]papyra.Range, 0, maxRanges)}
}

// add counts one record. Neighbours become one range.
func (d *dropLog) add(seq uint64) {
	d.n++
	if last := len(d.ranges) - 1; last >= 0 && d.ranges[last][1]+1 == seq {
		d.ranges[last][1] = seq
	} else if len(d.ranges) < maxRanges {
		d.ranges = append(d.ranges, papyra.Range{seq, seq})
	}
}

// report returns the total and the ranges since the last report, which it copies
// into room, and the rest of room.
func (d *dropLog) report(room []papyra.Range) (papyra.Drops, []papyra.Range) {
	if len(d.ranges) == 0 {
		return papyra.Drops{N: d.n}, room
	}
	room = append(room, d.ranges...)
	n := len(d.ranges)
	return papyra.Drops{N: d.n, Ranges: room[:n:n]}, room[n:]
}

// reported forgets the ranges that a report carries, but not what came after
// it was made.
func (d *dropLog) reported(r *papyra.Drops) {
	kept := d.ranges[:0]
	for i, have := range d.ranges {
		if i < len(r.Ranges) {
			// Only the last range of the report can have grown since.
			if have[1] == r.Ranges[i][1] {
				continue
			}
			have[0] = r.Ranges[i][1] + 1
		}
		kept = append(kept, have)
	}
	d.ranges = kept
}
