package sink

import "github.com/papyra/papyra"

const (
	// reserveShare is the part of the buffer that publishers' reports may take
	// beyond it: one in so many bytes.
	reserveShare = 8
	// systemShare is the largest part of the reserve that one system may take.
	systemShare = 16
)

// reportReserve is the room that publishers' reports have when the buffer is full:
// a report explains what else was lost, and its publisher keeps none that is
// confirmed. A system gets no more than a share of it, and no more than half of
// what the other systems leave, so that one which floods leaves room for those that
// come later. What does not fit is dropped like any record.
//
// What is taken counts until the buffer is below its own limit again. It has no
// lock: the buffer that owns it has one.
type reportReserve struct {
	size  int
	taken int
	bySys map[string]int // bytes that each system took
}

// take reports whether a line of n bytes gets room, and takes it.
func (r *reportReserve) take(stream papyra.Stream, n int) bool {
	if stream.Kind != papyra.KindReport {
		return false
	}
	own := r.bySys[stream.System]
	left := r.size - (r.taken - own) // by the others
	if own+n > min(r.size/systemShare, left/2) {
		return false
	}
	if r.bySys == nil {
		r.bySys = map[string]int{}
	}
	r.bySys[stream.System] = own + n
	r.taken += n
	return true
}

// giveBack empties the reserve, when the buffer has room of its own again.
func (r *reportReserve) giveBack() {
	if r.taken > 0 {
		clear(r.bySys)
		r.taken = 0
	}
}
