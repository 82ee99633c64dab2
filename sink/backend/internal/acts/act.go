// Package acts holds what recovery and compaction share on every backend: the
// identity of one act, what it removes, which records a compaction keeps, and
// the reports that the act writes into the store.
package acts

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/papyra/papyra"
)

// Act is one recovery or compaction of a store. Its reports are sealed with an
// identity of its own.
type Act struct {
	ID   string // <UTC>-<hex>, also the name of a quarantine directory
	Kind string // a papyra.Act… constant

	identity *papyra.Identity
	seq      uint64
}

// New begins an act. now is only for its name.
func New(kind string, now time.Time) *Act {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return &Act{
		ID:       now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(random[:]),
		Kind:     kind,
		identity: papyra.NewIdentity(""),
	}
}

// Line returns the next report of the act as one sealed line with its newline.
func (a *Act) Line(name string, payload any, now time.Time) ([]byte, error) {
	a.seq++
	return papyra.SealedReport(a.identity, papyra.SystemReserved, a.seq, &papyra.Report{Name: name, Payload: payload}, now)
}
