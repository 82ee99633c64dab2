// Package protoactor records what a protoactor-go system does: actors that
// start, stop, restart and crash, messages that reach nobody, and a count of
// the actors on request.
//
// A [Recorder] stands between the actor system and a Papyra publisher. It
// listens in two places: a receiver middleware in the props of the actors to be
// recorded, and a subscription to the system's event stream. Neither waits, does
// I/O or changes what the actors see. The supervisor gets an actor's panic as it
// was.
//
//	rec := protoactor.New(system, protoactor.Config{})
//	pub, err := publisher.Connect(url, publisher.Config{System: "shop", AuditEvery: time.Minute, AuditFunc: rec.Audit})
//	rec.Record(pub)
//	props := actor.PropsFromProducer(newOrder, rec.Props())
//	…
//	rec.Stop()
//	pub.Close(ctx)
package protoactor

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"
	"github.com/papyra/papyra"
)

// Publisher takes what a Recorder records. A *publisher.Publisher of Papyra is one.
// Its calls return at once, whatever the broker does, and never panic.
type Publisher interface {
	Event(papyra.Event, ...slog.Attr)
	DeadLetter(papyra.DeadLetter, ...slog.Attr)
}

// Config says how a Recorder records. The zero Config is ready to use.
type Config struct {
	// Payload returns what is recorded of a message that reached nobody, so that
	// secrets can be left out and large messages cut. It runs on the sender's
	// goroutine; nil as its result is recorded as null. The default is the
	// message itself, encoded as a publisher encodes any value. Where that fails
	// (a channel, a cycle, a record of more than papyra.MaxPublishedLine) or
	// Payload panics, the dead letter is recorded with {"payload_error":"…"}.
	Payload func(message any) any
}

// Recorder records one actor system. Its methods are safe for concurrent use.
type Recorder struct {
	system *actor.ActorSystem
	config Config

	to      atomic.Pointer[Publisher] // nil before Record
	stopped atomic.Bool

	deadLetters atomic.Int64
	encoders    sync.Pool        // of *papyra.Encoder, for probeLetter
	identity    *papyra.Identity // for probeLetter; it is in no record

	mu    sync.Mutex
	sub   *eventstream.Subscription // not nil between Record and Stop
	lives map[*actor.PID]*life      // each incarnation of a name has a pointer of its own
	count [phases]int64             // of lives, by phase
}

// New returns a Recorder for system. It counts actors from now on; nothing is
// recorded before [Recorder.Record].
func New(system *actor.ActorSystem, c Config) *Recorder {
	return &Recorder{
		system:   system,
		config:   c,
		identity: papyra.NewIdentity(longestNode),
		lives:    map[*actor.PID]*life{},
	}
}

// Record begins to record to p. What happened before is not recorded, but
// actors that started before are in the audits. Record once; later calls, and
// calls after Stop, do nothing.
func (r *Recorder) Record(p Publisher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sub != nil || r.stopped.Load() {
		return
	}
	r.to.Store(&p)
	r.sub = r.system.EventStream.Subscribe(r.observe)
}

// Stop ends the recording. After it returns no call to the publisher begins, except
// for an actor whose message the Recorder was already handling. Stop does not stop
// actors and does not close the publisher. It is safe to call twice and before
// Record.
func (r *Recorder) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped.Swap(true) {
		return
	}
	r.system.EventStream.Unsubscribe(r.sub)
}

// publisher returns where to record to, or nil when not recording.
func (r *Recorder) publisher() Publisher {
	if r.stopped.Load() {
		return nil
	}
	if p := r.to.Load(); p != nil {
		return *p
	}
	return nil
}

// Audit counts the system's actors at this moment. It is made to be the
// AuditFunc of a publisher, and takes about a millisecond.
//
// The numbers of actors are those whose props carry [Recorder.Props], from the
// first message to an actor until its Stopped. RegistrySize is everything that
// the system's process registry holds: those actors, others, futures and the
// system's own processes. The registry does not tell which of its names have
// lost their actor, so RegistryOrphans and RegistryDead are always empty.
// DeadLetters counts since Record.
func (r *Recorder) Audit() papyra.Audit {
	r.mu.Lock()
	count := r.count
	r.mu.Unlock()
	a := papyra.Audit{
		TotalActors:      count[alive] + count[stopping] + count[restarting],
		AliveActors:      count[alive],
		StoppingActors:   count[stopping],
		RestartingActors: count[restarting],
		DeadLetters:      r.deadLetters.Load(),
	}
	for _, bucket := range r.system.ProcessRegistry.LocalPIDs.LocalPIDs {
		a.RegistrySize += int64(bucket.Count())
	}
	return a
}

// nonhost is the address that protoactor-go gives to PIDs of a system without
// remoting.
const nonhost = "nonhost"

// Address returns the address under which pid is recorded: its id in the
// publisher's system; for an actor of another host, host:port/id. A nil pid has
// no address.
func (r *Recorder) Address(pid *actor.PID) papyra.Address {
	switch {
	case pid == nil:
		return papyra.Address{}
	case pid.Address == "" || pid.Address == nonhost || pid.Address == r.system.Address():
		return papyra.Address{Name: pid.Id}
	default:
		return papyra.Address{Name: pid.Address + "/" + pid.Id}
	}
}
