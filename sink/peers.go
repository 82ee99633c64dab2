package sink

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redact"
)

const (
	// maxPeers bounds the other stores that a sink remembers, whoever answers.
	// Those beyond it are not reported.
	maxPeers = 1024
	// maxAnswer bounds an answer that is looked at, in bytes.
	maxAnswer = 64 << 10
	// peersEvery is the longest time between two reports that name the peers, so
	// that a store which forgets its oldest reports still knows of them.
	peersEvery = 5 * time.Minute
)

// The metadata of the service as which a sink announces itself.
const (
	metaGroup    = "group"
	metaInstance = "instance"
	metaStore    = "store"
	metaHost     = "host"
	metaURL      = "url"
)

// peerList remembers the stores of a group's other sinks. A store that was heard
// of once stays: it holds records also when its sink is gone. It is safe for
// concurrent use and takes no other lock under its own.
type peerList struct {
	mu        sync.Mutex
	instances map[string]papyra.Peer // by the store's id: the instance that named it first
	// expected are the group's other sinks by instance, several of which may fill one
	// store: those that were heard of and have not said since that they stop.
	expected map[string]Expected
}

// parsePeer reads the answer of a sink. It returns false for a sink of another
// group, and for an answer that no sink of ours can have given: whoever may
// answer on the broker may say anything.
func parsePeer(answer []byte, group string) (papyra.Peer, bool) {
	if len(answer) > maxAnswer {
		return papyra.Peer{}, false
	}
	var info micro.Info
	if json.Unmarshal(answer, &info) != nil || info.Type != micro.InfoResponseType || info.Name != papyra.SinkService {
		return papyra.Peer{}, false
	}
	p := papyra.Peer{Instance: info.Metadata[metaInstance], Store: info.Metadata[metaStore]}
	if info.Metadata[metaGroup] != group || papyra.CheckName("instance", p.Instance) != nil || papyra.CheckName("store", p.Store) != nil {
		return papyra.Peer{}, false
	}
	if host := info.Metadata[metaHost]; papyra.CheckHost(host) == nil {
		p.Host = host
	}
	if u := info.Metadata[metaURL]; len(u) <= papyra.MaxURLBytes && utf8.ValidString(u) {
		p.URL = redact.URL(u)
	}
	return p, true
}

// hostName returns the name of this host, as it stands in reports.
func hostName() string { return papyra.NewIdentity("").Node() }

// shownURL returns a store's URL as it stands in reports: without secrets, and not
// longer than papyra.MaxURLBytes.
func shownURL(rawURL string) string {
	u := strings.ToValidUTF8(redact.URL(rawURL), "?")
	if len(u) > papyra.MaxURLBytes {
		u = strings.ToValidUTF8(u[:papyra.MaxURLBytes], "")
	}
	return u
}

// addPeer remembers a peer and reports whether it is news.
func (ps *peerList) addPeer(p papyra.Peer) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	old, known := ps.instances[p.Store]
	switch {
	case known && (old.URL != "" || p.URL == ""), !known && len(ps.instances) >= maxPeers:
		return false
	case known:
		p.Instance = old.Instance // it said less before
	case ps.instances == nil:
		ps.instances = map[string]papyra.Peer{}
	}
	ps.instances[p.Store] = p
	return !known
}

// expectSink remembers that a sink is there.
func (ps *peerList) expectSink(p papyra.Peer, now time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if _, known := ps.expected[p.Instance]; !known && len(ps.expected) >= maxPeers {
		return
	}
	if ps.expected == nil {
		ps.expected = map[string]Expected{}
	}
	ps.expected[p.Instance] = Expected{p, now}
}

// sinkStopped notes that a sink stops as it was told to: nobody is to miss it.
func (ps *peerList) sinkStopped(p papyra.Peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.expected[p.Instance].Store == p.Store {
		delete(ps.expected, p.Instance)
	}
}

// forgetSink lets a sink be expected no more, and reports whether it was.
func (ps *peerList) forgetSink(instance string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	_, was := ps.expected[instance]
	delete(ps.expected, instance)
	return was
}

// expectedSinks returns the sinks that ought to be there, by instance.
func (ps *peerList) expectedSinks() []Expected {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list := slices.Collect(maps.Values(ps.expected))
	slices.SortFunc(list, func(a, b Expected) int { return cmp.Compare(a.Instance, b.Instance) })
	return list
}

// count returns how many peers are remembered.
func (ps *peerList) count() int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.instances)
}

// list returns the peers by instance and store.
func (ps *peerList) list() []papyra.Peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list := make([]papyra.Peer, 0, len(ps.instances))
	for _, p := range ps.instances {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b papyra.Peer) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Store, b.Store))
	})
	// A report of very many must not be longer than a line may be.
	for i, room := 0, maxPlaces; i < len(list); i++ {
		if room -= len(list[i].Host) + len(list[i].URL); room < 0 {
			list[i].Host, list[i].URL = "", ""
		}
	}
	return list
}

// maxPlaces bounds the hosts and URLs of the peers in one report, in bytes.
const maxPlaces = 32 << 10
