package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink/backend/redis"
	"github.com/papyra/papyra/sink/backend/rotating"
	"github.com/papyra/papyra/sink/transfer"
)

// drawLines draws records of a few streams, some of them twice.
func drawLines(rt *rapid.T, m *maker, label string, most int) [][]byte {
	kinds := []papyra.Stream{orders, letters, billing, novelty, own}
	var lines [][]byte
	for range rapid.IntRange(0, most).Draw(rt, label) {
		if len(lines) > 0 && rapid.IntRange(0, 9).Draw(rt, "again") == 0 {
			lines = append(lines, rapid.SampledFrom(lines).Draw(rt, "which"))
			continue
		}
		s := rapid.SampledFrom(kinds).Draw(rt, "stream")
		lines = append(lines, m.line(rt, s, strings.Repeat("x", rapid.IntRange(0, 300).Draw(rt, "size"))))
	}
	return lines
}

// However often and wherever a copy ends, by an error, a signal, or a kill that
// tears a line, and though the source grows meanwhile: the same copy goes on,
// and in the end every stream is as in the source.
func TestResumesAtAnyPoint(t *testing.T) {
	base := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		dir := filepath.Join(base, strconv.Itoa(runs))
		scheme := rapid.SampledFrom([]string{"json:", "rotating:"}).Draw(rt, "target")
		query := "?sync=none"
		if scheme == "rotating:" {
			query += "&max_bytes=2kB&max_files=1000"
		}
		path := filepath.Join(dir, "to")
		from := open(rt, "json:"+filepath.Join(dir, "from")+"?sync=none")
		defer from.Close()
		m := newMaker(rt, 1)
		fill(rt, from, drawLines(rt, m, "lines", 60)...)

		torn := int64(0)
		for range rapid.IntRange(0, 5).Draw(rt, "interruptions") {
			ctx, cancel := context.WithCancel(context.Background())
			to := &target{Store: open(rt, scheme+path+query), left: -1, cancel: cancel}
			how := rapid.SampledFrom([]string{"error", "signal", "kill"}).Draw(rt, "how")
			switch how {
			case "signal":
				to.batches = rapid.IntRange(1, 5).Draw(rt, "batches")
			default:
				to.left = rapid.IntRange(0, 30).Draw(rt, "stored")
			}
			report, err := transfer.Run(ctx, from, to, transfer.Options{BatchBytes: 700})
			cancel()
			if err != nil && !errors.Is(err, errCut) && !errors.Is(err, context.Canceled) {
				rt.Fatalf("%s: %v", how, err)
			}
			if err == nil && !report.Verified {
				rt.Fatalf("%s: no error, and not verified: %+v", how, report)
			}
			if report != nil {
				sum := int64(0)
				for _, s := range report.Streams {
					sum += s.Copied
				}
				if held := total(streams(rt, to.Store)); report.Copied != sum || report.Present+report.Copied != held {
					rt.Fatalf("%s: the target holds %d records, and the report says %+v", how, held, report)
				}
			}
			if to.largest > 700+1000 {
				rt.Fatalf("a batch has %d bytes", to.largest)
			}
			if err := to.Close(); err != nil {
				rt.Fatalf("close: %v", err)
			}
			if how == "kill" && err != nil {
				if next := nextLine(rt, streams(rt, from), streams(rt, open(rt, scheme+path))); len(next) > 0 {
					cut := rapid.IntRange(1, len(next)).Draw(rt, "torn")
					appendRaw(rt, path, next[:cut])
					if cut < len(next) {
						torn++
					}
				}
			}
			if more := drawLines(rt, m, "more", 10); len(more) > 0 {
				fill(rt, from, more...)
			}
		}

		to := open(rt, scheme+path+query)
		defer to.Close()
		report, err := transfer.Run(context.Background(), from, to, transfer.Options{BatchBytes: 700})
		if err != nil || !report.Verified || report.TargetDamaged != torn {
			rt.Fatalf("got %+v, %v, want it verified with %d torn lines", report, err, torn)
		}
		got, want := streams(rt, to), streams(rt, from)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("got %v\nwant %v", got, want)
		}
		if n := total(want); report.Present+report.Copied != n {
			rt.Fatalf("%d present and %d copied are not %d", report.Present, report.Copied, n)
		}
	})
}

