package transfer

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"strings"

	"github.com/papyra/papyra"
)

// contents is what was read of a store: the streams, and what belongs to none.
type contents struct {
	streams map[papyra.Stream]*tally
	last    *tally // of the record before: the next one is most likely of its stream
	records int64  // of all streams
	bytes   int64
	damaged int64
	own     int64 // reports of acts that are not the source's
	acts    int64 // reports of acts in streams

	end int64 // behind the last record, in its file; for stores of files
}

// tally counts the records of one stream.
type tally struct {
	stream   papyra.Stream
	records  int64
	bytes    int64     // lines and newlines
	sum      hash.Hash // SHA-256 of them
	appended int64     // of the records, those that went to the target now
}

func newContents() *contents { return &contents{streams: map[papyra.Stream]*tally{}} }

// of returns the tally of a record's stream.
func (c *contents) of(rec *papyra.Record) *tally {
	if t := c.last; t != nil && t.stream.Kind == rec.Kind && t.stream.System == string(rec.System) {
		return t
	}
	s := rec.Stream()
	t := c.streams[s]
	if t == nil {
		t = &tally{stream: s, sum: sha256.New()}
		c.streams[s] = t
	}
	c.last = t
	return t
}

var newline = []byte{'\n'}

// add counts a record.
func (c *contents) add(rec *papyra.Record) {
	t := c.of(rec)
	size := int64(len(rec.Line)) + 1
	t.records++
	t.bytes += size
	c.records++
	c.bytes += size
	t.sum.Write(rec.Line) // a hash never fails
	t.sum.Write(newline)
}

func (c *contents) sorted() []papyra.Stream {
	out := make([]papyra.Stream, 0, len(c.streams))
	for s := range c.streams {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b papyra.Stream) int {
		if a.System != b.System {
			return strings.Compare(a.System, b.System)
		}
		return int(a.Kind) - int(b.Kind)
	})
	return out
}

// equal reports whether the streams hold the same records.
func (c *contents) equal(other *contents) bool {
	if len(c.streams) != len(other.streams) {
		return false
	}
	for s, t := range c.streams {
		if !t.equal(other.streams[s]) {
			return false
		}
	}
	return true
}

// A nil tally is that of an empty stream.
func (t *tally) count() int64 {
	if t == nil {
		return 0
	}
	return t.records
}

func (t *tally) hex() string {
	if t == nil {
		t = &tally{sum: sha256.New()}
	}
	return hex.EncodeToString(t.sum.Sum(nil))
}

func (t *tally) equal(other *tally) bool {
	return t.count() == other.count() && t.hex() == other.hex()
}

// isAct reports whether a record is a report that an act on a store, a rotation,
// a recovery or a compaction, appends to it.
func isAct(rec *papyra.Record) bool {
	if rec.Kind != papyra.KindReport || string(rec.System) != papyra.SystemReserved {
		return false
	}
	switch string(rec.Type) {
	case papyra.ReportRemoval, papyra.ReportCorruptionDetected, papyra.ReportRecoveryPerformed, papyra.ReportCompactionPerformed:
		return true
	}
	return false
}

// actSet knows the reports of acts that a store holds, 32 bytes for each.
type actSet map[[sha256.Size]byte]struct{}

func (s actSet) add(rec *papyra.Record) { s[sha256.Sum256(rec.Canonical())] = struct{}{} }

func (s actSet) has(rec *papyra.Record) bool {
	_, ok := s[sha256.Sum256(rec.Canonical())]
	return ok
}
