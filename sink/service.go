package sink

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natswire"
	"github.com/papyra/papyra/internal/version"
)

const (
	// serviceVersion is what the services framework shows for a sink.
	serviceVersion = version.Number
	// answersWithin is how long the sink waits for answers to one question.
	answersWithin = 2 * time.Second
	// maxAnswers bounds the answers to one question; later ones are not read.
	maxAnswers = 4 * maxPeers
	// maxServiceMessage bounds a question or an answer; a longer one is passed over.
	maxServiceMessage = 1 << 20
	// firstAsk is about the time between the first two questions, so that sinks
	// that start together soon know of each other. The time doubles with each
	// question up to Config.PeersEvery.
	firstAsk = 2 * time.Second
	// serviceWrite bounds how long a server that does not read can hold up the
	// service, and with it the end of the sink.
	serviceWrite = time.Second
)

// service is the sink on the NATS services framework: it says that the sink is
// there, and finds the others of its group. It has a connection of its own, for
// two reasons: the framework takes over a connection's handlers, and nothing that
// happens to the service may hold up a record. What fails is counted and tried
// again.
type service struct {
	config *Config
	log    *slog.Logger
	peers  *peerList
	store  string // the store's id; set before run
	url    string // of the store, without its secrets; likewise

	nc       *nats.Conn
	failures atomic.Uint64
	refusal  sync.Once     // for the log: the first refusal
	failed   sync.Once     // and the first failure of another kind
	unasked  sync.Once     // and the first refusal of a subscription of Config.Admin
	refused  chan struct{} // one slot: the server refuses the service a subscription
}

func newService(config *Config, log *slog.Logger, peers *peerList) *service {
	return &service{config: config, log: log, peers: peers, refused: make(chan struct{}, 1)}
}

// run runs the service until ctx ends. It begins when identified is closed,
// because the store then holds the sink's first report: a store of which others
// have heard must be one that can be found.
func (v *service) run(ctx context.Context, identified <-chan struct{}) {
	select {
	case <-identified:
	case <-ctx.Done():
		return
	}
	o, err := v.connOptions()
	if err == nil {
		v.nc, err = o.Connect() // does not wait for a server that is away
	}
	if err != nil {
		v.countFailure(err)
		return
	}
	defer v.nc.Close()
	defer v.sayStopped(ctx)
	v.hearStopped()
	announced := make(chan struct{})
	go func() {
		defer close(announced)
		v.keepAnnounced(ctx)
	}()
	v.askForPeers(ctx)
	<-announced
}

// keepAnnounced announces the sink until ctx ends. Where the server refuses it a
// subscription, at any time, it announces the sink again, less often each time.
func (v *service) keepAnnounced(ctx context.Context) {
	for wait := firstRenewal; ; wait = min(2*wait, lastRenewal) {
		registered, err := micro.AddService(v.nc, micro.Config{
			Name: papyra.SinkService, Version: serviceVersion, Description: "appends records of a group to a store",
			Metadata: map[string]string{metaGroup: v.config.Group, metaInstance: v.config.Instance, metaStore: v.store, metaHost: hostName(), metaURL: v.url},
		})
		if err != nil {
			v.countFailure(err)
			return
		}
		if v.config.Admin != nil {
			if err := v.config.Admin.Register(registered, v.nc); err != nil {
				v.countFailure(err)
			}
		}
		began := time.Now()
		select {
		case <-v.refused:
		case <-ctx.Done():
		}
		if time.Since(began) > 2*lastRenewal {
			wait = firstRenewal // it was announced for a while
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		case <-ctx.Done():
		}
		_ = registered.Stop() // fails only on a connection that is closed
		if ctx.Err() != nil {
			return
		}
		select {
		case <-v.refused: // of the one that has ended
		default:
		}
	}
}

// stoppedWithin bounds how long a sink that stops tries to say so.
const stoppedWithin = time.Second

