package publisher

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
)

// A report says why records wait although there is a connection, and no more of it when
// they do not.
func TestReportsSayWhatHolds(t *testing.T) {
	s := embeddedFor(t)
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	reports, err := nc.SubscribeSync(papyra.CategorySubject(papyra.KindReport))
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p := connect(t, s.ClientURL(), Config{ReportEvery: 20 * time.Millisecond})
	p.Started(someActor)
	awaitHeld := func(want string) {
		testkit.Await(t, "a report with held "+want, func() bool {
			m, err := reports.NextMsg(testkit.Patience)
			if err != nil {
				t.Fatal(err)
			}
			held := "none"
			for line := range strings.Lines(string(m.Data)) {
				rec, err := papyra.Parse([]byte(strings.TrimSuffix(line, "\n")))
				var r papyra.PublisherReport
				if err != nil || json.Unmarshal(rec.Payload, &r) != nil {
					t.Fatalf("no report: %s", line)
				}
				held = r.Categories["events"].Held
			}
			return held == want
		})
	}
	awaitHeld("unheard")
	if _, err := nc.SubscribeSync(papyra.CategorySubject(papyra.KindEvent)); err != nil {
		t.Fatal(err)
	}
	awaitHeld("")
}
