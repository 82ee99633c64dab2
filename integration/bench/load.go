package main

import (
	"log/slog"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

const (
	benchSystem = "bench"
	benchNode   = "bench-node"
	clientRun   = "0000000000000000" // of the plain client's lines
	// batchBytes is about what a publisher puts into a message under load.
	batchBytes = 16 << 10
)

// moment is the timestamp of every record, so that its digits, and with them the
// number of bytes, are known before.
var moment = time.Unix(1_700_000_000, 123_456_000)

// event is the n-th record: a crash with a short payload, about 260 bytes.
func event(n int) (papyra.Event, [2]slog.Attr) {
	return papyra.Event{Actor: papyra.Address{ID: int64(1000 + n%9000)}, Type: papyra.ActorCrashed},
		[2]slog.Attr{slog.String("error", "dial bank: connection reset by peer"), slog.Int("attempt", 1+n%9)}
}

// load is what the generator sends: sealed lines, alone or in messages.
type load struct {
	lines  []byte // all of them, each with its newline
	single [][]byte
	batch  [][]byte
}

// newLoad encodes n records.
func newLoad(n int) (*load, error) {
	id, err := papyra.NewIdentityRun(benchNode, clientRun)
	if err != nil {
		return nil, err
	}
	l := &load{}
	var e papyra.Encoder
	var ends []int
	for i := range n {
		ev, fields := event(i)
		if err := e.Event(id, benchSystem, &ev, fields[:], moment); err != nil {
			return nil, err
		}
		l.lines = e.AppendLine(l.lines, uint64(i+1))
		ends = append(ends, len(l.lines))
	}
	start, batch := 0, 0
	for i, end := range ends {
		l.single = append(l.single, l.lines[start:end])
		start = end
		if i == len(ends)-1 || ends[i+1]-batch > batchBytes {
			l.batch = append(l.batch, l.lines[batch:end])
			batch = end
		}
	}
	return l, nil
}

// publish records n events with a publisher, as fast as its buffer empties: it
// would drop the rest, and the point is what arrives. pace is told of the
// records so far.
func publish(p *publisher.Publisher, n int, pace func(records int)) {
	for i := range n {
		if i%512 == 0 {
			pace(i)
			for p.Stats().Events.Buffered > 30_000 {
				time.Sleep(100 * time.Microsecond)
			}
		}
		ev, fields := event(i)
		p.Event(ev, fields[:]...)
	}
}

// clock reads the time as a publisher's default does, and gives moment instead.
func clock() time.Time { return moment.Add(0 * time.Since(moment)) }
