package fileset

import (
	"fmt"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset/lines"
	"github.com/papyra/papyra/internal/judge"
)

// damagedPlace is one damaged place of a line: bytes that are to be moved away, or
// only a place where a newline is missing.
type damagedPlace struct {
	off, length int64 // in the file, with the line's newline where that goes too
	newline     bool  // a newline is to be inserted here
	healed      bool  // only the newline is missing that ends the file: this is no damage
	anomaly     papyra.Anomaly
}

// judgeLine says what a line is.
func judgeLine(rec *papyra.Record, l *lines.Line, full bool) (judge.Verdict, *papyra.LineError) {
	if !l.Held() {
		return judge.Damaged, notHeld(l)
	}
	return judge.Line(rec, l.Bytes, full)
}

// notHeld returns the damage of a line that is too long to be held.
func notHeld(l *lines.Line) *papyra.LineError {
	if l.NUL {
		return &papyra.LineError{Class: papyra.ClassNULRun, Detail: "nothing but NUL bytes"}
	}
	return &papyra.LineError{Class: papyra.ClassOversize, Detail: fmt.Sprintf("longer than %d bytes", papyra.MaxStoredLine)}
}

// damagedPlaces returns the damaged places of a line that judgeLine called damaged,
// in order. Whole records in it are spared where seals prove them.
func damagedPlaces(file string, l *lines.Line, damage *papyra.LineError) []damagedPlace {
	whole := damagedPlace{off: l.Offset, length: l.Size(), anomaly: papyra.Anomaly{
		Class: damage.Class, File: file, Offset: l.Offset, Length: l.Length, Detail: damageDetail(damage),
	}}
	if l.Bytes == nil {
		return []damagedPlace{whole}
	}
	pieces := judge.Split(l.Bytes)
	if len(pieces) == 1 {
		return []damagedPlace{whole}
	}
	var out []damagedPlace
	for i, p := range pieces {
		at := l.Offset + int64(p.Start)
		switch {
		case p.Damage != nil:
			out = append(out, damagedPlace{
				off: at, length: int64(p.End - p.Start),
				// Between two records that stay, a newline takes its place. A
				// damaged piece has records or nothing on its sides.
				newline: i > 0 && i < len(pieces)-1,
				anomaly: papyra.Anomaly{
					Class: p.Damage.Class, File: file, Offset: at, Length: int64(p.End - p.Start),
					Detail: damageDetail(p.Damage) + "; merged with a whole record",
				},
			})
		case i > 0 && pieces[i-1].Damage == nil:
			out = append(out, damagedPlace{
				off: at, newline: true,
				anomaly: papyra.Anomaly{
					Class: papyra.ClassCorrupted, File: file, Offset: at,
					Detail: "a record begins where a newline is missing",
				},
			})
		}
	}
	return out
}

// damageDetail says what is damaged and where in the line.
func damageDetail(e *papyra.LineError) string {
	if e.Offset == 0 {
		return e.Detail
	}
	return fmt.Sprintf("%s, at byte %d", e.Detail, e.Offset)
}
