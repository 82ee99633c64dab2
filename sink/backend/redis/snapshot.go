package redis

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
)

const (
	scanCount = 1000 // keys that one SCAN looks at
	pinGroup  = 32   // keys that one round trip pins; each may return one entry
)

// pinned is a stream and how far it reached when it was pinned. Nothing can be
// put between its entries afterwards, only behind the last one.
type pinned struct {
	key    streamKey
	last   entryID // of the newest entry; unused while length is 0
	size   int64   // of the newest entry
	length int64
}

// snapshot is the streams of a store at one moment, by name of their keys.
type snapshot struct {
	streams []*pinned
	odd     []papyra.Anomaly // keys that should be streams and cannot be read as such
	unread  []papyra.Anomaly // streams that are not read, because nothing says that they are of this store
}

func (sn *snapshot) length() (n int64) {
	for _, p := range sn.streams {
		n += p.length
	}
	return n
}

// pin finds the streams in which a query's records may stand, or with nil all,
// and notes their ends. A store of which nothing exists: papyra.ErrNotFound.
func (sn *session) pin(q *papyra.Query) (*snapshot, error) {
	if q != nil && len(q.Systems) > 0 {
		// Their keys can be named, without a look at every key of the server.
		snap, err := sn.pinKeys(sn.named(q))
		if err != nil || len(snap.streams) > 0 {
			return snap, err
		}
	}
	keys, err := sn.find()
	if err != nil {
		return nil, err
	}
	snap, err := sn.pinKeys(keys)
	if err != nil {
		return nil, err
	}
	if len(snap.streams)+len(snap.odd) == 0 {
		n, err := sn.client.Exists(sn.ctx, sn.keys.marker()).Result()
		if err != nil {
			return nil, sn.failed("look for the store", sn.keys.marker(), err)
		}
		if n == 0 {
			return nil, &papyra.StoreError{
				Op: "open", Path: sn.URL(), Offset: -1, Err: papyra.ErrNotFound,
				Hint: "there is no stream under this prefix: check host, database and prefix",
			}
		}
	}
	if q != nil {
		snap.streams = slices.DeleteFunc(snap.streams, func(p *pinned) bool { return !mayHold(q, p.key) })
	}
	return snap, nil
}

// named returns the keys of the systems that a query names.
func (sn *session) named(q *papyra.Query) []streamKey {
	found := map[string]streamKey{}
	for _, system := range q.Systems {
		for kind := range papyra.Kind(papyra.KindCount) {
			for _, key := range sn.keys.streamsOf(papyra.Stream{System: system, Kind: kind}) {
				if mayHold(q, key) {
					found[key.name] = key
				}
			}
		}
	}
	return sortedKeys(found)
}

// mayHold reports whether records that q chooses may stand under a key. A
// record of an unknown kind may stand under any of its system.
func mayHold(q *papyra.Query, key streamKey) bool {
	if len(q.Kinds) > 0 && !slices.Contains(q.Kinds, key.kind) && !slices.Contains(q.Kinds, papyra.KindUnknown) {
		return false
	}
	return len(q.Systems) == 0 || slices.ContainsFunc(q.Systems, func(system string) bool {
		return key.names(system) || key.endsIn(system)
	})
}

