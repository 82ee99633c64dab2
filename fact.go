package papyra

import "time"

// The lifecycle event types of version 1. Other types are allowed.
const (
	ActorStarted   = "ActorStarted"
	ActorStopped   = "ActorStopped"
	ActorRestarted = "ActorRestarted"
	ActorCrashed   = "ActorCrashed"
)

// PayloadError is the one member of a payload that stands in the place of one that a
// publisher could not encode. Its value is a text that says why.
const PayloadError = "payload_error"

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
	Sender  Address   // whose message led to it; the zero Address is not written
}

// DeadLetter is a message that reached nobody. Its payload follows the rules of
// [Event]; with neither fields nor Payload it is null.
type DeadLetter struct {
	Target      Address // the zero Address is written as null
	MessageType string
	Payload     any
	Time        time.Time // when it was given up; zero means now
	Sender      Address   // who sent the message; the zero Address is not written
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
