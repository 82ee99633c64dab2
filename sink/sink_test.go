package sink_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

func TestStrangersLinesAreStoredByteForByte(t *testing.T) {
	b, store := startBroker(t), &fakeStore{}
	w := runSink(t, sink.Config{URL: b.URL()}, store)
	nc := dial(t, b.URL())

	one := plainEvent("orders", 1)
	odd := ` { "event_type" : "Custom" , "kind":"event","payload":[1e400, 1.10,"\u00e9 é"],"system_id":"orders","zzz":{"unknown":null},"timestamp":17e8,"actor_address":"orders:x" } `
	letter := `{"kind":"dead_letter","system_id":"ord.ers ü","target":null,"message_type":"M","payload":null,"timestamp":1}`
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(one))
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte("\n\n"+odd+"\n\n"+one+"\n"))
	publish(t, nc, papyra.RecordsSubject("ord.ers ü", papyra.KindDeadLetter), []byte(letter+"\n"))
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), nil)
	flush(t, nc)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if got, want := store.text(), one+"\n"+odd+"\n"+one+"\n"+letter+"\n"; got != want {
		t.Errorf("stored\n%s\nwant\n%s", got, want)
	}
	st := w.Stats()
	balance(t, st)
	if st.Received != 4 || st.Stored != 4 || st.Messages != 4 {
		t.Errorf("stats %+v, want 4 lines of 4 messages", st)
	}
	if store.closes != 1 || store.syncs == 0 {
		t.Errorf("the store was synced %d times and closed %d times", store.syncs, store.closes)
	}
}

func TestGroupsEachStoreEverythingAndWorkersShare(t *testing.T) {
	b := startBroker(t)
	alone, left, right := &fakeStore{}, &fakeStore{}, &fakeStore{}
	workers := []*worker{
		runSink(t, sink.Config{URL: b.URL(), Group: "live", Instance: "w0"}, alone),
		runSink(t, sink.Config{URL: b.URL(), Group: "archive", Instance: "w1"}, left),
		runSink(t, sink.Config{URL: b.URL(), Group: "archive", Instance: "w2"}, right),
	}
	nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
	var want []string
	for range 500 {
		l := r.Event()
		want = append(want, string(l[:len(l)-1]))
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), l)
	}
	flush(t, nc)
	for _, w := range workers {
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		balance(t, w.Stats())
	}
	got, _ := alone.stored()
	if !slices.Equal(got, want) {
		t.Errorf("the group of one worker holds %d lines, want all %d in order", len(got), len(want))
	}
	l, _ := left.stored()
	rr, _ := right.stored()
	if len(l) == 0 || len(rr) == 0 {
		t.Errorf("the workers hold %d and %d lines: they do not share", len(l), len(rr))
	}
	both := append(slices.Clone(l), rr...)
	slices.Sort(both)
	slices.Sort(want)
	if !slices.Equal(both, want) {
		t.Errorf("the two workers hold %d lines together, want each of %d once", len(both), len(want))
	}
}

