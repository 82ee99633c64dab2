package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/papyra/papyra"
)

// Group is a consumer group that some other program has on a stream.
type Group struct {
	Stream    string `json:"stream"` // the key
	Name      string `json:"group"`
	Consumers int64  `json:"consumers"`
	Pending   int64  `json:"pending"` // delivered and not acknowledged
	Lag       int64  `json:"lag"`     // not delivered yet; -1 if the server does not know

	delivered entryID // the last one
}

// Groups returns the consumer groups on the streams of the store, by stream and
// name. Nothing here ever uses, makes or changes one.
func (s *Store) Groups(ctx context.Context) ([]Group, error) {
	sn, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	snap, err := sn.pin(nil)
	if err != nil {
		return nil, err
	}
	out := []Group{}
	for _, p := range snap.streams {
		groups, err := sn.groups(p)
		if err != nil {
			return nil, err
		}
		out = append(out, groups...)
	}
	return out, nil
}

// groups returns the groups of one stream.
func (sn *session) groups(p *pinned) ([]Group, error) {
	if err := sn.ended(); err != nil {
		return nil, err
	}
	infos, err := sn.client.XInfoGroups(sn.ctx, p.key.name).Result()
	if err != nil {
		return nil, sn.failed("list the consumer groups of", p.key.name, err)
	}
	var out []Group
	for _, g := range infos {
		delivered, ok := parseID(g.LastDeliveredID)
		if !ok {
			return nil, sn.failed("list the consumer groups of", p.key.name, fmt.Errorf("%q was delivered last", g.LastDeliveredID))
		}
		out = append(out, Group{
			Stream: p.key.name, Name: g.Name, Consumers: g.Consumers, Pending: g.Pending, Lag: g.Lag, delivered: delivered,
		})
	}
	slices.SortFunc(out, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// part is an unbroken part of a stream's entries.
type part struct {
	first, last entryID
	entries     int64
}

// touched returns the groups for which some of the entries that go are pending
// or not delivered yet. The parts of each stream are in order.
func (sn *session) touched(going map[*pinned][]part) ([]papyra.RemovedGroup, error) {
	var out []papyra.RemovedGroup
	for p, parts := range going {
		groups, err := sn.groups(p)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			t := papyra.RemovedGroup{Stream: g.Stream, Group: g.Name}
			if t.Undelivered, err = sn.undelivered(p, g.delivered, parts); err != nil {
				return nil, err
			}
			if g.Pending > 0 {
				if t.Pending, err = sn.pending(p, g.Name, parts); err != nil {
					return nil, err
				}
			}
			if t.Pending+t.Undelivered > 0 {
				out = append(out, t)
			}
		}
	}
	slices.SortFunc(out, func(a, b papyra.RemovedGroup) int {
		return strings.Compare(a.Stream+"\x00"+a.Group, b.Stream+"\x00"+b.Group)
	})
	return out, nil
}

// undelivered counts the entries behind the last one that was delivered.
func (sn *session) undelivered(p *pinned, delivered entryID, parts []part) (n int64, err error) {
	for _, part := range parts {
		switch {
		case part.last.compare(delivered) <= 0:
		case part.first.compare(delivered) > 0:
			n += part.entries
		default: // at most one
			entries, err := sn.client.Do(sn.ctx, "XRANGE", p.key.name, delivered.next().String(), part.last.String(), "COUNT", part.entries).Slice()
			if err != nil {
				return 0, sn.failed("read", p.key.name, err)
			}
			n += int64(len(entries))
		}
	}
	return n, nil
}

// pendingPage is how many pending entries one command lists.
const pendingPage = 1000

// pending counts the entries that a group has delivered and that were not
// acknowledged.
func (sn *session) pending(p *pinned, group string, parts []part) (n int64, err error) {
	from, to := parts[0].first, parts[len(parts)-1].last
	for {
		if err := sn.ended(); err != nil {
			return 0, err
		}
		page, err := sn.client.Do(sn.ctx, "XPENDING", p.key.name, group, from.String(), to.String(), pendingPage).Slice()
		if err != nil {
			return 0, sn.failed("list what is pending of", p.key.name, err)
		}
		var id entryID
		for _, item := range page {
			fields, _ := item.([]any)
			text := ""
			if len(fields) > 0 {
				text, _ = fields[0].(string)
			}
			var ok bool
			if id, ok = parseID(text); !ok {
				return 0, sn.failed("list what is pending of", p.key.name, fmt.Errorf("the id %q is pending", text))
			}
			i, _ := slices.BinarySearchFunc(parts, id, func(p part, id entryID) int { return p.last.compare(id) })
			if i < len(parts) && parts[i].first.compare(id) <= 0 {
				n++
			}
		}
		if len(page) < pendingPage || id.compare(to) >= 0 {
			return n, nil
		}
		from = id.next()
	}
}
