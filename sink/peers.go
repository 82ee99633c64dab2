package sink

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
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
)

// peers are the stores of a group's other sinks by their ids, with the instance
// that named each first. What was heard of once stays: a store holds records
// also when its sink is gone. The owner's mutex guards it.
type peers map[string]string

// parsePeer reads the answer of a sink. It returns false for one of another
// group, and for anything that no sink of ours can have said: whoever may answer
// on the broker may say anything.
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
	return p, true
}

// add remembers a peer and reports whether it is news.
func (ps peers) add(p papyra.Peer) bool {
	if _, known := ps[p.Store]; known || len(ps) >= maxPeers {
		return false
	}
	ps[p.Store] = p.Instance
	return true
}

// list returns the peers by instance and store.
func (ps peers) list() []papyra.Peer {
	list := make([]papyra.Peer, 0, len(ps))
	for store, instance := range ps {
		list = append(list, papyra.Peer{Instance: instance, Store: store})
	}
	slices.SortFunc(list, func(a, b papyra.Peer) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Store, b.Store))
	})
	return list
}

// heard notes what another sink says of itself. Two sinks that fill one store
// share its id, so that neither is a store that an account could miss.
func (s *Sink) heard(answer []byte) {
	p, ok := parsePeer(answer, s.config.Group)
	if !ok || p.Store == s.store {
		return
	}
	s.mu.Lock()
	news := s.peers.add(p)
	s.mu.Unlock()
	if news {
		s.log.Debug("another store of the group", "of", p.Instance, "store", p.Store)
	}
}