// A connection that is cut in the middle of batches leaves another part of each
// stream. Each is gone on with where it ends.
func TestResumesAfterLostConnections(t *testing.T) {
	redis.DiscardClientLogs()
	server := redistest.Start(t)
	proxy := testkit.NewProxy(t, server.Addr())
	m := newMaker(t, 1)
	from := open(t, "json:"+filepath.Join(t.TempDir(), "from"))
	defer from.Close()
	streamsOf := []papyra.Stream{orders, letters, billing, novelty, own}
	var lines [][]byte
	for i := range 3000 {
		lines = append(lines, m.line(t, streamsOf[i*i%7%5], strings.Repeat("x", i%400)))
	}
	fill(t, from, lines...)

	uneven, had := 0, int64(0)
	for i := range 12 {
		proxy.Budget(int64(30_000 + 40_000*i))
		to := open(t, "redis://"+proxy.Addr()+"?timeout=2s")
		report, err := transfer.Run(t.Context(), from, to, transfer.Options{BatchBytes: 100_000})
		if err == nil && !report.Verified {
			t.Errorf("no error, and not verified: %+v", report)
		}
		if err != nil && !errors.Is(err, papyra.ErrUnavailable) {
			t.Fatalf("cut %d: %v", i, err)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		direct := open(t, "redis://"+server.Addr())
		held := streams(t, direct)
		if err := direct.Close(); err != nil {
			t.Fatal(err)
		}
		if n := total(held); n < had {
			t.Fatalf("cut %d: the target held %d records and holds %d", i, had, n)
		} else if n > had && n < int64(len(lines)) && !isPrefix(held, lines[:n]) {
			uneven++
			had = n
		}
	}
	if uneven == 0 {
		t.Errorf("no cut left an uneven part of the streams: the test tries nothing")
	}
	proxy.Budget(-1)
	to := open(t, "redis://"+proxy.Addr())
	defer to.Close()
	report, err := transfer.Run(t.Context(), from, to, transfer.Options{})
	if err != nil || !report.Verified {
		t.Fatalf("got %+v, %v", report, err)
	}
	sameStreams(t, streams(t, to), byStream(t, lines))
}

// isPrefix reports whether a store holds just these lines.
func isPrefix(held map[papyra.Stream][]string, lines [][]byte) bool {
	want := map[papyra.Stream]int{}
	for _, line := range lines {
		if rec, err := papyra.Parse(line); err == nil {
			want[rec.Stream()]++
		}
	}
	for s, n := range want {
		if len(held[s]) != n {
			return false
		}
	}
	return true
}

// nextLine returns a line that a copy would append next to some stream.
func nextLine(t fataler, from, to map[papyra.Stream][]string) string {
	t.Helper()
	for _, s := range []papyra.Stream{orders, letters, billing, novelty, own} {
		if n := len(to[s]); n < len(from[s]) {
			return from[s][n]
		}
	}
	return ""
}

func appendRaw(t fataler, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatalf("tear %s: %v", path, err)
	}
}

// bounded is a target that tells its bound, as the store that it hides does.
type bounded struct {
	*target
	maxBytes int64
	maxFiles int
}

func (b bounded) Bound() (int64, int) { return b.maxBytes, b.maxFiles }

// A copy into a rotating store is refused exactly when its rotations would
// remove something.
func TestBoundIsKnownBefore(t *testing.T) {
	base := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		dir := filepath.Join(base, strconv.Itoa(runs))
		from := open(rt, "json:"+filepath.Join(dir, "from")+"?sync=none")
		defer from.Close()
		lines := drawLines(rt, newMaker(rt, 1), "lines", 30)
		fill(rt, from, lines...)
		maxBytes, maxFiles := rapid.IntRange(200, 5000).Draw(rt, "max_bytes"), rapid.IntRange(2, 6).Draw(rt, "max_files")

		// The same lines without a guard.
		plain, err := rotating.Open(filepath.Join(dir, "plain"), rotating.Config{MaxBytes: int64(maxBytes), MaxFiles: maxFiles, Sync: "none"})
		if err != nil {
			rt.Fatalf("open: %v", err)
		}
		defer plain.Close()
		a, err := plain.Appender(context.Background())
		if err != nil {
			rt.Fatalf("open for writing: %v", err)
		}
		var batch papyra.Batch
		for _, line := range lines {
			batch.Append(batch.StreamIndex(orders), line)
		}
		if _, err := a.Append(context.Background(), &batch); err != nil {
			rt.Fatalf("append: %v", err)
		}
		drops := a.Stats().DroppedFiles > 0

		url := fmt.Sprintf("rotating:%s?max_bytes=%d&max_files=%d&sync=none", filepath.Join(dir, "to"), maxBytes, maxFiles)
		to := &target{Store: open(rt, url), left: rapid.IntRange(-1, 30).Draw(rt, "stored")}
		defer func() { _ = to.Close() }()
		_, err = transfer.Run(context.Background(), from, bounded{to, int64(maxBytes), maxFiles}, transfer.Options{BatchBytes: 500})
		if refused := errors.Is(err, papyra.ErrConfig); refused != drops {
			rt.Fatalf("refused is %v, and what would be dropped: %v (%v)", refused, drops, err)
		}
		if drops {
			return
		}
		// Interrupted or not, it is not refused the next time.
		to.left = -1
		report, err := transfer.Run(context.Background(), from, bounded{to, int64(maxBytes), maxFiles}, transfer.Options{BatchBytes: 500})
		if err != nil || !report.Verified || report.Present+report.Copied != int64(len(lines)) {
			rt.Fatalf("the second time: %+v, %v", report, err)
		}
	})
}

