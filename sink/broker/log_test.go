package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestLogIsRateLimitedByKind(t *testing.T) {
	var out bytes.Buffer
	a := newServerLog(slog.New(slog.NewTextHandler(&out, nil)))
	a.repeated.Every = time.Hour
	for i := range 100 {
		a.Warnf("stalled for %d ms", i)
		a.Errorf("failed %d", i)
		a.Noticef("hello %d", i)
	}
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "stalled for 0 ms") || !strings.Contains(got, "failed 0") {
		t.Errorf("the log is\n%swant one line of each kind at warn and error", got)
	}
	a.repeated.Every = 0
	a.Warnf("stalled for %d ms", 7)
	if got := out.String(); !strings.Contains(got, `stalled for 7 ms" suppressed=99`) {
		t.Errorf("the log is\n%swant the number of the suppressed ones", got)
	}
}
