package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend"
)

// startWithTenant starts a server with the shipped configuration, in which the user
// orders is copied for the system evil, as the file says.
func startWithTenant(t *testing.T) string {
	t.Helper()
	shipped, err := os.ReadFile(shippedConfig)
	if err != nil {
		t.Fatal(err)
	}
	begin := bytes.Index(shipped, []byte("    {\n      user: \"orders\""))
	end := bytes.Index(shipped, []byte("    {\n      user: \"sink\""))
	if begin < 0 || end < begin {
		t.Fatal("the users of the shipped configuration are not where they were")
	}
	user := strings.NewReplacer(`"orders"`, `"evil"`, "records.orders.", "records.evil.", "heard.orders.", "heard.evil.", "audit.orders", "audit.evil").Replace(string(shipped[begin:end]))
	conf := filepath.Join(t.TempDir(), "papyra.conf")
	if err := os.WriteFile(conf, []byte(string(shipped[:end])+user+string(shipped[end:])), 0o600); err != nil {
		t.Fatal(err)
	}
	return startConfig(t, conf)
}

// The run of the tenant whose account is judged, and that of the other one.
const (
	ordersRun = "orders0000000000"
	evilRun   = "evil000000000000"
)

// sentAt is one moment for all that is sent: some minutes ago, so that nothing is
// pending for its age.
var sentAt = time.Now().Add(-10 * time.Minute)

// sealedEvent is an event of a system with any run and number.
func sealedEvent(t *testing.T, system, run string, seq uint64) string {
	t.Helper()
	id, err := papyra.NewIdentityRun("n", run)
	if err != nil {
		t.Fatal(err)
	}
	var e papyra.Encoder
	if err := e.Event(id, system, &papyra.Event{Actor: papyra.Address{ID: 1}, Type: papyra.ActorStarted, Time: sentAt}, nil, sentAt); err != nil {
		t.Fatal(err)
	}
	return string(e.AppendLine(nil, seq))
}

