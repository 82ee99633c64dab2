package sink_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/broker"
)

// list is a store in a slice, with what a sink itself asks of a store. Scan,
// Recover, Compact and Groups are left to the embedded nil, and panic:
// integration/thirdparty has a store with all of them.
type list struct {
	papyra.Store
	mu    sync.Mutex
	lines [][]byte
}

func (l *list) URL() string           { return "list:" }
func (l *list) Traits() papyra.Traits { return papyra.Traits{} }
func (l *list) RejectFile() string    { return "" }
func (l *list) Close() error          { return nil }

func (l *list) Warnings(context.Context, papyra.Retention) ([]string, error) {
	return []string{"it forgets everything when the process ends"}, nil
}

// Read knows neither retention nor duplicates, and a limit only in reverse.
func (l *list) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (damaged int64, err error) {
	l.mu.Lock()
	lines := slices.Clone(l.lines)
	l.mu.Unlock()
	if q.Reverse {
		slices.Reverse(lines)
	}
	for n := 0; len(lines) > 0 && (q.Limit == 0 || n < q.Limit) && ctx.Err() == nil; lines = lines[1:] {
		rec, err := papyra.Parse(lines[0])
		if err != nil {
			damaged++
		} else if q.Match(&rec) {
			n++
			if err := yield(&rec, papyra.Place{}); err != nil {
				return damaged, err
			}
		}
	}
	return damaged, ctx.Err()
}

func (l *list) Appender(context.Context) (papyra.Appender, error) { return listAppender{l}, nil }

type listAppender struct{ l *list }

func (a listAppender) Append(_ context.Context, b *papyra.Batch) (stored int, err error) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	for i := range b.Len() {
		line, _ := b.Line(i)
		a.l.lines = append(a.l.lines, slices.Clone(line)) // the batch is used again
	}
	return b.Len(), nil
}

func (a listAppender) Sync(context.Context) error { return nil }
func (a listAppender) Stats() papyra.AppendStats  { return papyra.AppendStats{} }
func (a listAppender) Close() error               { return nil }

// A store of your own needs no registration: it is given to the sink.
func ExampleNew() {
	srv, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	store := &list{}
	worker, err := sink.New(sink.Config{URL: srv.URL()}, store)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- worker.Run(ctx) }()
	<-worker.Receiving()

	nc, err := nats.Connect(srv.URL())
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	record := `{"kind":"event","system_id":"orders","actor_address":"orders:cart","event_type":"ActorStarted","payload":{},"timestamp":1700000000.5}`
	_ = nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), []byte(record))
	_ = nc.Flush()

	stop()
	fmt.Println("stopped:", <-ended)
	_, err = store.Read(context.Background(), papyra.Query{Systems: []string{"orders"}}, func(r *papyra.Record, _ papyra.Place) error {
		fmt.Printf("%s %s %s\n", r.System, r.Type, r.Actor)
		return nil
	})
	fmt.Println(err)
	// Output:
	// stopped: <nil>
	// orders ActorStarted "orders:cart"
	// <nil>
}
