package fileset

import (
	"context"

	"github.com/papyra/papyra/internal/fileset/disk"
)

// dropReader reads the first file that the next rotation drops, in step with what
// the writer appends, so that no append reads all of it.
type dropReader struct {
	looked bool       // for the file that goes next
	next   *departure // of that file, opened; nil if none goes, or if it could not be read
	from   int64      // size of the active file when it began
}

// startAnew looks for the file that goes next at the next append.
func (r *dropReader) startAnew() {
	r.giveUp()
	r.looked = false
}

// giveUp leaves the whole file to the rotation.
func (r *dropReader) giveUp() {
	if r.next != nil {
		r.next.closeFile()
		r.next = nil
	}
}

// noteReplaced notes that f has left the set because another file has its name.
func (r *dropReader) noteReplaced(f *pinnedFile) {
	if r.next != nil && r.next.content.isFile(f.dev, f.ino) {
		r.startAnew()
	}
}

// takeDeparture hands over the departure of m as far as it is read, or returns nil
// if another file was read, or if m has changed since.
func (r *dropReader) takeDeparture(m listedFile) *departure {
	d := r.next
	if d == nil || !d.content.isUnchanged(m) {
		return nil
	}
	r.next = nil
	return d
}

// readAhead reads as much of the file that goes next as the active file has come
// nearer to its bound. An error does not fail the append: the rotation meets it
// again and says so.
func (w *writer) readAhead(ctx context.Context) {
	s, r := w.s, &w.ahead
	if !s.rotates() || ctx.Err() != nil {
		return
	}
	size := w.active.size
	if !r.looked {
		r.looked, r.from = true, size
		if plan, byNumber, err := s.planRotation(); err == nil && plan.place > 0 && len(plan.drop) > 0 {
			r.next, _ = s.openDeparture(byNumber[plan.drop[0]])
		}
	}
	if r.next == nil {
		return
	}
	content := r.next.content
	left := float64(s.maxBytes-size) / float64(max(s.maxBytes-r.from, 1))
	if err := content.readBack(disk.Interruptible(ctx, s.disk), int64(left*float64(content.size))); err != nil {
		r.giveUp()
	}
}