// sayStopped tells the others of the group that the sink stops as it was told to, so
// that nobody misses it.
func (v *service) sayStopped(ctx context.Context) {
	text, err := json.Marshal(papyra.Peer{Instance: v.config.Instance, Store: v.store})
	if err != nil || ctx.Err() == nil || !v.nc.IsConnected() {
		return
	}
	if v.nc.Publish(papyra.StoppedSubject(v.config.Group), text) == nil {
		_ = v.nc.FlushTimeout(stoppedWithin) // who did not hear it misses the sink, and says so
	}
}

// hearStopped notes which others stop as they were told to. A server that does not
// allow it costs nothing else.
func (v *service) hearStopped() {
	_, err := v.nc.Subscribe(papyra.StoppedSubject(v.config.Group), func(m *nats.Msg) {
		var p papyra.Peer
		if len(m.Data) <= maxAnswer && json.Unmarshal(m.Data, &p) == nil {
			v.peers.sinkStopped(p)
		}
	})
	if err != nil {
		v.countFailure(err)
	}
}

func (v *service) connOptions() (*nats.Options, error) {
	cfg := v.config
	o, err := cfg.natsOptions(
		nats.Name("papyra-sink "+cfg.Group+"/"+cfg.Instance+" service"),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(firstAsk), nats.ReconnectJitter(time.Second, firstAsk),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(serviceWrite),
		// The sink's own connection tells of these.
		nats.ConnectHandler(nil), nats.DisconnectErrHandler(nil), nats.ReconnectHandler(nil), nats.ClosedHandler(nil),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { v.countFailure(err) }),
	)
	if err != nil {
		return nil, err
	}
	if o.InboxPrefix == "" {
		o.InboxPrefix = papyra.SinkInbox
	}
	natswire.Protect(o, maxServiceMessage)
	return o, nil
}

// askForPeers asks for the other sinks of the group until ctx ends. In a large
// group a sink asks more rarely, so that by default it gets about one answer in a
// second, however many sinks there are.
func (v *service) askForPeers(ctx context.Context) {
	subject, err := micro.ControlSubject(micro.InfoVerb, papyra.SinkService, "")
	if err != nil {
		v.countFailure(err)
		return
	}
	for wait := firstAsk; ; wait = min(2*wait, v.config.PeersEvery) {
		answers, err := v.askOnce(ctx, subject)
		if err != nil {
			v.countFailure(err)
		}
		every := v.config.PeersEvery
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
	waiting, cancel := context.WithTimeout(ctx, min(answersWithin, v.config.PeersEvery))
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
		v.hear(m.Data)
	}
	return answers, nil
}

// hear remembers what another sink says of itself. Two sinks that fill one store
// share its id, so that neither is a store that an account could miss.
func (v *service) hear(answer []byte) {
	p, ok := parsePeer(answer, v.config.Group)
	if !ok {
		return
	}
	if p.Instance != v.config.Instance {
		v.peers.expectSink(p, v.config.Now())
	}
	if p.Store == v.store {
		return
	}
	if v.peers.addPeer(p) {
		v.log.Debug("another store of the group", "of", p.Instance, "store", p.Store)
	}
}

// countFailure counts what went wrong. It logs the first refusal of the server, and
// the first failure of another kind.
func (v *service) countFailure(err error) {
	v.failures.Add(1)
	once := &v.failed
	if isRefusal(err) || errors.Is(err, nats.ErrPermissionViolation) {
		once = &v.refusal
	}
	subject := refusedSubject(err)
	if papyra.IsAdminSubject(subject) {
		// The rest of the announcement is not to suffer. The client asks again for the
		// subscription with each new connection.
		v.unasked.Do(func() {
			v.log.Warn("the sink cannot be asked for work over NATS: allow this login what deploy/nats/papyra.conf allows", "error", err)
		})
		return
	}
	if isRefusal(err) && !strings.HasPrefix(subject, v.nc.Opts.InboxPrefix) { // each question has an inbox of its own
		select {
		case v.refused <- struct{}{}:
		default:
		}
	}
	once.Do(func() {
		v.log.Warn("the sink cannot fully announce itself or look for the others of its group: records are not concerned, "+
			"but an account may not notice that a store was not given; allow this login what deploy/nats/papyra.conf allows",
			"error", err)
	})
}
