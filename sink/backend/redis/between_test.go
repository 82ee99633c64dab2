package redis

import (
	"context"
	"errors"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
)

// These tests change the server between two requests of one call.

// filled returns a session of a store that holds lines.
func filled(t *testing.T, url string, lines ...[]byte) *session {
	t.Helper()
	ctx := context.Background()
	store, err := Open(url, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	a, err := store.Appender(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(ctx, testrecord.Batch(lines...)); err != nil {
		t.Fatal(err)
	}
	sn, end, err := store.begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return sn
}

// A login that is revoked between two requests of a reader is an outage, and no
// damage in the streams that the reader could not look at.
func TestRevokedLoginIsNoDamage(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do(t, "ACL", "SETUSER", "sink", "on", ">pw", "~*", "&*", "+@all")
	sn := filled(t, "redis://sink:pw@"+s.Addr(), testrecord.New(1).Event())
	keys, err := sn.find()
	if err != nil || len(keys) != 1 {
		t.Fatalf("found %v: %v", keys, err)
	}
	snap, err := sn.pinKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	s.Do(t, "ACL", "DELUSER", "sink")

	// The server has ended the old connections, which is a fault of its own.
	for _, look := range []func() error{
		func() error { got, err := sn.pinKeys(keys); return damage(got, err) },
		func() error { _, err := sn.newMerge(snap, false); return damage(snap, err) },
	} {
		var err error
		for range 2 * poolSize {
			if err = look(); CauseOf(err) == papyra.CauseNOAUTH {
				break
			}
		}
		if CauseOf(err) != papyra.CauseNOAUTH || !errors.Is(err, papyra.ErrUnavailable) {
			t.Errorf("a look at streams after the login was revoked: %v, want cause %s", err, papyra.CauseNOAUTH)
		}
	}
}

var errDamage = errors.New("an outage is taken for damage")

func damage(snap *snapshot, err error) error {
	if err == nil && len(snap.odd) > 0 {
		return errors.Join(errDamage, errors.New(snap.odd[0].Detail))
	}
	return err
}

// A stream or a group that somebody deletes since it was found takes nothing
// with it that a compaction would have to warn of, or fail for.
func TestStreamsAndGroupsThatGo(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	sn := filled(t, "redis://"+s.Addr(), testrecord.New(1).Events(3)...)
	snap, err := sn.pin(nil)
	if err != nil || len(snap.streams) != 1 {
		t.Fatalf("found %+v: %v", snap, err)
	}
	p := snap.streams[0]
	s.Do(t, "XGROUP", "CREATE", p.key.name, "live", "0")
	s.Do(t, "XREADGROUP", "GROUP", "live", "c", "COUNT", "2", "STREAMS", p.key.name, ">")
	parts := []part{{entryID{}, p.last, p.length}}
	if n, err := sn.pending(p, "live", parts); n != 2 || err != nil {
		t.Fatalf("%d pending, %v, want 2", n, err)
	}
	s.Do(t, "XGROUP", "DESTROY", p.key.name, "live")
	if n, err := sn.pending(p, "live", parts); n != 0 || err != nil {
		t.Errorf("of a group that went %d are pending, %v", n, err)
	}
	s.Do(t, "DEL", p.key.name)
	if n, err := sn.pending(p, "live", parts); n != 0 || err != nil {
		t.Errorf("of a stream that went %d are pending, %v", n, err)
	}
	if groups, err := sn.touched(map[*pinned][]part{p: parts}); len(groups) > 0 || err != nil {
		t.Errorf("a stream that went has the groups %v, %v", groups, err)
	}
}
