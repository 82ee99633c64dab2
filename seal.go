package papyra

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"os"
)

// castagnoli is the table of CRC-32C, which the standard library computes with
// the processor's own instruction where there is one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Lengths of the seal's fixed parts.
const (
	runLen    = 16
	crcLen    = len(`,"crc":"`) + 8 + len(`"}`)
	hexDigits = "0123456789abcdef"
)

// Identity is who seals records: a process and one start of its publisher. It
// does not change and may be shared between goroutines.
type Identity struct {
	node, run string
	mid       string // `,"node":"…","run":"…","seq":`
}

// NewIdentity returns an identity with a new random run. node names the
// process; empty means the host's name. Characters outside [A-Za-z0-9._-]
// become '_', and what is behind the first 64 is cut off.
func NewIdentity(node string) *Identity {
	if node == "" {
		node, _ = os.Hostname()
	}
	id, err := NewIdentityRun(cleanNode(node), newRun())
	if err != nil {
		panic(err) // cleanNode and newRun make legal values
	}
	return id
}

// NewIdentityRun returns an identity with a given run, for tools that continue
// one and for tests. Both parts must be legal: node [A-Za-z0-9._-]{1,64}, run 16
// characters of [0-9a-z].
func NewIdentityRun(node, run string) (*Identity, error) {
	if !legalNode([]byte(node)) {
		return nil, fmt.Errorf("node %q is not 1 to %d characters of [A-Za-z0-9._-]", node, MaxNameBytes)
	}
	if !legalRun([]byte(run)) {
		return nil, fmt.Errorf("run %q is not %d characters of [0-9a-z]", run, runLen)
	}
	return &Identity{node: node, run: run, mid: `,"node":"` + node + `","run":"` + run + `","seq":`}, nil
}

// Node returns the name of the process.
func (id *Identity) Node() string { return id.node }

// Run returns the 16 random characters of this start.
func (id *Identity) Run() string { return id.run }

func cleanNode(node string) string {
	out := []byte(node)
	if len(out) > MaxNameBytes {
		out = out[:MaxNameBytes]
	}
	for i, b := range out {
		if !nodeByte(b) {
			out[i] = '_'
		}
	}
	if len(out) == 0 {
		return "unknown"
	}
	return string(out)
}

func newRun() string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 0, runLen)
	var random [32]byte
	for len(out) < runLen {
		_, _ = rand.Read(random[:]) // never fails
		for _, b := range random {
			// 252 is the largest multiple of 36 in a byte: without this the
			// first digits would be likelier than the others.
			if b < 252 && len(out) < runLen {
				out = append(out, digits[b%36])
			}
		}
	}
	return string(out)
}

func nodeByte(b byte) bool { return tokenByte(b) || b == '.' }

func legalNode(node []byte) bool {
	if len(node) == 0 || len(node) > MaxNameBytes {
		return false
	}
	for _, b := range node {
		if !nodeByte(b) {
			return false
		}
	}
	return true
}

func legalRun(run []byte) bool {
	if len(run) != runLen {
		return false
	}
	for _, b := range run {
		if (b < '0' || b > '9') && (b < 'a' || b > 'z') {
			return false
		}
	}
	return true
}

// seal is the identity that a tail holds, and where the tail begins.
type seal struct {
	start     int
	node, run []byte
	seq       uint64
	crc       []byte
}

// spelling is how the members of a tail are written: without spaces by this
// package, with them after a rewrite by the Python implementation.
type spelling struct{ node, run, seq, crc string }

var (
	sealed    = spelling{`,"node":"`, `","run":"`, `","seq":`, `,"crc":"`}
	rewritten = spelling{`, "node": "`, `", "run": "`, `", "seq": `, `, "crc": "`}
)

// cutSeal reads the tail of a line backwards. It does not look at the checksum.
func cutSeal(line []byte, sp *spelling) (s seal, ok bool) {
	end := len(line) - 10 // of `,"crc":"`
	if end < 0 || line[len(line)-1] != '}' || line[len(line)-2] != '"' {
		return s, false
	}
	s.crc = line[end : end+8]
	if end, ok = cutBefore(line, end, sp.crc); !ok {
		return s, false
	}
	first := end
	for first > 0 && line[first-1] >= '0' && line[first-1] <= '9' {
		first--
	}
	if s.seq, ok = parseSeq(line[first:end]); !ok {
		return s, false
	}
	if end, ok = cutBefore(line, first, sp.seq); !ok || end < runLen {
		return s, false
	}
	s.run = line[end-runLen : end]
	if end, ok = cutBefore(line, end-runLen, sp.run); !ok || !legalRun(s.run) {
		return s, false
	}
	first = end
	for first > 0 && nodeByte(line[first-1]) {
		first--
	}
	s.node = line[first:end]
	if s.start, ok = cutBefore(line, first, sp.node); !ok || !legalNode(s.node) {
		return s, false
	}
	return s, true
}

// cutBefore returns where word begins if it ends at end.
func cutBefore(line []byte, end int, word string) (int, bool) {
	start := end - len(word)
	return start, start >= 0 && string(line[start:end]) == word
}

func parseSeq(digits []byte) (uint64, bool) {
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' {
		return 0, false
	}
	var n uint64
	for _, d := range digits {
		n = n*10 + uint64(d-'0')
	}
	return n, true
}

// verify reports whether the checksum of a line with this tail is right.
func (s *seal) verify(line []byte) bool {
	sum := crc32.Checksum(line[:len(line)-crcLen], castagnoli)
	return hexEqual(s.crc, sum)
}

// CheckSeal reports whether line, without its newline, ends in a seal whose
// checksum is right. It slices and does not parse: the line may still be no
// record if somebody sealed garbage.
func CheckSeal(line []byte) bool {
	s, ok := cutSeal(line, &sealed)
	return ok && s.verify(line)
}
