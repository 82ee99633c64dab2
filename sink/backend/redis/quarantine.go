package redis

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/judge"
)

// unnamedAct is the act of the quarantined entries that name none: of the Python
// implementation, and of versions that did not write it down.
const unnamedAct = "unnamed"

var errNoDirectory = fmt.Errorf("a Redis store keeps its quarantine in a stream, give no directory: %w", papyra.ErrUsage)

// QuarantineActs returns what recoveries have moved into the quarantine streams of the
// store's streams; see [papyra.QuarantineReader]. Entries that name no act belong to
// one that is called "unnamed". It reads all entries.
func (s *Store) QuarantineActs(ctx context.Context, dir string) ([]papyra.QuarantineAct, error) {
	byID := map[string]*papyra.QuarantineAct{}
	err := s.eachQuarantined(ctx, dir, func(q *quarantined) error {
		act := byID[q.act]
		if act == nil {
			act = &papyra.QuarantineAct{ID: q.act, Place: q.stream, Complete: true, Counts: map[papyra.Class]int64{}}
			byID[q.act] = act
		}
		if act.Place != q.stream {
			act.Place = s.keys.quarantines()
		}
		act.Pieces++
		act.Bytes += q.piece.Length
		act.Counts[q.piece.Class]++
		return nil
	})
	var acts []papyra.QuarantineAct
	for _, act := range byID {
		acts = append(acts, *act)
	}
	slices.SortFunc(acts, func(a, b papyra.QuarantineAct) int { return cmp.Compare(a.ID, b.ID) })
	return acts, err
}

// QuarantinePieces visits the entries of an act, stream by stream; see
// [papyra.QuarantineReader]. The content of one is its field data.
func (s *Store) QuarantinePieces(ctx context.Context, dir, act string, yield func(*papyra.QuarantinePiece) error) error {
	found := false
	err := s.eachQuarantined(ctx, dir, func(q *quarantined) error {
		if q.act != act {
			return nil
		}
		found = true
		return yield(&q.piece)
	})
	if err == nil && !found {
		return &papyra.StoreError{Op: "read quarantine act " + act, Path: s.URL(), Offset: -1, Err: papyra.ErrNotFound, Hint: "papyra-ctl quarantine list names the acts"}
	}
	return err
}

// quarantined is an entry of a quarantine stream.
type quarantined struct {
	stream string // the quarantine
	act    string
	piece  papyra.QuarantinePiece
}

// eachQuarantined visits the entries of all quarantine streams, by the names of these
// and from the oldest entry on.
func (s *Store) eachQuarantined(ctx context.Context, dir string, visit func(*quarantined) error) error {
	if dir != "" {
		return errNoDirectory
	}
	sn, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	snap, err := sn.pin(nil)
	if err != nil {
		return err // there is no such store, or no way to it
	}
	ours := map[string]bool{}
	for _, p := range snap.streams {
		ours[p.key.name] = true
	}
	names, err := sn.quarantineStreams()
	if err != nil {
		return err
	}
	var j entryJudge
	for _, name := range names {
		for from := "-"; ; {
			if err := sn.ended(); err != nil {
				return err
			}
			reply, err := sn.client.Do(sn.ctx, "XRANGE", name, from, "+", "COUNT", moveLines).Result()
			if err != nil {
				return sn.failed("read", name, err)
			}
			page, err := decodePage(reply, nil)
			if err != nil {
				return sn.failed("read", name, err)
			}
			for i := range page {
				q, ok := sn.keys.decodeQuarantined(&j, &page[i], ours)
				if !ok {
					continue // of another store, or of nobody
				}
				q.stream = name
				if err := visit(q); err != nil {
					return err
				}
			}
			if len(page) < moveLines {
				break
			}
			from = page[len(page)-1].id.next().String()
		}
	}
	return nil
}

// quarantineStreams returns the names of the keys that may be quarantine streams of
// this store, in order.
func (sn *session) quarantineStreams() ([]string, error) {
	var found []string
	pattern := sn.keys.pattern()
	if sn.keys.cluster {
		pattern = "{" + pattern + "}:quarantine"
	}
	err := sn.eachMaster(func(ctx context.Context, c *goredis.Client) error {
		for cursor := uint64(0); ; {
			names, next, err := c.ScanType(ctx, cursor, pattern, scanCount, "stream").Result()
			if err != nil {
				return err
			}
			for _, name := range names {
				if sn.keys.cluster || strings.Contains(name[len(sn.keys.prefix):], ":quarantine:") {
					found = append(found, name)
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
	slices.Sort(found)
	return slices.Compact(found), sn.failed("list the keys of", sn.URL(), err)
}

// decodeQuarantined reads an entry of a quarantine stream. It is none of this store's
// if its source is no stream of it: where the key alone does not tell, the stream must
// be among those with these names, or the entry hold a record of it.
func (k keyspace) decodeQuarantined(j *entryJudge, e *entry, ours map[string]bool) (*quarantined, bool) {
	fields := map[string]string{}
	for i := len(e.fields) - 2; i >= 0; i -= 2 {
		fields[e.field(i)] = e.field(i + 1)
	}
	key, ok := k.parse(fields["source"])
	if !ok {
		return nil, false
	}
	moved := entry{id: e.id, fields: []any{dataField, fields[dataField]}}
	if whole, err := decodeFields(fields["fields"]); err == nil && fields["fields"] != "" {
		moved.fields = whole
	}
	if key.isUnsure() && !ours[key.name] && key.claim([]entry{moved}) != claimOurs {
		return nil, false
	}
	q := &quarantined{act: cmp.Or(fields["act"], unnamedAct)}
	q.piece.Stream, q.piece.ID, q.piece.Length = key.name, cmp.Or(fields["id"], e.id.String()), int64(len(fields[dataField]))
	var rec papyra.Record
	if verdict, damage := j.entry(&rec, &key, &moved, true); verdict == judge.Damaged {
		q.piece.Class, q.piece.Detail = damage.Class, detail(damage)
	}
	q.piece.Foreign = papyra.ParseInto(&rec, []byte(fields[dataField])) == nil && !key.holds(&rec)
	q.piece.Content = strings.NewReader(fields[dataField])
	return q, true
}

// decodeFields reads what entry.encoded returns.
func decodeFields(text string) ([]any, error) {
	var pairs [][2]string
	if err := json.Unmarshal([]byte(text), &pairs); err != nil {
		return nil, err
	}
	fields := make([]any, 0, 2*len(pairs))
	for _, pair := range pairs {
		name, err1 := base64.StdEncoding.DecodeString(pair[0])
		value, err2 := base64.StdEncoding.DecodeString(pair[1])
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		fields = append(fields, string(name), string(value))
	}
	return fields, nil
}
