package tail_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink/tail"
)

// fleet sends sealed records to a broker, and a tail follows them.
type fleet struct {
	t    *testing.T
	nc   *nats.Conn // sends
	in   *nats.Conn // the tail's
	tail *tail.Tail
	enc  papyra.Encoder
}

func newFleet(t *testing.T, c tail.Config) *fleet {
	t.Helper()
	s := natstest.Embedded(t, nil)
	f := &fleet{t: t, tail: tail.New(c)}
	for _, nc := range []**nats.Conn{&f.nc, &f.in} {
		var err error
		if *nc, err = nats.Connect(s.ClientURL()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*nc).Close)
	}
	return f
}

// listen begins to listen and returns the function that ends it.
func (f *fleet) listen() (end func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	want := f.in.NumSubscriptions() + len(f.tail.Subjects())
	go func() { ended <- f.tail.Listen(ctx, f.in) }()
	testkit.Await(f.t, "the subscriptions", func() bool { return f.in.NumSubscriptions() == want })
	if err := f.in.Flush(); err != nil {
		f.t.Fatal(err)
	}
	return func() {
		f.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	}
}

// run is the run of a node.
func run(node string) string {
	return (strings.ReplaceAll(node, "-", "") + strings.Repeat("0", 16))[:16]
}

// send sends events of a node, in one message.
func (f *fleet) send(node string, numbers ...uint64) {
	f.t.Helper()
	id, err := papyra.NewIdentityRun(node, run(node))
	if err != nil {
		f.t.Fatal(err)
	}
	var text []byte
	for _, n := range numbers {
		if err := f.enc.Event(id, "shop", &papyra.Event{Actor: papyra.Address{ID: 1}, Type: "T", Payload: n}, nil, time.Now()); err != nil {
			f.t.Fatal(err)
		}
		text = f.enc.AppendLine(text, n)
	}
	f.publish(papyra.KindEvent, text)
}

func (f *fleet) publish(kind papyra.Kind, text []byte) {
	f.t.Helper()
	if err := errors.Join(f.nc.Publish(papyra.RecordsSubject("shop", kind), text), f.nc.Flush(), f.in.Flush()); err != nil {
		f.t.Fatal(err)
	}
}

