package sink_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

// A sink that must stop before it has read what it received says so: in its error,
// and in its last report.
func TestStopThatLeavesMessagesUnreadSaysSo(t *testing.T) {
	for name, message := range map[string][]byte{
		"lines that are no records": bytes.Repeat([]byte("x\n"), 400_000),
		"empty lines and a record":  append(bytes.Repeat([]byte("x\n"), 400_000), plainEvent("orders", 1)...),
	} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t)
			store := &fakeStore{}
			w := runSink(t, sink.Config{URL: b.URL(), StopTimeout: 30 * time.Millisecond}, store)
			eventually(t, "the first report is stored", func() bool { return w.Stats().StoredBytes > 0 })
			nc, r := dial(t, b.URL()), newRun(t, "orders", runA)
			for range 12 {
				publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), message)
			}
			for range 1000 {
				publish(t, nc, papyra.RecordsSubject("orders", papyra.KindEvent), r.Event())
			}
			flush(t, nc)
			eventually(t, "the first is being read", func() bool { return w.Stats().Messages > 0 })
			err := w.stop()
			if !errors.Is(err, sink.ErrNotStored) || !strings.Contains(err.Error(), "not read") {
				t.Errorf("Run() = %v, want ErrNotStored that names messages", err)
			}
			_, own := store.stored()
			reports := sinkReports(t, own)
			last := reports[len(reports)-1]
			if last.State != "stopped" || last.Unread == 0 || last.Unread > last.LostMessages {
				t.Errorf("last report is %+v, want unread messages among the lost ones", last)
			}
		})
	}
}
