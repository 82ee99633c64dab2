package redis

import (
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
)

// claim is whose records the entries of an unsure key are.
type claim uint8

const (
	claimUnclear claim = iota
	claimOurs
	claimOthers
)

// claim says whose records one of the entries shows the key to hold.
func (key streamKey) claim(entries []entry) claim {
	for i := range entries {
		if !entries[i].plain() {
			continue
		}
		rec, err := papyra.Parse([]byte(entries[i].field(1)))
		switch {
		case err != nil:
		case key.names(string(rec.System)):
			return claimOurs
		case key.endsIn(string(rec.System)):
			return claimOthers
		}
	}
	return claimUnclear
}

// claimEntries is how many of the newest entries of an unsure key are asked whose they
// are.
const claimEntries = 8

// addUnsure returns what snapshot.add is for a key of which only the records tell
// whether it is one of this store. One that is none is unread.
func (sn *session) addUnsure(snap *snapshot) func(streamKey, *goredis.StatusCmd, *goredis.IntCmd, *goredis.Cmd) error {
	return func(key streamKey, kind *goredis.StatusCmd, length *goredis.IntCmd, newest *goredis.Cmd) error {
		unread := func(why string) {
			snap.unread = append(snap.unread, papyra.Anomaly{Class: papyra.NoticeNotRead, Stream: key.name, Detail: why})
		}
		if kind.Err() == nil && kind.Val() != "stream" {
			return nil // whatever it is, it is not of this store
		}
		for _, err := range []error{kind.Err(), length.Err(), newest.Err()} {
			if local(err) {
				unread(err.Error() + ": " + about(err).hint)
				return nil
			}
			if err != nil {
				return err
			}
		}
		page, err := decodePage(newest.Val(), nil)
		if err != nil || len(page) == 0 {
			return err
		}
		whose := key.claim(page)
		if whose == claimUnclear {
			reply, err := sn.client.Do(sn.ctx, "XREVRANGE", key.name, "+", "-", "COUNT", claimEntries).Result()
			if err != nil {
				return err
			}
			if page, err = decodePage(reply, nil); err != nil {
				return err
			}
			whose = key.claim(page)
		}
		switch whose {
		case claimOurs:
			return snap.add(key, kind, length, newest)
		case claimOthers:
			unread("its records are of a store with a longer prefix")
		default:
			unread("none of its newest entries is a record of a system whose key this is")
		}
		return nil
	}
}

// maxStrangers is how many streams are named that no store of this version has.
const maxStrangers = 1000

// findStrangers returns the streams, among the keys that find has met last, whose keys
// name no category.
func (sn *session) findStrangers() ([]papyra.Anomaly, error) {
	var names []string
	for group := range slices.Chunk(sn.strangers, pinGroup) {
		pipe := sn.client.Pipeline()
		for _, name := range group {
			pipe.Type(sn.ctx, name)
		}
		cmds, err := sn.exec(pipe)
		if err != nil {
			return nil, sn.failed("ask for the types of keys of", sn.URL(), err)
		}
		for i, name := range group {
			if kind := cmds[i].(*goredis.StatusCmd); kind.Err() == nil && kind.Val() == "stream" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	var out []papyra.Anomaly
	for _, name := range slices.Compact(names) {
		out = append(out, papyra.Anomaly{Class: papyra.NoticeNotRead, Stream: name, Detail: "its key ends in no category of records"})
	}
	return out, nil
}
