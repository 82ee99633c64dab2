package admin

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/backend/backendtest"
	"github.com/papyra/papyra/sink/backend/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeWorker is a sink that only hands the store on. The laws count every report, so
// that it writes none.
type fakeWorker struct{ store papyra.Store }

func (w fakeWorker) Config() sink.Config                            { return sink.Config{Group: "g", Instance: "i"} }
func (w fakeWorker) Stats() sink.Stats                              { return sink.Stats{State: "running"} }
func (w fakeWorker) Ready() error                                   { return nil }
func (w fakeWorker) StoreID() string                                { return "s" }
func (w fakeWorker) Vitals() sink.Vitals                            { return sink.Vitals{} }
func (w fakeWorker) PublisherRuns() ([]sink.PublisherRun, uint64)   { return nil, 0 }
func (w fakeWorker) Forget(string) bool                             { return false }
func (w fakeWorker) Expects() []sink.Expected                       { return nil }
func (w fakeWorker) Maintainer() papyra.Maintainer                  { return w.store }
func (w fakeWorker) Announce(context.Context, *papyra.Report) error { return nil }

// directDoor leads to a server in this process.
type directDoor struct {
	server *Server
	room   int
}

type directExchange struct {
	*frameQueue
	server *Server
	from   *asker
}

func (d *directDoor) open(context.Context, string) (exchange, error) {
	x := &directExchange{frameQueue: newFrameQueue(), server: d.server}
	x.from = &asker{by: "tester", send: x.deliver, room: d.room, gone: make(chan struct{})}
	return x, nil
}

func (x *directExchange) send(q *request) error {
	raw, err := json.Marshal(q)
	var sent request
	if err == nil {
		err = json.Unmarshal(raw, &sent)
	}
	x.server.handle(&sent, x.from)
	return err
}

func (x *directExchange) close() {
	close(x.from.gone)
	x.fail(errClosedDoor)
}

// reached is a store in which everything but appending goes through the protocol.
type reached struct {
	papyra.Store
	papyra.QuarantineReader
	direct papyra.Store
	end    func()
}

func (r *reached) Appender(ctx context.Context) (papyra.Appender, error) {
	return r.direct.Appender(ctx)
}

func (r *reached) Close() error {
	err := errors.Join(r.Store.Close(), r.direct.Close())
	r.end()
	return err
}

// serveAs runs a server for a sink until the returned function is called.
func serveAs(t testing.TB, s *Server, w worker) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve(ctx, w)
	}()
	testkit.Await(t, "the server", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sink != nil
	})
	return func() { cancel(); <-served }
}

func reach(t testing.TB, direct papyra.Store, room int) papyra.Store {
	t.Helper()
	s := NewServer(direct, Config{NoSocket: true})
	end := serveAs(t, s, fakeWorker{direct})
	through, err := openThrough(context.Background(), &directDoor{s, room}, VerbInspect, "tester", "", true)
	if err != nil {
		t.Fatal(err)
	}
	quarantine, _ := direct.(papyra.QuarantineReader)
	return &reached{Store: through, QuarantineReader: quarantine, direct: direct, end: end}
}

// What a sink does for somebody keeps every law that the store keeps, however small
// the frames are.
func TestLawsThroughTheProtocol(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		backendtest.Laws(t, func(testing.TB) backendtest.Medium {
			m := memory.New(nil)
			return backendtest.Medium{
				Open:  func(t testing.TB) papyra.Store { return reach(t, m.Open(), headRoom+100) },
				Plant: func(_ testing.TB, line []byte) { m.Plant(line) },
				Quarantined: func(_ testing.TB, r *papyra.RecoverReport) [][]byte {
					var out [][]byte
					for _, q := range m.Quarantined() {
						if q.Act == r.Act {
							out = append(out, q.Bytes)
						}
					}
					return out
				},
			}
		})
	})
	t.Run("file", func(t *testing.T) {
		backendtest.Laws(t, func(t testing.TB) backendtest.Medium {
			path := filepath.Join(testkit.FastDir(t), "records.ndjson")
			return backendtest.Medium{
				Open: func(t testing.TB) papyra.Store {
					direct, err := backend.Open("json:" + path)
					if err != nil {
						t.Fatal(err)
					}
					return reach(t, direct, maxFrame)
				},
				Plant: func(t testing.TB, line []byte) { plantLine(t, path, line) },
				Quarantined: func(t testing.TB, r *papyra.RecoverReport) [][]byte {
					saved, err := testrecord.SavedLines(r.Quarantine)
					if err != nil {
						t.Fatal(err)
					}
					return saved
				},
			}
		})
	})
}

func plantLine(t testing.TB, path string, line []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
