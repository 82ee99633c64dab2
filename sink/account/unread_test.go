package account_test

import (
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

// judgedSince returns the account of a world since a time.
func judgedSince(t *testing.T, w *world, since time.Time) *account.Result {
	t.Helper()
	o := w.options()
	o.Since = since
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A sink that ended with messages unread may have lost whole runs of which nothing
// is known: an account with it is not balanced, until the window is behind it.
func TestUnreadMessagesAreInTheVerdict(t *testing.T) {
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	w.sink(0, "archive", 2, epoch.Add(time.Minute), papyra.SinkReport{State: "stopped", LostMessages: 9, Unread: 7})
	if r := judgedSince(t, w, time.Time{}); r.Verdict != account.Missing || r.UnreadMessages != 7 || r.LostMessages != 9 {
		t.Errorf("got %s with %d unread of %d lost, want missing with 7 of 9", r.Verdict, r.UnreadMessages, r.LostMessages)
	}
	if r := judgedSince(t, w, epoch.Add(time.Hour)); r.Verdict != account.Balanced || r.UnreadMessages != 0 {
		t.Errorf("behind it: got %s with %d unread, want balanced", r.Verdict, r.UnreadMessages)
	}
	lost := newWorld(t, 1)
	lost.sink(0, "archive", 1, epoch, papyra.SinkReport{LostMessages: 9})
	if r := judgedSince(t, lost, time.Time{}); r.Verdict != account.Balanced {
		t.Errorf("messages that were lost in the middle: got %s, want balanced as before", r.Verdict)
	}
}