func TestFiltersTakeWhatTheyNameAndEveryReport(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    sink.Config
		want []string
	}{
		{"none", sink.Config{}, []string{"a/events", "a/dead_letters", "a/reports", "b/events", "b/dead_letters", "b/reports"}},
		{"system", sink.Config{Systems: []string{"a", "a"}}, []string{"a/events", "a/dead_letters", "a/reports", "b/reports"}},
		{"kind", sink.Config{Kinds: []papyra.Kind{papyra.KindDeadLetter}}, []string{"a/dead_letters", "a/reports", "b/dead_letters", "b/reports"}},
		{"kind of reports", sink.Config{Kinds: []papyra.Kind{papyra.KindReport}}, []string{"a/reports", "b/reports"}},
		{"both", sink.Config{Systems: []string{"b"}, Kinds: []papyra.Kind{papyra.KindEvent}}, []string{"a/reports", "b/events", "b/reports"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, store := startBroker(t), &fakeStore{}
			tt.c.URL = b.URL()
			w := runSink(t, tt.c, store)
			nc := dial(t, b.URL())
			for _, system := range []string{"a", "b"} {
				publish(t, nc, papyra.RecordsSubject(system, papyra.KindEvent), []byte(plainEvent(system, 1)))
				publish(t, nc, papyra.RecordsSubject(system, papyra.KindDeadLetter), fmt.Appendf(nil, `{"kind":"dead_letter","system_id":%q,"target":null,"message_type":"M","payload":null,"timestamp":1}`, system))
				publish(t, nc, papyra.RecordsSubject(system, papyra.KindReport), fmt.Appendf(nil, `{"kind":"report","system_id":%q,"report":"PublisherReport","payload":{},"timestamp":1}`, system))
			}
			flush(t, nc)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range store.streams {
				if s.System != papyra.SystemReserved {
					got = append(got, s.String())
				}
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("stored %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSinkReportsTellOfTheStartTheEndAndChanges(t *testing.T) {
	b, store := startBroker(t), &fakeStore{}
	w := runSink(t, sink.Config{
		URL: b.URL(), Group: "archive", Instance: "eu-1", ReportEvery: 5 * time.Millisecond,
		Kinds: []papyra.Kind{papyra.KindEvent}, RejectFile: filepath.Join(t.TempDir(), "rejected"),
	}, store)
	nc := dial(t, b.URL())
	reports := func() []papyra.SinkReport {
		_, own := store.stored()
		return sinkReports(t, own)
	}
	publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(plainEvent("orders", 1)+"\nnonsense\n"))
	eventually(t, "a running report with the record", func() bool {
		r := reports()
		return len(r) > 1 && r[len(r)-1].State == "running" && r[len(r)-1].Stored == 1
	})
	n := len(reports())
	time.Sleep(50 * time.Millisecond) // ten times the shortest time: nothing has changed
	if got := len(reports()); got != n {
		t.Errorf("%d reports were written while nothing changed", got-n)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	all := reports()
	if first := all[0]; first.State != "started" || first.Group != "archive" || first.Instance != "eu-1" || !slices.Equal(first.Filters, []string{"category=events"}) {
		t.Errorf("the first report is %+v", first)
	}
	last := all[len(all)-1]
	if last.State != "stopped" || last.Received != 2 || last.Stored != 1 || last.Rejected["corrupted"] != 1 || last.DroppedLines != 0 {
		t.Errorf("the last report is %+v", last)
	}
	if got := store.lines[0]; !strings.Contains(got, `"node":"eu-1"`) {
		t.Errorf("report %s is not sealed by the instance", got)
	}
}

func TestSinkSurvivesTheBroker(t *testing.T) {
	b, store := startBroker(t), &fakeStore{}
	w := runSink(t, sink.Config{URL: b.URL()}, store)
	addr, url := b.Addr(), b.URL()
	b.Close()
	eventually(t, "the sink notices", func() bool { return w.Ready() != nil })
	again := startBrokerAt(t, addr)
	eventually(t, "the sink is back", func() bool { return w.Ready() == nil })
	nc := dial(t, url)
	eventually(t, "a record arrives", func() bool {
		publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), []byte(plainEvent("orders", 1)))
		return w.Stats().Stored > 0
	})
	if st := w.Stats(); st.Disconnects != 1 {
		t.Errorf("%d disconnects, want 1", st.Disconnects)
	}
	// Stopped while the broker is gone it still stores and ends.
	again.Close()
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	balance(t, w.Stats())
}

func TestRunRefuses(t *testing.T) {
	b := startBroker(t)
	closed := startBroker(t)
	gone := closed.URL()
	closed.Close()
	for _, tt := range []struct {
		name  string
		c     sink.Config
		store *fakeStore
		want  error
	}{
		{"busy store", sink.Config{URL: b.URL()}, &fakeStore{openErr: fmt.Errorf("lock: %w", papyra.ErrBusy)}, papyra.ErrBusy},
		{"no server", sink.Config{URL: gone, ConnectTimeout: 250 * time.Millisecond}, &fakeStore{}, papyra.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := startSink(t, tt.c, tt.store)
			if err := w.wait(); !errors.Is(err, tt.want) {
				t.Errorf("Run() = %v, want %v", err, tt.want)
			}
			if tt.store.open != 0 {
				t.Error("the store is still open")
			}
			if err := w.Run(t.Context()); !errors.Is(err, papyra.ErrUsage) {
				t.Errorf("second Run() = %v, want ErrUsage", err)
			}
		})
	}
}

func TestNewRefusesAWrongConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    sink.Config
		part string
	}{
		{"group", sink.Config{Group: "a.b"}, "group name"},
		{"URL", sink.Config{URL: "nats://a:4222, nats://u:p%zz@b"}, "NATS server 2 cannot be read"},
		{"URL of another protocol", sink.Config{URL: "http://127.0.0.1:4222"}, "NATS server 1 has a scheme"},
		{"port that is none", sink.Config{URL: "a, 127.0.0.1:99999"}, "NATS server 2 has a port"},
		{"instance", sink.Config{Instance: "eu 1"}, "instance name"},
		{"system", sink.Config{Systems: []string{"a\nb"}}, "control character"},
		{"reserved system", sink.Config{Systems: []string{"papyra"}}, "pipeline's own"},
		{"kind", sink.Config{Kinds: []papyra.Kind{papyra.KindUnknown}}, "unknown kind"},
		{"validation", sink.Config{Validate: "some"}, "unknown validation"},
		{"startup check", sink.Config{StartupCheck: "maybe"}, "unknown startup check"},
		{"buffer", sink.Config{BufferBytes: 1000}, "too small"},
		{"negative duration", sink.Config{StopTimeout: -1}, "stop timeout is negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := sink.New(tt.c, &fakeStore{}); !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("New() = %v, want ErrConfig with %q", err, tt.part)
			}
		})
	}
	s, err := sink.New(sink.Config{}, &fakeStore{})
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Config(); c.Group != "default" || papyra.CheckName("instance", c.Instance) != nil || c.BufferBytes != 64<<20 {
		t.Errorf("defaults are %+v", c)
	}
	if err := s.Ready(); err == nil || !bytes.Contains([]byte(err.Error()), []byte("starting")) {
		t.Errorf("Ready() before Run = %v", err)
	}
}
