// Package lines reads the lines of a file, from the first to the last or from the
// last to the first, with bounded memory. It does not know what a line means.
package lines

import "bytes"

const (
	// ChunkSize is how many bytes one read of the disk has at most.
	ChunkSize = 256 << 10
	// bufferSize is one chunk more than the longest line that a reader holds in its
	// own buffer.
	bufferSize = ChunkSize + shortLine
)

// Line is one line of a file.
type Line struct {
	Offset int64  // of its first byte in the file
	Length int64  // in bytes, without the newline
	Bytes  []byte // without the newline; valid until the reader's next call; nil if the line with its newline is longer than papyra.MaxStoredLine
	Ended  bool   // by a newline; only the last line of a file may lack it
	NUL    bool   // of a line whose bytes are not held: all of them are NUL
	// Hole says that this is not a whole line, but the NUL bytes with which a line
	// begins that is longer than papyra.MaxStoredLine: what a crash, or a file that was cut
	// while somebody went on writing, leaves before the next record. The rest of the line
	// is the next one. A hole is not ended.
	Hole bool
}

// Open reports whether the line is the last one of its file and lacks its newline.
func (l *Line) Open() bool { return !l.Ended && !l.Hole }

// Size returns the length with the newline, if there is one.
func (l *Line) Size() int64 {
	if l.Ended {
		return l.Length + 1
	}
	return l.Length
}

// End returns the offset behind the line and its newline.
func (l *Line) End() int64 { return l.Offset + l.Size() }

// Held reports whether Bytes are those of the line.
func (l *Line) Held() bool { return l.Bytes != nil || l.Length == 0 }

// allNUL reports whether b has no byte but NUL.
func allNUL(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// leadingNUL returns with how many NUL bytes b begins.
func leadingNUL(b []byte) int {
	n := 0
	for len(b)-n >= len(zeros) && bytes.Equal(b[n:n+len(zeros)], zeros[:]) {
		n += len(zeros)
	}
	for n < len(b) && b[n] == 0 {
		n++
	}
	return n
}

var zeros [4096]byte

// lastNewline returns where the last newline of b is, or -1. bytes.LastIndexByte
// looks at one byte after another; what finds the first of a piece is many times
// faster.
func lastNewline(b []byte) int {
	for piece := 64; len(b) > 0; piece = min(2*piece, 4096) {
		start := max(len(b)-piece, 0)
		if i := bytes.IndexByte(b[start:], '\n'); i >= 0 {
			return start + i + bytes.LastIndexByte(b[start+i:], '\n')
		}
		b = b[:start]
	}
	return -1
}
