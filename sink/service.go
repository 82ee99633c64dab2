package sink

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/version"
)

const (
	// serviceVersion is what the services framework shows for a sink.
	serviceVersion = version.Number
	// answersWithin is how long answers to one question are waited for.
	answersWithin = 2 * time.Second
	// maxAnswers bounds the answers to one question; later ones are not read.
	maxAnswers = 4 * maxPeers
	// firstAsk is about the time between the first two questions: sinks that
	// start together soon know of each other. It doubles up to Config.PeersEvery.
	firstAsk = 2 * time.Second
	// serviceWrite bounds how long a server that does not read can hold up the
	// service, and with it the end of the sink.
	serviceWrite = time.Second
)

// service is the sink on the NATS services framework: it says that the sink is
// there, and finds the others of its group. It has a connection of its own,
// because the framework takes over a connection's handlers, and so nothing that
// happens to it can hold up a record. Whatever fails is counted and tried again.
type service struct {
	s      *Sink
	nc     *nats.Conn
	logged bool // the first trouble was
}

// serve runs the service until ctx ends.
//
// It begins when the store is known to hold the sink's first report: a store of
// which others have heard must be one that can be found.
func (s *Sink) serve(ctx context.Context) {
	select {
	case <-s.identified:
	case <-ctx.Done():
		return
	}
	v := &service{s: s}
	o, err := v.options()
	if err == nil {
		v.nc, err = o.Connect() // does not wait for a server that is away
	}
	if err != nil {
		v.failed(err)
		return
	}
	defer v.nc.Close()
	registered, err := micro.AddService(v.nc, micro.Config{
		Name: papyra.SinkService, Version: serviceVersion, Description: "appends records of a group to a store",
		Metadata: map[string]string{metaGroup: s.config.Group, metaInstance: s.config.Instance, metaStore: s.store},
	})
	if err != nil {
		v.failed(err)
		return
	}
	defer func() { _ = registered.Stop() }() // of the connection, which ends next
	v.ask(ctx)
}

func (v *service) options() (*nats.Options, error) {
	cfg := &v.s.config
	o, err := cfg.natsOptions(
		nats.Name("papyra-sink "+cfg.Group+"/"+cfg.Instance+" service"),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(firstAsk), nats.ReconnectJitter(time.Second, firstAsk),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(serviceWrite),
		// The sink's own connection tells of these.
		nats.ConnectHandler(nil), nats.DisconnectErrHandler(nil), nats.ReconnectHandler(nil), nats.ClosedHandler(nil),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { v.failed(err) }),
	)
	if err == nil && o.InboxPrefix == "" {
		o.InboxPrefix = papyra.SinkInbox
	}
	return o, err
}

// ask looks for the other sinks now and then. The questions of a large group
// are rarer, so that by default a sink gets about one answer in a second,
// however many there are.
func (v *service) ask(ctx context.Context) {
	subject, err := micro.ControlSubject(micro.InfoVerb, papyra.SinkService, "")
	if err != nil {
		v.failed(err)
		return
	}
	for wait := firstAsk; ; wait = min(2*wait, v.s.config.PeersEvery) {
		answers, err := v.askOnce(ctx, subject)
		if err != nil {
			v.failed(err)
		}
		every := v.s.config.PeersEvery
		pause := max(min(wait, every), time.Duration(answers)*every/60)
		select {
		case <-time.After(pause*3/4 + rand.N(pause/2+1)):
		case <-ctx.Done():
			return
		}
	}
}

// askOnce asks once and returns how many answers came.
func (v *service) askOnce(ctx context.Context, subject string) (answers int, err error) {
	if !v.nc.IsConnected() {
		return 0, nil // the sink's own connection counts that
	}
	sub, err := v.nc.SubscribeSync(v.nc.NewInbox())
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails on a connection that is closed
	if err := sub.SetPendingLimits(maxAnswers, maxAnswers<<10); err != nil {
		return 0, err
	}
	if err := v.nc.PublishRequest(subject, sub.Subject, nil); err != nil {
		return 0, err
	}
	waiting, cancel := context.WithTimeout(ctx, min(answersWithin, v.s.config.PeersEvery))
	defer cancel()
	for answers < maxAnswers {
		m, err := sub.NextMsgWithContext(waiting)
		switch {
		case errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil, errors.Is(err, nats.ErrNoResponders):
			return answers, nil
		case err != nil:
			return answers, err
		}
		answers++
		v.s.heard(m.Data)
	}
	return answers, nil
}

// failed counts what went wrong and logs the first of it.
func (v *service) failed(err error) {
	s := v.s
	s.mu.Lock()
	s.stats.ServiceErrors++
	first := !v.logged
	v.logged = true
	s.mu.Unlock()
	if first {
		s.log.Warn("the sink cannot fully announce itself or look for the others of its group: records are not concerned, "+
			"but an account may not notice that a store was not given; allow this login what deploy/nats/papyra.conf allows",
			"error", err)
	}
}
