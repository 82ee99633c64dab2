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
	clientRun   = "0000000000000000" // the run of the plain client's lines
	// batchBytes is about what a publisher puts into a message under load.
	batchBytes = 16 << 10
)

// moment is the timestamp of every record. So the number of its digits is known
// before, and with it the number of bytes.
var moment = time.Unix(1_700_000_000, 123_456_000)

// nthEvent returns the n-th record: a crash with a short payload, about 260 bytes.
func nthEvent(n int) (papyra.Event, [2]slog.Attr) {
	return papyra.Event{Actor: papyra.Address{ID: int64(1000 + n%9000)}, Type: papyra.ActorCrashed},
		[2]slog.Attr{slog.String("error", "dial bank: connection reset by peer"), slog.Int("attempt", 1+n%9)}
}

// generatedLoad is what the generator sends: sealed lines, each in a message of its
// own or in batches.
type generatedLoad struct {
	lines  []byte // all of them, each with its newline
	single [][]byte
	batch  [][]byte
}

// generateLoad encodes n records.
func generateLoad(n int) (*generatedLoad, error) {
	id, err := papyra.NewIdentityRun(benchNode, clientRun)
	if err != nil {
		return nil, err
	}
	l := &generatedLoad{}
	var e papyra.Encoder
	var ends []int
	for i := range n {
		ev, fields := nthEvent(i)
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

// publishPaced records n events with a publisher, as fast as its buffer empties.
// Faster, the publisher would drop records, and what is measured is what arrives.
// pace is called with the number of records so far.
func publishPaced(p *publisher.Publisher, n int, pace func(records int)) {
	for i := range n {
		if i%512 == 0 {
			pace(i)
			for p.Stats().Events.Buffered > 30_000 {
				time.Sleep(100 * time.Microsecond)
			}
		}
		ev, fields := nthEvent(i)
		p.Event(ev, fields[:]...)
	}
}

// momentClock reads the time, which costs what the publisher's own clock costs, and
// returns moment.
func momentClock() time.Time { return moment.Add(0 * time.Since(moment)) }
