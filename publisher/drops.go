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

// maxRanges bounds the ranges of one reason in one report. Records beyond it are
// counted, but their numbers are not named.
const maxRanges = 128

// dropLog counts the records of a category that were dropped for one reason, and
// keeps the numbers of those that no report has named yet. Its memory is bounded
// and is made at the start, because record calls write into it.
type dropLog struct {
	n      uint64
	ranges []papyra.Range // since the last report, at most maxRanges
}

func newDropLog() dropLog {
	return dropLog{ranges: make([]papyra.Range, 0, maxRanges)}
}

// addDrop counts one record.
func (d *dropLog) addDrop(seq uint64) { d.addDropRange(seq, seq) }

// addDropRange counts the records from first to last. Neighbours become one range:
// after 10 to 19, the number 20 makes it 10 to 20.
func (d *dropLog) addDropRange(first, last uint64) {
	d.n += last - first + 1
	if end := len(d.ranges) - 1; end >= 0 && d.ranges[end][1]+1 == first {
		d.ranges[end][1] = last
	} else if len(d.ranges) < maxRanges {
		d.ranges = append(d.ranges, papyra.Range{first, last})
	}
}

// forReport returns the total and the ranges since the last report. It copies the
// ranges into room and returns the rest of room.
func (d *dropLog) forReport(room []papyra.Range) (papyra.Drops, []papyra.Range) {
	if len(d.ranges) == 0 {
		return papyra.Drops{N: d.n}, room
	}
	room = append(room, d.ranges...)
	n := len(d.ranges)
	return papyra.Drops{N: d.n, Ranges: room[:n:n]}, room[n:]
}

// forgetReported forgets the ranges that a report names, but not what was added
// after the report was made. For example, if the report names 10 to 19 and the
// log has 10 to 21 now, then 20 to 21 remain.
func (d *dropLog) forgetReported(r *papyra.Drops) {
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
