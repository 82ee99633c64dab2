package sink

import (
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/spool"
)

// What finds no room is dropped for the spool from the moment on at which that refused
// something, until it takes everything again.
func TestReasonOfWhatFindsNoRoom(t *testing.T) {
	b := newBuffer(1<<20, &dropLedger{})
	stream := papyra.Stream{System: "orders", Kind: papyra.KindEvent}
	if got := b.dropReason(); got != papyra.DropSinkFull {
		t.Errorf("at first: %s", got)
	}
	for _, tt := range []struct {
		err  error
		want papyra.DropReason
	}{{spool.ErrFull, papyra.DropSpoolFull}, {papyra.ErrUnavailable, papyra.DropSinkFull}, {spool.ErrFull, papyra.DropSpoolFull}} {
		refused := &papyra.RefusedError{Streams: []papyra.RefusedStream{{Stream: stream, Err: tt.err}}}
		rest := &block{}
		rest.addLine([]byte("x"), stream, false)
		if b.setAside(rest, refused, 0); b.dropReason() != tt.want {
			t.Errorf("set aside for %v: %s, want %s", tt.err, b.dropReason(), tt.want)
		}
	}
	var try block
	tried := b.nextTry(&try, 1)
	left := &block{}
	b.tryEnded(tried, left, nil, 1)
	if got := b.dropReason(); got != papyra.DropSinkFull {
		t.Errorf("after all were stored: %s", got)
	}
}
