package papyra

import (
	"strconv"
	"time"
)

// The lifecycle event types of version 1. Other types are allowed.
const (
	ActorStarted   = "ActorStarted"
	ActorStopped   = "ActorStopped"
	ActorRestarted = "ActorRestarted"
	ActorCrashed   = "ActorCrashed"
)

// Address names an actor. With a Name it is written as the string
// "system:name", without one as {"system":…,"actor_id":ID}. An empty System
// means the system of the publisher. The zero Address is no address: a dead
// letter's target is then null.
type Address struct {
	System string
	Name   string
	ID     int64
}

// IsZero reports whether a is no address at all.
func (a Address) IsZero() bool { return a == Address{} }

// String returns "system:id", the form that filters compare with.
func (a Address) String() string {
	if a.Name != "" {
		return a.System + ":" + a.Name
	}
	return a.System + ":" + strconv.FormatInt(a.ID, 10)
}

// Event is something that happened to an actor.
//
// Its payload is any one value, or fields that are passed beside it, which cost
// no allocation. Fields make an object; with both, the object's last member is
// "value" and holds Payload. With neither the payload is {}. The fields are no
// member of Event because the compiler would then have to move them to the heap
// together with Payload.
type Event struct {
	Actor   Address
	Type    string // ActorStarted, … or a type of the runtime's own
	Payload any
	Time    time.Time // when it happened; zero means now
}

// DeadLetter is a message that reached nobody. Its payload follows the rules of
// [Event]; with neither fields nor Payload it is null.
type DeadLetter struct {
	Target      Address // the zero Address is written as null
	MessageType string
	Payload     any
	Time        time.Time // when it was given up; zero means now
}

// Audit is a count of a system's actors at one moment.
type Audit struct {
	TotalActors      int64
	AliveActors      int64
	StoppingActors   int64
	RestartingActors int64
	RegistrySize     int64
	RegistryOrphans  []string // registered names without an actor
	RegistryDead     []string // registered names whose actor is not alive
	DeadLetters      int64    // seen by the system so far
	Time             time.Time
}

// Report is what the pipeline says about itself. Name is one of the Report…
// constants and Payload the struct of that name.
type Report struct {
	Name    string
	Payload any
	Time    time.Time
}
