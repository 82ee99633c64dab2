package audits_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/sink/audits"
)

func Example() {
	nc, err := nats.Connect("nats://127.0.0.1:1")
	if err != nil {
		fmt.Println("no broker there")
		return
	}
	defer nc.Close()
	answers, err := audits.Ask(context.Background(), nc, "orders", 5*time.Second)
	if err == nil {
		fmt.Println(len(answers.Audits), "answered,", len(answers.Silent), "did not")
	}
	// Output: no broker there
}

// Of what comes the newest audit of each run is kept; whoever reports, has not ended and
// sends no audit is silent; what no sink would take is counted.
func TestAsk(t *testing.T) {
	s := natstest.Embedded(t, nil)
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	runtime, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close()
	var e papyra.Encoder
	now := time.Unix(1_700_000_000, 500_000_000)
	line := func(node, run string, seq uint64, err func(*papyra.Identity) error) string {
		id, ierr := papyra.NewIdentityRun(node, run)
		if ierr = errors.Join(ierr, err(id)); ierr != nil {
			t.Error(ierr)
		}
		return string(e.AppendLine(nil, seq))
	}
	audit := func(node, run string, seq uint64, total int64) string {
		return line(node, run, seq, func(id *papyra.Identity) error {
			return e.Audit(id, "orders", &papyra.Audit{TotalActors: total}, now)
		})
	}
	report := func(node, run string, final bool) string {
		return line(node, run, 1, func(id *papyra.Identity) error {
			return e.Report(id, "orders", &papyra.Report{Name: papyra.ReportPublisher, Payload: papyra.PublisherReport{Final: final}}, now)
		})
	}
	const a, b, c, d = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc", "dddddddddddddddd"
	if _, err := runtime.Subscribe(papyra.AuditSubject("orders"), func(*nats.Msg) {
		for _, text := range []string{audit("n2", a, 5, 1) + audit("n2", a, 6, 2) + "junk\n", audit("n1", b, 1, 3), `{"kind":"audit","system_id":"orders"}`} {
			_ = runtime.Publish(papyra.RecordsSubject("orders", papyra.KindAudit), []byte(text))
		}
		for _, text := range []string{report("n2", a, false), report("n4", d, false), report("n3", c, true) + report("n4", d, false)} {
			_ = runtime.Publish(papyra.RecordsSubject("orders", papyra.KindReport), []byte(text))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := runtime.Flush(); err != nil {
		t.Fatal(err)
	}
	var got *audits.Answers
	for wait := 20 * time.Millisecond; wait < time.Minute; wait *= 3 { // until all has come
		if got, err = audits.Ask(t.Context(), nc, "orders", wait); err != nil {
			t.Fatal(err)
		}
		if got.Ended > 0 && got.Rejected == 2 {
			break
		}
	}
	var shown []string
	for _, rec := range got.Audits {
		shown = append(shown, fmt.Sprintf("%s %s %d", rec.Node, rec.Run, rec.Seq))
	}
	if want := fmt.Sprintf("[n1 %s 1 n2 %s 6]", b, a); fmt.Sprint(shown) != want {
		t.Errorf("got the audits %v, want %s", shown, want)
	}
	if want := []audits.Publisher{{Node: "n4", Run: d, Reported: 1700000000.5}}; fmt.Sprint(got.Silent) != fmt.Sprint(want) || got.Ended != 1 || got.Rejected != 2 {
		t.Errorf("got %+v, want the silent %v, one ended and two rejected", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := audits.Ask(ctx, nc, "orders", time.Hour); err == nil {
		t.Error("it waits although it is cancelled")
	}
	if _, err := audits.Ask(t.Context(), nc, "", time.Hour); !errors.Is(err, papyra.ErrUsage) {
		t.Errorf("no system: %v", err)
	}
}