// The files are filled as an appender fills them, from the place that it is at.
func TestBoundToTheByte(t *testing.T) {
	m := newMaker(t, 1)
	var lines [][]byte
	for range 9 {
		lines = append(lines, m.line(t, orders, "all of one length"))
	}
	size := len(lines[0]) + 1
	for _, tt := range []struct {
		name         string
		bytes        int
		present, all int
		refused      bool
		maxFiles     int
	}{
		{"two in each of three files", 2 * size, 0, 6, false, 3},
		{"one more", 2 * size, 0, 7, true, 3},
		{"a byte less", 2*size - 1, 0, 4, true, 3},
		{"go on in a file that is half full", 2 * size, 1, 6, false, 3},
		{"go on in a file that is half full, one more", 2 * size, 1, 7, true, 3},
		{"go on behind a full file", 2 * size, 2, 6, false, 3},
		{"longer than a file", size - 1, 0, 3, false, 3},
		{"longer than a file, one more", size - 1, 0, 4, true, 3},
		{"there are more files than allowed now", size, 3, 4, true, 2},
		{"there are more files than allowed now, and nothing comes", size, 3, 3, false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			from := open(t, "json:"+filepath.Join(dir, "from"))
			defer from.Close()
			fill(t, from, lines[:tt.all]...)
			url := fmt.Sprintf("rotating:%s?max_bytes=%d&max_files=", filepath.Join(dir, "to"), tt.bytes)
			if tt.present > 0 {
				before := open(t, url+"3")
				fill(t, before, lines[:tt.present]...)
				if err := before.Close(); err != nil {
					t.Fatal(err)
				}
			}
			to := open(t, url+strconv.Itoa(tt.maxFiles))
			defer to.Close()
			report, err := transfer.Run(t.Context(), from, to, transfer.Options{})
			if refused := errors.Is(err, papyra.ErrConfig); refused != tt.refused {
				t.Errorf("got %+v, %v, want it refused: %v", report, err, tt.refused)
			}
			if want := tt.present; tt.refused && total(streams(t, to)) != int64(want) {
				t.Errorf("the target holds %d records, want the %d of before", total(streams(t, to)), want)
			}
		})
	}
}

// An interruption waits for the batch at hand, so that what is stored is known.
func TestInterruptionWaitsForTheBatch(t *testing.T) {
	m := newMaker(t, 1)
	var lines [][]byte
	for range 9 {
		lines = append(lines, m.line(t, orders, "all of one length"))
	}
	dir := t.TempDir()
	from := open(t, "json:"+filepath.Join(dir, "from"))
	defer from.Close()
	fill(t, from, lines...)
	ctx, cancel := context.WithCancelCause(t.Context())
	errStop := errors.New("somebody stopped it")
	to := &target{Store: open(t, "json:"+filepath.Join(dir, "to")), left: -1, batches: 2, cancel: func() { cancel(errStop) }}
	defer to.Close()
	report, err := transfer.Run(ctx, from, to, transfer.Options{BatchBytes: 3 * (len(lines[0]) + 1)})
	if !errors.Is(err, errStop) || report.Copied != 6 || report.Verified {
		t.Errorf("got %+v, %v, want two batches of three records copied, and %v", report, err, errStop)
	}
	if n := total(streams(t, to)); n != 6 {
		t.Errorf("the target holds %d records, want 6", n)
	}
}
