package papyra

import (
	"crypto/rand"
	"fmt"
	"os"
)

// runLen is the length of a run.
const runLen = 16

// Identity is who seals records: a process and one start of its publisher. It
// does not change and may be shared between goroutines.
type Identity struct {
	node, run string
	mid       string // of a line: `,"node":"…","run":"…","seq":`
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
	return &Identity{node: node, run: run, mid: beforeNode + node + beforeRun + run + beforeSeq}, nil
}

// Node returns the name of the process.
func (id *Identity) Node() string { return id.node }

// Run returns the 16 random characters of this start.
func (id *Identity) Run() string { return id.run }

// CheckHost returns an error unless host is the name of a host as it stands in a
// SinkReport: of the form of a node.
func CheckHost(host string) error {
	if !legalNode([]byte(host)) {
		return fmt.Errorf("host %q is not 1 to %d characters of [A-Za-z0-9._-]", host, MaxNameBytes)
	}
	return nil
}

// cleanNode makes a legal node name of any text.
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

// newRun returns a random run.
func newRun() string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 0, runLen)
	var random [32]byte
	for len(out) < runLen {
		_, _ = rand.Read(random[:]) // never fails
		for _, b := range random {
			// 252 is the largest multiple of 36 that a byte can hold. Without this
			// limit the first four digits would be likelier than the others.
			if b < 252 && len(out) < runLen {
				out = append(out, digits[b%36])
			}
		}
	}
	return string(out)
}

// nodeByte reports whether b may stand in a node name.
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
