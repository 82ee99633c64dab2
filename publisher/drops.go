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

// add counts one record.
func (d *dropLog) add(seq uint64) { d.addRange(seq, seq) }

// addRange counts the records from first to last. Neighbours become one range.
func (d *dropLog) addRange(first, last uint64) {
	d.n += last - first + 1
	if end := len(d.ranges) - 1; end >= 0 && d.ranges[end][1]+1 == first {
		d.ranges[end][1] = last
	} else if len(d.ranges) < maxRanges {
		d.ranges = append(d.ranges, papyra.Range{first, last})
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
