package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fataler is a test, or a check of package rapid.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// maker makes lines that differ.
type maker struct {
	id  *papyra.Identity
	enc papyra.Encoder
	seq uint64
}

func newMaker(t fataler, n int) *maker {
	t.Helper()
	id, err := papyra.NewIdentityRun("eu-1", fmt.Sprintf("%016d", n))
	if err != nil {
		t.Fatalf("make an identity: %v", err)
	}
	return &maker{id: id}
}

// line returns the next record of a stream, sealed, without its newline.
func (m *maker) line(t fataler, s papyra.Stream, text string) []byte {
	t.Helper()
	m.seq++
	now := time.Unix(1_700_000_000+int64(m.seq), 0)
	var err error
	switch s.Kind {
	case papyra.KindUnknown:
		return fmt.Appendf(nil, `{"kind":"novelty","system_id":%q,"text":%q,"timestamp":%d.5}`, s.System, fmt.Sprint(text, m.seq), now.Unix())
	case papyra.KindEvent:
		err = m.enc.Event(m.id, s.System, &papyra.Event{Actor: papyra.Address{ID: 1}, Type: papyra.ActorStarted, Payload: text}, nil, now)
	case papyra.KindAudit:
		err = m.enc.Audit(m.id, s.System, &papyra.Audit{TotalActors: 1}, now)
	case papyra.KindDeadLetter:
		err = m.enc.DeadLetter(m.id, s.System, &papyra.DeadLetter{Target: papyra.Address{Name: "x"}, MessageType: "Job", Payload: text}, nil, now)
	default:
		err = m.enc.Report(m.id, s.System, &papyra.Report{Name: papyra.ReportSink, Payload: &papyra.SinkReport{State: text}}, now)
	}
	if err != nil {
		t.Fatalf("make a record: %v", err)
	}
	return bytes.TrimSuffix(m.enc.AppendLine(nil, m.seq), []byte("\n"))
}

func open(t fataler, url string) papyra.Store {
	t.Helper()
	b, err := backend.Open(url)
	if err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	return b
}

// fill appends lines to a store.
func fill(t fataler, b papyra.Store, lines ...[]byte) {
	t.Helper()
	a, err := b.Appender(context.Background())
	if err != nil {
		t.Fatalf("open %s for writing: %v", b.URL(), err)
	}
	var (
		batch papyra.Batch
		rec   papyra.Record
	)
	for _, line := range lines {
		if err := papyra.ParseInto(&rec, line); err != nil {
			t.Fatalf("%q is no record: %v", line, err)
		}
		batch.Append(batch.StreamIndex(rec.Stream()), line)
	}
	if n, err := a.Append(context.Background(), &batch); err != nil || n != len(lines) {
		t.Fatalf("append to %s: %d of %d stored, %v", b.URL(), n, len(lines), err)
	}
	if err := a.Close(); err != nil {
		t.Fatalf("close %s: %v", b.URL(), err)
	}
}

// streams returns the lines of each stream, in order. A store that does not
// exist has none.
func streams(t fataler, b papyra.Store) map[papyra.Stream][]string {
	t.Helper()
	out := map[papyra.Stream][]string{}
	_, err := b.Read(context.Background(), papyra.Query{Duplicates: true}, func(rec *papyra.Record, _ papyra.Place) error {
		out[rec.Stream()] = append(out[rec.Stream()], string(rec.Line))
		return nil
	})
	if err != nil && !errors.Is(err, papyra.ErrNotFound) {
		t.Fatalf("read %s: %v", b.URL(), err)
	}
	return out
}

func byStream(t fataler, lines [][]byte) map[papyra.Stream][]string {
	t.Helper()
	out := map[papyra.Stream][]string{}
	for _, line := range lines {
		rec, err := papyra.Parse(line)
		if err != nil {
			t.Fatalf("%q is no record: %v", line, err)
		}
		out[rec.Stream()] = append(out[rec.Stream()], string(line))
	}
	return out
}

// target is a store whose appender ends early.
type target struct {
	papyra.Store

	left    int // lines until it fails; below 0 it does not
	cancel  context.CancelFunc
	batches int // number of the one within which cancel is called; 0: never
	largest int // bytes of a batch
	reading func()
}

var errCut = errors.New("the line was cut")

func (b *target) Appender(ctx context.Context) (papyra.Appender, error) {
	a, err := b.Store.Appender(ctx)
	if err != nil {
		return nil, err
	}
	return &appender{a, b}, nil
}

func (b *target) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (int64, error) {
	if b.reading != nil {
		b.reading()
	}
	return b.Store.Read(ctx, q, yield)
}

type appender struct {
	papyra.Appender
	b *target
}

func (a *appender) Append(ctx context.Context, batch *papyra.Batch) (int, error) {
	a.b.largest = max(a.b.largest, len(batch.Bytes()))
	if a.b.left < 0 || batch.Len() <= a.b.left {
		if a.b.left >= 0 {
			a.b.left -= batch.Len()
		}
		if a.b.batches--; a.b.batches == 0 {
			a.b.cancel()
		}
		return a.Appender.Append(ctx, batch)
	}
	var part papyra.Batch
	for i := range a.b.left {
		line, s := batch.Line(i)
		part.Append(part.StreamIndex(s), line)
	}
	n, err := a.Appender.Append(ctx, &part)
	return n, errors.Join(errCut, err)
}

// source is a store that changes while it is read, or of which a part cannot be.
type source struct {
	papyra.Store

	reads      int
	before     map[int]func() // called before the n-th full read, from 1
	incomplete bool
}

func (b *source) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (int64, error) {
	if q.Limit == 0 && len(q.Kinds) == 0 {
		b.reads++
		if f := b.before[b.reads]; f != nil {
			f()
		}
	}
	n, err := b.Store.Read(ctx, q, yield)
	if err == nil && b.incomplete {
		err = fmt.Errorf("read a bad sector: %w", papyra.ErrIncomplete)
	}
	return n, err
}

func total(all map[papyra.Stream][]string) (n int64) {
	for _, lines := range all {
		n += int64(len(lines))
	}
	return n
}

func sameStreams(t *testing.T, got, want map[papyra.Stream][]string) {
	t.Helper()
	for s, lines := range want {
		if !slices.Equal(got[s], lines) {
			t.Errorf("stream %s: got %d lines, want %d; the first that differ:\n%s", s, len(got[s]), len(lines), firstDiff(got[s], lines))
		}
	}
	for s := range got {
		if want[s] == nil {
			t.Errorf("stream %s: got %d lines, want none", s, len(got[s]))
		}
	}
}

func firstDiff(got, want []string) string {
	for i := range max(len(got), len(want)) {
		g, w := "(none)", "(none)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("%d got  %s\n%d want %s", i, g, i, w)
		}
	}
	return "none"
}
