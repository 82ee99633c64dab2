package papyra

// Parser checks lines that come one after the other. It remembers what the last
// ones looked like, which the next one most likely does too, and then has only
// the differences to look at. What it says of a line never depends on what it
// remembers. It holds no more than 64 KiB. The zero Parser is ready; it is not
// safe for concurrent use.
type Parser struct {
	frame  frame
	framed bool // the last line had the frame
	shape  shape
	misses int // lines in a row that had another shape
}

// patience is how many lines in a row must have another shape than the
// remembered one before the last of them is remembered in its place. To learn a
// shape costs as much as to check a line, and lines of a few shapes may
// alternate.
const patience = 4

// Parse does what [ParseInto] does, with the same result.
func (p *Parser) Parse(rec *Record, line []byte) error {
	if p.matchLine(rec, line) {
		return nil
	}
	if err := ParseInto(rec, line); err != nil {
		return err
	}
	p.noteLine(rec)
	return nil
}

// Check is Parse for whoever wants to know nothing but the class of the damage. It is
// "" for a record, and then rec is filled. Damage costs no allocation, but for strings
// that hold escapes.
func (p *Parser) Check(rec *Record, line []byte) Class {
	if p.matchLine(rec, line) {
		return ""
	}
	if class := classOf(rec, line); class != "" {
		return class
	}
	p.noteLine(rec)
	return ""
}

// matchLine fills rec if the line has the shape that is remembered.
func (p *Parser) matchLine(rec *Record, line []byte) bool {
	switch p.shape.matchLine(rec, line) {
	case sameShape:
		p.misses = 0
		return true
	case sameNames:
		p.noteLine(rec)
		return true
	}
	return false
}

// noteLine counts a line of another shape, and learns it if it is time to.
func (p *Parser) noteLine(rec *Record) {
	if p.countMiss() {
		p.shape.learnLine(rec)
	}
}

// countMiss counts a line of another shape and reports whether it is time to
// learn its shape.
func (p *Parser) countMiss() bool {
	p.misses++
	if p.misses < patience && len(p.shape.line) > 0 {
		return false
	}
	p.misses = 0
	return true
}

// Sealed does what [ParseSealed] does, with the same result.
func (p *Parser) Sealed(rec *Record, line []byte) bool {
	if p.framed = p.frame.matchLine(rec, line); p.framed {
		return true
	}
	if !ParseSealed(rec, line) {
		return false
	}
	p.frame.learnLine(rec)
	return true
}

// SealedLines counts the lines that block begins with, as far as they are of the
// sender and the stream of the line that [Parser.Sealed] has taken last, their
// timestamps are dates and not behind latest, and Sealed would take them too. It is for
// whoever wants to know nothing else of them. A line ends at its newline; what
// lacks one is not counted. It may count fewer lines than there are, and none.
func (p *Parser) SealedLines(block []byte, latest int64) Stretch {
	if !p.framed {
		return Stretch{}
	}
	return p.frame.countLines(block, latest)
}
