package sink

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink/rejects"
)

// The log and the reject file say what is wrong with a line, by the member that is to
// blame; a flood is not parsed twice.
func TestRejectsSayWhatIsWrong(t *testing.T) {
	const lacking = `{"kind":"event","system_id":"orders","actor_address":"orders:x","event_type":"T","timestamp":1}`
	subject := papyra.RecordsSubject("orders", papyra.KindEvent)
	var log testkit.Buffer
	s := testSink(t, Config{})
	s.rejects = newRejectFile(filepath.Join(t.TempDir(), "r"), slog.New(slog.NewTextHandler(&log, nil)))
	in := testIntake(s)
	in.takeMessage(&nats.Msg{Subject: subject, Data: []byte(lacking + "\nx\n" + strings.Repeat("y\n", maxKept))})
	s.rejects.flushLines()
	s.rejects.closeFile()
	var details []string
	if _, err := rejects.Read(t.Context(), s.rejects.path, func(r *rejects.Reject) error {
		details = append(details, r.Detail)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(details) != maxKept || details[0] != "missing_field payload" || !strings.HasPrefix(details[1], `corrupted: "x" where`) {
		t.Errorf("%d details: %q", len(details), details)
	}
	if !strings.Contains(log.String(), `detail="corrupted: \"y\" where a JSON object should stand"`) {
		t.Errorf("the log says %s", log.String())
	}
	if notKept, _ := s.rejects.keptCounts(); notKept != 2 {
		t.Errorf("%d rejects were not kept, want 2", notKept)
	}
	// Beyond the budget of a second nothing is worked out.
	for range maxKeptRate {
		in.takeMessage(&nats.Msg{Subject: subject, Data: []byte("x")})
	}
	if last := &in.keep[0]; last.detail != "" {
		t.Errorf("detail %q of a line that is not kept", last.detail)
	}
}
