package account_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/broker"
)

// sinks run on one broker.
type sinks struct {
	t      *testing.T
	broker *broker.Broker
	stores []papyra.Store
	stops  []func()
}

// start runs a sink until its stop is called or the test ends.
func (f *sinks) start(group, instance string, store papyra.Store) papyra.Store {
	f.t.Helper()
	s, err := sink.New(sink.Config{
		URL: f.broker.URL(), Group: group, Instance: instance,
		SyncEvery: 5 * time.Millisecond, ReportEvery: 10 * time.Millisecond, PeersEvery: 100 * time.Millisecond,
	}, store)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-ended; err != nil {
				f.t.Error(err)
			}
		}
	}
	f.t.Cleanup(stop)
	f.stores, f.stops = append(f.stores, store), append(f.stops, stop)
	testkit.Await(f.t, "the sink receives", func() bool { return s.Ready() == nil })
	return store
}

// knows waits until the reports in a store name n peers.
func (f *sinks) knows(store papyra.Store, n int) {
	f.t.Helper()
	testkit.Await(f.t, fmt.Sprintf("the store knows of %d others", n), func() bool {
		found := false
		_, err := store.Read(f.t.Context(), papyra.Query{Types: []string{papyra.ReportSink}}, func(rec *papyra.Record, _ papyra.Place) error {
			var r papyra.SinkReport
			err := json.Unmarshal(rec.Payload, &r)
			found = found || len(r.Peers) == n
			return err
		})
		return found && (err == nil || errors.Is(err, papyra.ErrNotFound))
	})
}

func (f *sinks) stop() {
	for _, stop := range f.stops {
		stop()
	}
}

// publish sends n events, each in a message of its own.
func (f *sinks) publish(n uint64) {
	f.t.Helper()
	nc, err := nats.Connect(f.broker.URL())
	if err != nil {
		f.t.Fatal(err)
	}
	defer nc.Close()
	w := newWorld(f.t, 1)
	w.events(0, named("orders", "a"), 1, n)
	for _, line := range w.stores[0] {
		if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), line); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		f.t.Fatal(err)
	}
}

func newSinks(t *testing.T) *sinks {
	t.Helper()
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &sinks{t: t, broker: b}
}

func judged(t *testing.T, stores ...papyra.Store) *account.Result {
	t.Helper()
	readers := make([]account.Reader, len(stores))
	for i, s := range stores {
		readers[i] = s
	}
	r, err := account.Read(t.Context(), account.Options{At: time.Now(), Settle: -1}, nil, readers...)
	if err != nil {
		t.Fatal(err)
	}
	balanced(t, r)
	return r
}

// Of three workers of a group and one of another, real ones, any that is left
// out is named by the others, also one that ended long before; a store of the
// other group is not missed.
func TestAStoreThatIsLeftOutIsNamed(t *testing.T) {
	f := newSinks(t)
	dir := t.TempDir()
	file := func(name string) papyra.Store { return open(t, "json:"+filepath.Join(dir, name)) }
	gone := f.start("archive", "eu-3", file("c"))
	f.start("live", "eu-1", file("x"))
	f.start("archive", "eu-1", file("a"))
	f.start("archive", "eu-2", file("b"))
	f.publish(300)
	for _, i := range []int{0, 2, 3} {
		f.knows(f.stores[i], 2)
	}
	f.stops[0]()
	f.stop()
	// A later start of one knows nobody any more: the earlier reports do.
	f.start("archive", "eu-1", file("a"))
	f.stop()

	all := []papyra.Store{f.stores[0], f.stores[2], f.stores[3]}
	if r := judged(t, all...); r.Verdict != account.Balanced || len(r.Absent) != 0 || r.Total.Stored < 300 {
		t.Errorf("of all: %s, absent %v, %d stored, want balanced", r.Verdict, r.Absent, r.Total.Stored)
	}
	for i, left := range all {
		given := slices.DeleteFunc(slices.Clone(all), func(s papyra.Store) bool { return s == left })
		r := judged(t, given...)
		if r.Verdict != account.Incomplete || len(r.Absent) != 1 || r.Absent[0].Instance != []string{"eu-3", "eu-1", "eu-2"}[i] {
			t.Errorf("without store %d: %s, absent %v, want incomplete and its name", i, r.Verdict, r.Absent)
		}
	}
	if r := judged(t, gone); len(r.Absent) != 2 {
		t.Errorf("of the one that is gone alone: absent %v, want the two others", r.Absent)
	}
	if r := judged(t, f.stores[1]); r.Verdict != account.Balanced || len(r.Absent) != 0 {
		t.Errorf("of the other group: %s, absent %v, want balanced", r.Verdict, r.Absent)
	}
}

// unread is a store that is still empty when its sink looks for the store's id.
type unread struct{ papyra.Store }

func (u unread) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (int64, error) {
	if q.Limit == 1 {
		return 0, papyra.ErrNotFound
	}
	return u.Store.Read(ctx, q, yield)
}

// Two workers that fill one store are not missed by each other, whether they
// begin one after the other, with one id, or at the same moment, with two.
func TestTwoSinksOfOneRedis(t *testing.T) {
	server := redistest.Start(t)
	for _, ids := range []int{1, 2} {
		t.Run(fmt.Sprintf("ids=%d", ids), func(t *testing.T) {
			f := newSinks(t)
			url := fmt.Sprintf("redis://%s/0?prefix=p%d", server.Addr(), ids)
			first := f.start("archive", "eu-1", open(t, url))
			testkit.Await(t, "the first sink has named its store", func() bool { return len(judged(t, first).Stores[0].IDs) == 1 })
			second := open(t, url)
			if ids == 2 {
				second = unread{second}
			}
			f.start("archive", "eu-2", second)
			other := f.start("archive", "eu-3", open(t, "memory:"))
			f.publish(100)
			f.knows(other, ids)
			f.knows(first, ids)
			f.stop()
			if r := judged(t, first, other); r.Verdict != account.Balanced || len(r.Stores[0].IDs) != ids || len(r.Absent) != 0 {
				t.Errorf("%s, ids %v, absent %v, want balanced and %d ids", r.Verdict, r.Stores[0].IDs, r.Absent, ids)
			}
			if r := judged(t, first); r.Verdict != account.Incomplete || len(r.Absent) != 1 || r.Absent[0].Instance != "eu-3" {
				t.Errorf("without the other: %s, absent %v, want eu-3", r.Verdict, r.Absent)
			}
		})
	}
}
