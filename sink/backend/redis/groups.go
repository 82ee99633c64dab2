package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/maintain"
)

// group is a consumer group that some other program has on a stream.
type group struct {
	papyra.ConsumerGroup
	delivered entryID // the last one
}

// Groups returns the consumer groups on the streams of the store, by stream and
// name. Nothing here ever uses, makes or changes one. What a server before
// Redis 7 does not tell is the lag.
func (s *Store) Groups(ctx context.Context) ([]papyra.ConsumerGroup, error) {
	sn, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	snap, err := sn.pin(nil)
	if err != nil {
		return nil, err
	}
	out := []papyra.ConsumerGroup{}
	for _, p := range snap.streams {
		groups, err := sn.groups(p)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			out = append(out, g.ConsumerGroup)
		}
	}
	return out, nil
}

// groups returns the groups of one stream by name.
func (sn *session) groups(p *pinned) ([]group, error) {
	if err := sn.ended(); err != nil {
		return nil, err
	}
	infos, err := sn.client.Do(sn.ctx, "XINFO", "GROUPS", p.key.name).Slice()
	if says(err, "ERR no such key") {
		return nil, nil // the stream went since it was found, and its groups with it
	}
	if err != nil {
		return nil, sn.failed("list the consumer groups of", p.key.name, err)
	}
	var out []group
	for _, info := range infos {
		g, err := parseGroup(info)
		if err != nil {
			return nil, sn.failed("list the consumer groups of", p.key.name, err)
		}
		g.Stream, g.System, g.Category = p.key.name, p.key.system(), p.key.kind.Category()
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b group) int { return strings.Compare(a.Group, b.Group) })
	return out, nil
}

// parseGroup reads one group of the answer to XINFO GROUPS: names and values in
// turn. A lag that is not there or nil is not known.
func parseGroup(info any) (g group, err error) {
	fields, _ := info.([]any)
	known := 0
	for i := 0; i+1 < len(fields); i += 2 {
		number, isNumber := fields[i+1].(int64)
		text, _ := fields[i+1].(string)
		switch fields[i] {
		case "name":
			g.Group = text
			known++
		case "consumers":
			g.Consumers = number
			known++
		case "pending":
			g.Pending = number
			known++
		case "last-delivered-id":
			var ok bool
			if g.delivered, ok = parseID(text); !ok {
				return g, fmt.Errorf("%q was delivered last", text)
			}
			known++
		case "lag":
			if isNumber {
				g.Lag = &number
			}
		}
	}
	if known < 4 {
		return g, fmt.Errorf("the server's group is a %T of %d parts", info, len(fields))
	}
	return g, nil
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
			t := papyra.RemovedGroup{Stream: g.Stream, Group: g.Group}
			if t.Undelivered, err = sn.undelivered(p, g.delivered, parts); err != nil {
				return nil, err
			}
			if g.Pending > 0 {
				if t.Pending, err = sn.pending(p, g.Group, parts); err != nil {
					return nil, err
				}
			}
			if t.Pending+t.Undelivered > 0 {
				out = append(out, t)
			}
		}
	}
	maintain.SortGroups(out)
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
		if says(err, "NOGROUP") {
			return n, nil // the group went since it was found
		}
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