// sealedReport is a report of a system with any name, run and content.
func sealedReport(t *testing.T, system, run string, seq uint64, name, payload string) string {
	t.Helper()
	id, err := papyra.NewIdentityRun("n", run)
	if err != nil {
		t.Fatal(err)
	}
	line, err := papyra.SealedReport(id, system, seq, &papyra.Report{Name: name, Payload: json.RawMessage(payload)}, sentAt)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// unsealed takes the seal away from a line.
func unsealed(line string) string { return line[:strings.LastIndex(line, `,"node":`)] + "}\n" }

// What one tenant may send, and whatever it tries to send, changes nothing in what
// the account says of another one: of orders 12 events are stored, 2 dropped, and 6
// are missing.
func TestNoTenantChangesTheAccountOfAnother(t *testing.T) {
	url := startWithTenant(t)
	publisherReport := func(category string) string {
		return `{"final":true,"uptime":60,"categories":{"events":` + category + `}}`
	}
	removal := func(system string, records uint64, ranges string) string {
		return fmt.Sprintf(`{"act":"compact","id":"20261128T000000Z-0123456789abcdef","categories":{"events":{"records":%d,"bytes":9,"runs":[{"system":%q,"node":"n","run":%q,"ranges":%s}]}}}`,
			records, system, ordersRun, ranges)
	}
	type message struct{ category, lines string }
	report := func(system, run, name, payload string) []message {
		return []message{{"reports", sealedReport(t, system, run, 1, name, payload)}}
	}
	flood := func(n int, line func(i int) string) (out []message) {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
			if b.Len() > 64<<10 {
				out = append(out, message{"", b.String()})
				b.Reset()
			}
		}
		return append(out, message{"", b.String()})
	}
	in := func(category string, list []message) []message {
		for i := range list {
			list[i].category = category
		}
		return list
	}
	for _, c := range []struct {
		name string
		sent []message
	}{
		{"nothing", nil},
		{"its own events", []message{{"events", sealedEvent(t, "evil", evilRun, 1) + sealedEvent(t, "evil", evilRun, 9)}}},
		{"events of the other's run", []message{{"events", sealedEvent(t, "evil", ordersRun, 6) + sealedEvent(t, "evil", ordersRun, 30)}}},
		{"events of the other's system", []message{{"events", sealedEvent(t, "orders", ordersRun, 6)}}},
		{"events of papyra", []message{{"events", sealedEvent(t, papyra.SystemReserved, ordersRun, 6)}}},
		{"an event with the highest number", []message{{"events", sealedEvent(t, "evil", evilRun, 9_999_999_999_999_999_999)}}},
		{"a report that it dropped, with the other's run", report("evil", ordersRun, papyra.ReportPublisher,
			publisherReport(`{"accepted":20,"confirmed":14,"dropped":{"queue_full":{"n":6,"ranges":[[5,7],[15,17]]}}}`))},
		{"the same of the other's system", report("orders", ordersRun, papyra.ReportPublisher,
			publisherReport(`{"accepted":20,"confirmed":14,"dropped":{"queue_full":{"n":6,"ranges":[[5,7],[15,17]]}}}`))},
		{"the same without a seal", []message{{"reports", unsealed(sealedReport(t, "evil", ordersRun, 1, papyra.ReportPublisher,
			publisherReport(`{"accepted":20,"confirmed":14,"dropped":{"queue_full":{"n":6,"ranges":[[5,7],[15,17]]}}}`)))}}},
		{"a range as wide as can be", report("evil", evilRun, papyra.ReportPublisher,
			publisherReport(`{"accepted":9000000000,"confirmed":1,"dropped":{"queue_full":{"n":8999999999,"ranges":[[1,8999999999]]}}}`))},
		{"ranges wider than their count", report("evil", ordersRun, papyra.ReportPublisher,
			publisherReport(`{"accepted":20,"confirmed":19,"dropped":{"queue_full":{"n":1,"ranges":[[1,20]]}}}`))},
		{"more dropped than accepted", report("evil", ordersRun, papyra.ReportPublisher, publisherReport(`{"accepted":2,"dropped":{"encode":{"n":9}}}`))},
		{"counts that do not add up", report("evil", ordersRun, papyra.ReportPublisher, publisherReport(`{"accepted":200,"confirmed":3}`))},
		{"more than a process can", report("evil", evilRun, papyra.ReportPublisher, publisherReport(`{"accepted":9999999999999999999,"confirmed":9999999999999999999}`))},
		{"counts that overflow", report("evil", evilRun, papyra.ReportPublisher, publisherReport(`{"accepted":18446744073709551615,"confirmed":18446744073709551615}`))},
		{"a reason of tomorrow", report("evil", ordersRun, papyra.ReportPublisher, publisherReport(`{"accepted":20,"confirmed":14,"dropped":{"tomorrow":{"n":6,"ranges":[[5,7],[15,17]]}}}`))},
		{"a RemovalReport", report("evil", evilRun, papyra.ReportRemoval, removal("orders", 6, "[[5,7],[15,17]]"))},
		{"a RemovalReport of no system", report("evil", evilRun, papyra.ReportRemoval, removal("", 6, "[[5,7],[15,17]]"))},
		{"a RemovalReport in papyra's name", report(papyra.SystemReserved, evilRun, papyra.ReportRemoval, removal("orders", 6, "[[5,7],[15,17]]"))},
		{"a SinkReport", report("evil", evilRun, papyra.ReportSink, fmt.Sprintf(
			`{"state":"stopped","group":"archive","store":"evilevilevilevil","peers":[{"instance":"x","store":"absentabsent0000"}],"dropped":[{"reason":"sink_full","system":"orders","category":"events","run":%q,"n":6,"ranges":[[5,7],[15,17]]}]}`, ordersRun))},
		{"a SinkReport in papyra's name", report(papyra.SystemReserved, evilRun, papyra.ReportSink, `{"state":"stopped","group":"evil","store":"evilevilevilevil"}`)},
		{"the end of an act", report("evil", evilRun, papyra.ReportCompactionPerformed, `{"id":"20261128T000000Z-0123456789abcdef","end":"withdrawn"}`)},
		{"an accepted start", report("evil", evilRun, papyra.ReportStartAccepted, `{"id":"20261128T000000Z-0123456789abcdef","late":1}`)},
		{"a broken report", []message{{"reports", sealedReport(t, "evil", evilRun, 1, papyra.ReportPublisher, `{"categories":7}`)}}},
		{"lines that are no records", []message{{"events", "x\ny\n\x00\n{\n" + strings.Repeat("[", 100) + "\n"}, {"reports", "x\n"}}},
		{"lines with a right seal that are refused", []message{{"events", sealedEvent(t, "orders", ordersRun, 6) + strings.TrimSuffix(sealedEvent(t, "evil", ordersRun, 7), "\n") + "\r\n"}}},
		{"many runs", in("events", flood(3000, func(i int) string { return sealedEvent(t, "evil", fmt.Sprintf("%016d", i), 1) }))},
		{"many sparse numbers", in("events", flood(3000, func(i int) string { return sealedEvent(t, "evil", ordersRun, uint64(i)*1_000_003+1) }))},
		{"many reports", in("reports", flood(1000, func(i int) string {
			return sealedReport(t, "evil", evilRun, uint64(i+1), papyra.ReportPublisher, fmt.Sprintf(
				`{"uptime":9,"categories":{"events":{"accepted":%d,"confirmed":%d,"dropped":{"encode":{"n":%d,"ranges":[[%d,%d]]}}}}}`, 10*i+10, 9*i+9, i+1, 10*i+3, 10*i+3))
		}))},
		{"many lines that are refused", in("events", flood(3000, func(i int) string { return "x\n" }))},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, stop := startTenantSink(t, url)
			send := func(user, password, system string, list []message) {
				nc, errs := client(t, url, user, password)
				for _, m := range list {
					if err := nc.Publish("papyra.v1.records."+system+"."+m.category, []byte(m.lines)); err != nil {
						t.Fatal(err)
					}
				}
				if err := nc.Flush(); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-errs:
					t.Fatalf("%s: %v", user, err)
				default:
				}
			}
			// Its own subjects, and where it may not: the broker refuses that.
			send("evil", "orders-secret", "evil", c.sent)
			nc, errs := client(t, url, "evil", "orders-secret")
			for _, system := range []string{"orders", papyra.SystemReserved} {
				for _, m := range c.sent {
					_ = nc.Publish("papyra.v1.records."+system+"."+m.category, []byte(m.lines))
				}
			}
			_ = nc.Flush()
			if len(c.sent) > 0 {
				select {
				case err := <-errs:
					if !errors.Is(err, nats.ErrPermissionViolation) {
						t.Errorf("got %v, want a refusal", err)
					}
				case <-time.After(10 * time.Second):
					t.Error("the broker refuses nothing")
				}
			}
			var events strings.Builder
			for seq := range uint64(18) {
				if n := seq + 1; (n < 5 || n > 7) && (n < 9 || n > 10) && (n < 15 || n > 17) {
					events.WriteString(sealedEvent(t, "orders", ordersRun, n))
				}
			}
			send("orders", "orders-secret", "orders", []message{
				{"events", events.String() + sealedEvent(t, "orders", ordersRun, 19) + sealedEvent(t, "orders", ordersRun, 20)},
				{"reports", sealedReport(t, "orders", ordersRun, 1, papyra.ReportPublisher, publisherReport(`{"accepted":20,"confirmed":18,"dropped":{"queue_full":{"n":2,"ranges":[[9,10]]}}}`))},
			})
			stop()
			r, err := account.Read(context.Background(), account.Options{At: time.Now()}, nil, store)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]account.Counts{}
			for _, run := range r.Runs {
				for _, category := range run.Categories {
					if run.System == "orders" && category.Category == "events" {
						got[run.Run] = category.Counts
					}
				}
				if run.System == "" {
					t.Errorf("a run of no system: %+v", run)
				}
			}
			want := map[string]account.Counts{ordersRun: {
				Accepted: 20, Stored: 12, Dropped: map[papyra.DropReason]uint64{papyra.DropQueueFull: 2}, Removed: map[string]uint64{}, Missing: 6,
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the account of orders (-want +got):\n%s", diff)
			}
			if r.Verdict != account.Missing || r.Group != "archive" || len(r.Absent) != 0 {
				t.Errorf("verdict %s of group %s, absent %v, want missing", r.Verdict, r.Group, r.Absent)
			}
		})
	}
}

// startTenantSink starts a sink on a store in memory. stop ends it when all is stored.
func startTenantSink(t *testing.T, url string) (store papyra.Store, stop func()) {
	t.Helper()
	store, err := backend.Open("memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	s, err := sink.New(sink.Config{
		URL: url, Group: "archive", Instance: "w", NATS: []nats.Option{nats.UserInfo("sink", "sink-secret")},
		Logger: slog.New(slog.DiscardHandler),
	}, store)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-s.Receiving():
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(20 * time.Second):
		t.Fatal("the sink does not receive")
	}
	return store, func() {
		cancel() // it drains what the server has for it
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