// show shows until so many items came.
func (f *fleet) show(n int) (got []string) {
	f.t.Helper()
	if n == 0 {
		return nil
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	err := f.tail.Show(ctx, func(item *tail.Item) error {
		if item.Gap != nil {
			got = append(got, item.Gap.String())
		} else {
			got = append(got, strconv.FormatUint(item.Record.Seq, 10))
		}
		if len(got) == n {
			return enough
		}
		return nil
	}, func() error { return nil })
	if !errors.Is(err, enough) {
		f.t.Fatalf("%v after %q, want %d items", err, got, n)
	}
	return got
}

func (f *fleet) want(lines ...string) {
	f.t.Helper()
	if diff := cmp.Diff(lines, f.show(len(lines))); diff != "" {
		f.t.Errorf("shown (-want +got):\n%s", diff)
	}
}

// Numbers that do not come are told after a while, and taken back when they come.
func TestGapsAreTold(t *testing.T) {
	f := newFleet(t, tail.Config{Settle: 20 * time.Millisecond})
	end := f.listen()
	f.send("eu-1", 7, 8, 12) // 7 is the first: nothing is missing before it
	f.want("7", "8", "12", "3 records not shown (shop@eu-1, events 9…11): not received")
	if sum := f.tail.Summary(); sum.Missed != 3 {
		t.Errorf("%+v, want 3 missed", sum)
	}
	f.send("eu-1", 10, 9, 12, 3, 13) // late twice, a copy, one from before, the next
	f.want("10", "9", "3", "13", "1 record came late (shop@eu-1, events 10)", "1 record came late (shop@eu-1, events 9)")
	// Only 11 is left, and its publisher says that it has dropped it.
	id, err := papyra.NewIdentityRun("eu-1", run("eu-1"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := papyra.SealedReport(id, "shop", 1, &papyra.Report{Name: papyra.ReportPublisher, Payload: papyra.PublisherReport{
		Categories: map[string]papyra.PublisherCategory{"events": {Accepted: 13, Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: {N: 1, Ranges: []papyra.Range{{11, 11}}}}}},
	}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.publish(papyra.KindReport, report)
	f.want("1 record not shown (shop@eu-1, events 11): dropped by its publisher", "1")
	end()
	// What is sent meanwhile was not subscribed.
	f.send("eu-1", 14, 15)
	end = f.listen()
	f.send("eu-1", 16)
	f.want("16", "2 records not shown (shop@eu-1, events 14…15): not subscribed")
	end()
	if sum := f.tail.Summary(); sum.Missed != 3 || sum.Copies != 1 || sum.Filtered != 0 {
		t.Errorf("got %+v, want 3 missed and 1 copy", sum)
	}
}

// A terminal that does not keep up costs nobody anything: what it was too slow for is
// told with its numbers, and memory is bounded.
func TestSlowTerminal(t *testing.T) {
	f := newFleet(t, tail.Config{Settle: 20 * time.Millisecond, Buffer: 2000})
	defer f.listen()()
	numbers := make([]uint64, 1000)
	for i := range numbers {
		numbers[i] = uint64(i + 1)
	}
	f.send("eu-1", numbers...)
	testkit.Await(t, "all to be read", func() bool { return f.tail.Summary().Missed > 900 })
	missed := f.tail.Summary().Missed
	shown := 1000 - missed
	got := f.show(int(shown) + 1)
	if want := fmt.Sprintf("%d records not shown (shop@eu-1, events %d…1000): this terminal was slow", missed, shown+1); got[shown] != want {
		t.Errorf("got %q, want %q", got[shown], want)
	}
	f.send("eu-1", 1001)
	f.want("1001")
}

// The filters are those of inspect; what they leave out is counted, and its numbers are
// no gaps.
func TestTailFilters(t *testing.T) {
	f := newFleet(t, tail.Config{Settle: 20 * time.Millisecond, Query: papyra.Query{Kinds: []papyra.Kind{papyra.KindEvent}, Systems: []string{"shop"}, Nodes: []string{"eu-2"}}})
	if got := fmt.Sprint(f.tail.Subjects()); got != "[papyra.v1.records.shop.events]" {
		t.Errorf("subscribes to %s", got)
	}
	defer f.listen()()
	f.send("eu-1", 1, 2, 9) // a gap of another node is nobody's
	f.send("eu-2", 1)
	f.publish(papyra.KindEvent, []byte("junk\n"))
	f.send("eu-2", 2)
	f.want("1", "2")
	if sum := f.tail.Summary(); sum.Filtered != 3 || sum.Rejected != 1 || sum.Missed != 0 {
		t.Errorf("got %+v, want 3 filtered and 1 rejected", sum)
	}
	for want, q := range map[string]papyra.Query{
		"[papyra.v1.records.*.*]":                                 {},
		"[papyra.v1.records.*.audits papyra.v1.records.*.events]": {Kinds: []papyra.Kind{papyra.KindAudit, papyra.KindEvent}},
		"[papyra.v1.records.a=2Eb.* papyra.v1.records.c.*]":       {Systems: []string{"a.b", "c"}},
	} {
		if got := fmt.Sprint(tail.New(tail.Config{Query: q}).Subjects()); got != want {
			t.Errorf("subscribes to %s, want %s", got, want)
		}
	}
}

// A connection that has ended is an error.
func TestTailOfAClosedConnection(t *testing.T) {
	f := newFleet(t, tail.Config{})
	ended := make(chan error, 1)
	go func() { ended <- f.tail.Listen(t.Context(), f.in) }()
	testkit.Await(t, "the subscription", func() bool { return f.in.NumSubscriptions() > 0 })
	f.in.Close()
	if err := <-ended; !errors.Is(err, papyra.ErrUnavailable) {
		t.Errorf("got %v, want papyra.ErrUnavailable", err)
	}
}
