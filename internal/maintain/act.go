// Package maintain holds what recovery, compaction and rotation share on every
// backend: the identity of one act, what it removes, which records a compaction
// keeps, and the reports that the act writes into the store.
package maintain

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/papyra/papyra"
)

// Act is one recovery, compaction or rotation of a store.
type Act struct {
	ID   string // <UTC>-<hex>, also the name of a quarantine directory
	Kind string // a papyra.Act… constant

	signer *Signer
}

// New begins an act with an identity of its own. now is only for its name.
func New(kind string, now time.Time) *Act {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return NewSigner().Act(kind, hex.EncodeToString(random[:]), now)
}

// Line returns the next report of the act as one sealed line with its newline.
func (a *Act) Line(name string, payload any, now time.Time) ([]byte, error) {
	a.signer.seq++
	return papyra.SealedReport(a.signer.identity, papyra.SystemReserved, a.signer.seq, &papyra.Report{Name: name, Payload: payload}, now)
}

// of returns the same act under another kind.
func (a *Act) of(kind string) *Act {
	other := *a
	other.Kind = kind
	return &other
}

// Signer seals the reports of several acts with one identity and one row of
// numbers, so that acts which come again and again do not each begin a run. A
// line that it has made must be stored: otherwise its number is missing. A
// Signer is not safe for concurrent use.
type Signer struct {
	identity *papyra.Identity
	seq      uint64
}

// NewSigner returns a signer with a new identity.
func NewSigner() *Signer { return &Signer{identity: papyra.NewIdentity("")} }

// Act begins an act whose ID ends in digits.
func (s *Signer) Act(kind, digits string, now time.Time) *Act {
	return &Act{ID: now.UTC().Format("20060102T150405Z") + "-" + digits, Kind: kind, signer: s}
}