// find looks through the names of all keys for those of streams, and notes the
// strangers.
func (sn *session) find() ([]streamKey, error) {
	found := map[string]streamKey{}
	sn.strangers = nil
	err := sn.eachMaster(func(ctx context.Context, c *goredis.Client) error {
		cursor := uint64(0)
		for {
			names, next, err := c.Scan(ctx, cursor, sn.keys.pattern(), scanCount).Result()
			if err != nil {
				return err
			}
			for _, name := range names {
				if key, ok := sn.keys.parse(name); ok {
					found[name] = key
				} else if sn.keys.isStranger(name) && len(sn.strangers) < maxStrangers {
					sn.strangers = append(sn.strangers, name)
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
	if err != nil {
		return nil, sn.failed("list the keys of", sn.URL(), err)
	}
	return sortedKeys(found), nil
}

// pinKeys notes the ends of streams. Keys that do not exist are left out.
func (sn *session) pinKeys(keys []streamKey) (*snapshot, error) {
	snap := &snapshot{}
	for group := range slices.Chunk(keys, pinGroup) {
		pipe := sn.client.Pipeline()
		for _, key := range group {
			pipe.Type(sn.ctx, key.name)
			pipe.XLen(sn.ctx, key.name)
			pipe.Do(sn.ctx, "XREVRANGE", key.name, "+", "-", "COUNT", 1)
		}
		cmds, err := sn.exec(pipe)
		if err != nil {
			return nil, sn.failed("read the ends of streams of", sn.URL(), err)
		}
		for i, key := range group {
			add := snap.add
			if key.isUnsure() {
				add = sn.addUnsure(snap)
			}
			if err := add(key, cmds[3*i].(*goredis.StatusCmd), cmds[3*i+1].(*goredis.IntCmd), cmds[3*i+2].(*goredis.Cmd)); err != nil {
				return nil, sn.failed("read the end of", key.name, err)
			}
		}
	}
	return snap, nil
}

func (sn *snapshot) add(key streamKey, kind *goredis.StatusCmd, length *goredis.IntCmd, newest *goredis.Cmd) error {
	switch err := kind.Err(); {
	case err == nil && kind.Val() == "none":
		return nil
	case err == nil && kind.Val() != "stream":
		sn.odd = append(sn.odd, papyra.Anomaly{
			Class: papyra.ClassUnexpectedFile, Stream: key.name, Detail: "a " + kind.Val() + " in the place of a stream",
		})
		return nil
	}
	for _, err := range []error{kind.Err(), length.Err(), newest.Err()} {
		if local(err) {
			sn.odd = append(sn.odd, unreadable(key, err))
			return nil
		}
		if err != nil {
			return err
		}
	}
	page, err := decodePage(newest.Val(), nil)
	if err != nil {
		return err
	}
	p := &pinned{key: key}
	if len(page) > 0 {
		p.last, p.size, p.length = page[0].id, page[0].size(), length.Val()
	}
	sn.streams = append(sn.streams, p)
	return nil
}

// exec sends commands at once. The error is of all of them; one that the server
// answered to a command is that command's own. When a new connection is refused,
// as after a login was revoked, the client returns the server's answer to that
// and leaves every command without an error and without a reply.
func (sn *session) exec(pipe goredis.Pipeliner) ([]goredis.Cmder, error) {
	cmds, err := pipe.Exec(sn.ctx)
	own := func(c goredis.Cmder) bool { return c.Err() != nil }
	if answered(err) && slices.ContainsFunc(cmds, own) {
		return cmds, nil
	}
	return cmds, err
}

// local reports whether an error is of one key, so that others may be read.
func local(err error) bool {
	if !answered(err) {
		return false
	}
	f := about(err).cause
	return f == papyra.CauseNOPERM || f == papyra.CauseWRONGTYPE
}

func unreadable(key streamKey, err error) papyra.Anomaly {
	return papyra.Anomaly{Class: papyra.ClassUnreadable, Stream: key.name, Detail: err.Error() + ": " + about(err).hint}
}

// readable reports whether every key that should be a stream could be read.
func (sn *snapshot) readable() bool {
	return !slices.ContainsFunc(sn.odd, func(a papyra.Anomaly) bool { return a.Class == papyra.ClassUnreadable })
}

// incomplete says which parts could not be read, or nil.
func (sn *snapshot) incomplete(op, url string) error {
	if len(sn.odd) == 0 {
		return nil
	}
	var parts []string
	for _, a := range sn.odd[:min(len(sn.odd), 8)] {
		parts = append(parts, a.Stream+": "+a.Detail)
	}
	return &papyra.StoreError{Op: op, Path: url, Offset: -1, Err: papyra.ErrIncomplete, Hint: strings.Join(parts, "; ")}
}

func sortedNames(names iter.Seq[string]) []string { return slices.Sorted(names) }

// cursor reads one stream page by page, from its oldest entry to the newest or
// back.
type cursor struct {
	stream   *pinned
	reverse  bool
	from, to entryID // what is still to be read, both included
	ended    bool    // nothing is

	page  []entry
	at    int   // of the next entry in page
	want  int64 // entries of the next page
	bytes int64 // that a page should have

	largest int64 // size of the largest entry that was met
}

const (
	firstPage = 16  // entries of a stream's first page
	maxPage   = 256 // entries of a page at most
	// pageBytes is what a page should have. One entry may be larger, and so may a
	// page where entries suddenly get longer.
	pageBytes = 512 << 10
	// longPageBytes is what a page of entries would have that are all as long as the
	// longest one that was met in the stream. One entry may be larger.
	longPageBytes = 16 << 20
	// pagesBytes is what the pages of all streams should have together.
	pagesBytes   = 32 << 20
	minPageBytes = 16 << 10
)

func newCursor(p *pinned, reverse bool, streams int) *cursor {
	c := &cursor{
		stream: p, reverse: reverse, to: p.last, ended: p.length == 0,
		bytes: max(min(pageBytes, pagesBytes/int64(streams)), minPageBytes), largest: max(p.size, 1),
	}
	c.want = max(1, min(firstPage, c.bytes/c.largest))
	return c
}

// command asks for the next page.
func (c *cursor) command() []any {
	if c.reverse {
		return []any{"XREVRANGE", c.stream.key.name, c.to.String(), c.from.String(), "COUNT", c.want}
	}
	return []any{"XRANGE", c.stream.key.name, c.from.String(), c.to.String(), "COUNT", c.want}
}

// take takes the answer.
func (c *cursor) take(reply any) error {
	var err error
	clear(c.page) // the old entries' bytes
	c.page, err = decodePage(reply, c.page[:0])
	c.at = 0
	if err != nil {
		return err
	}
	n := int64(len(c.page))
	if n == 0 {
		c.ended = true
		return nil
	}
	size := int64(0)
	for i := range c.page {
		size += c.page[i].size()
		c.largest = max(c.largest, c.page[i].size())
	}
	c.ended = n < c.want
	switch last := c.page[n-1].id; {
	case c.reverse && last.compare(c.from) > 0:
		c.to = last.prev()
	case !c.reverse && last.compare(c.to) < 0:
		c.from = last.next()
	default:
		c.ended = true
	}
	c.want = max(1, min(c.bytes*n/size, 2*c.want, maxPage, longPageBytes/c.largest))
	return nil
}

// fill gets the next page. It reports false at the end of the stream.
func (sn *session) fill(c *cursor) (bool, error) {
	if c.ended {
		return false, nil
	}
	if err := sn.ended(); err != nil {
		return false, err
	}
	reply, err := sn.client.Do(sn.ctx, c.command()...).Result()
	if err == nil {
		err = c.take(reply)
	}
	return err == nil && len(c.page) > 0, err
}

// merge reads several streams in the order of their entries' ids, or back. Equal
// ids are in the order of the keys.
type merge struct {
	sn      *session
	snap    *snapshot
	reverse bool
	heap    []*cursor // a heap: the first one's next entry is next
	last    *cursor   // whose entry was returned, and is to be moved on
}

// fillGroup is how many streams get their first page in one round trip.
const fillGroup = 32

// newMerge reads the first pages. A stream that cannot be read becomes odd.
func (sn *session) newMerge(snap *snapshot, reverse bool) (*merge, error) {
	m := &merge{sn: sn, snap: snap, reverse: reverse}
	var cursors []*cursor
	for _, p := range snap.streams {
		if c := newCursor(p, reverse, len(snap.streams)); !c.ended {
			cursors = append(cursors, c)
		}
	}
	return m, m.start(cursors)
}

func (m *merge) start(cursors []*cursor) error {
	for group := range slices.Chunk(cursors, fillGroup) {
		if err := m.sn.ended(); err != nil {
			return err
		}
		pipe := m.sn.client.Pipeline()
		for _, c := range group {
			pipe.Do(m.sn.ctx, c.command()...)
		}
		cmds, err := m.sn.exec(pipe)
		if err != nil {
			return m.sn.failed("read streams of", m.sn.URL(), err)
		}
		for i, c := range group {
			reply, err := cmds[i].(*goredis.Cmd).Result()
			if err == nil {
				err = c.take(reply)
			}
			if err != nil {
				if err := m.unread(c, err); err != nil {
					return err
				}
			} else if len(c.page) > 0 {
				m.push(c)
			}
		}
	}
	return nil
}

// unread notes a stream that cannot be read, or returns the error of all.
func (m *merge) unread(c *cursor, err error) error {
	if !local(err) {
		return m.sn.failed("read", c.stream.key.name, err)
	}
	m.snap.odd = append(m.snap.odd, unreadable(c.stream.key, err))
	return nil
}

var errEnd = errors.New("no more entries")

// next returns the next entry and its stream, or errEnd. The entry is valid
// until the next call.
func (m *merge) next() (*pinned, *entry, error) {
	if c := m.last; c != nil {
		m.last = nil
		c.at++
		more := c.at < len(c.page)
		if !more {
			var err error
			if more, err = m.sn.fill(c); err != nil {
				if err := m.sn.ended(); err != nil {
					return nil, nil, err
				}
				if err := m.unread(c, err); err != nil {
					return nil, nil, err
				}
				more = false
			}
		}
		if !more {
			end := len(m.heap) - 1
			m.heap[0] = m.heap[end]
			m.heap = m.heap[:end]
		}
		m.down(0)
	}
	if len(m.heap) == 0 {
		return nil, nil, errEnd
	}
	m.last = m.heap[0]
	return m.last.stream, &m.last.page[m.last.at], nil
}

// before reports whether a's next entry comes before b's.
func (m *merge) before(a, b *cursor) bool {
	c := a.page[a.at].id.compare(b.page[b.at].id)
	if c == 0 {
		c = strings.Compare(a.stream.key.name, b.stream.key.name)
	}
	if m.reverse {
		return c > 0
	}
	return c < 0
}

func (m *merge) push(c *cursor) {
	m.heap = append(m.heap, c)
	for i := len(m.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !m.before(m.heap[i], m.heap[parent]) {
			return
		}
		m.heap[i], m.heap[parent] = m.heap[parent], m.heap[i]
		i = parent
	}
}

func (m *merge) down(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.before(m.heap[child], m.heap[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		m.heap[i], m.heap[first] = m.heap[first], m.heap[i]
		i = first
	}
}
