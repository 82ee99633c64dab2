package backendtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/quarantine"
)

// piecesOf returns the contents of an act's pieces.
func piecesOf(t *testing.T, s quarantine.Store, act string) (pieces []papyra.QuarantinePiece, contents [][]byte) {
	t.Helper()
	err := s.QuarantinePieces(context.Background(), "", act, func(p *papyra.QuarantinePiece) error {
		b, err := io.ReadAll(p.Content)
		pieces, contents = append(pieces, *p), append(contents, b)
		return err
	})
	if err != nil {
		t.Fatalf("read act %s: %v", act, err)
	}
	return pieces, contents
}

// restore puts an act back.
func restore(t *testing.T, s quarantine.Store, o quarantine.Options) *quarantine.Report {
	t.Helper()
	r, err := quarantine.Restore(context.Background(), s, o)
	if err != nil {
		t.Fatalf("restore %+v: %v", o, err)
	}
	return r
}

func quarantineShown(t *testing.T, m Medium) {
	ctx := context.Background()
	b, ok := open(t, m).(quarantine.Store)
	if !ok {
		t.Log("the store does not show its quarantine")
		return
	}
	src := testrecord.New(1)
	store(t, b, testrecord.Batch(src.Events(2)...))
	if acts, err := b.QuarantineActs(ctx, ""); err != nil || len(acts) != 0 {
		t.Errorf("before any recovery: %+v, %v", acts, err)
	}
	var all []*papyra.RecoverReport
	for _, n := range []int{1, len(damage())} {
		for _, d := range damage()[:n] {
			m.Plant(t, d.line)
		}
		store(t, b, testrecord.Batch(src.Event()))
		all = append(all, recoverStore(t, b, papyra.RecoverOptions{Now: testrecord.Start.AddDate(0, 0, n)}))
	}
	acts, err := b.QuarantineActs(ctx, "")
	if err != nil || len(acts) != len(all) {
		t.Fatalf("%d acts, %v; want %d", len(acts), err, len(all))
	}
	for i, r := range all {
		act := acts[i]
		if act.ID != r.Act || !act.Complete || act.Pieces != r.Moved || act.Place == "" {
			t.Errorf("act %+v, want that of %s with %d pieces", act, r.Act, r.Moved)
		}
		if diff := cmp.Diff(r.Before.AnomalyCounts, act.Counts); diff != "" {
			t.Errorf("act %s by class (-recovery +act):\n%s", act.ID, diff)
		}
		pieces, contents := piecesOf(t, b, act.ID)
		var size int64
		for j, d := range damage()[:r.Moved] {
			if got := bytes.TrimSuffix(contents[j], []byte("\n")); !bytes.Equal(got, d.line) || pieces[j].Class != d.class {
				t.Errorf("piece %d is %s %.80q, want %s %.80q", j, pieces[j].Class, got, d.class, d.line)
			}
			if pieces[j].Length != int64(len(contents[j])) {
				t.Errorf("piece %d has length %d, its content %d", j, pieces[j].Length, len(contents[j]))
			}
			size += pieces[j].Length
		}
		if act.Bytes != size {
			t.Errorf("act %s has %d bytes, its pieces %d", act.ID, act.Bytes, size)
		}
	}
	stop := errors.New("stop")
	if err := b.QuarantinePieces(ctx, "", acts[0].ID, func(*papyra.QuarantinePiece) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("yield's error became %v", err)
	}
	for _, none := range []string{"", "20200101T000000Z-0000000000000000", "..", "a/b"} {
		if err := b.QuarantinePieces(ctx, "", none, func(*papyra.QuarantinePiece) error { return nil }); !errors.Is(err, papyra.ErrNotFound) {
			t.Errorf("act %q: got %v, want papyra.ErrNotFound", none, err)
		}
	}
}

func quarantineRestored(t *testing.T, m Medium) {
	b, ok := open(t, m).(quarantine.Store)
	if !ok {
		t.Log("the store does not show its quarantine")
		return
	}
	src := testrecord.New(1)
	events := src.Events(6)
	torn := func(i int) []byte { return append(bytes.Clone(events[i][:30]), events[i+1]...) }
	store(t, b, testrecord.Batch(events[0]))
	// Records behind a torn one and behind NUL bytes: a store moves them away with it, or
	// keeps them. One of them comes twice, and one is stored once more.
	m.Plant(t, torn(1))
	m.Plant(t, append(make([]byte, 50), events[3]...))
	m.Plant(t, append(make([]byte, 50), events[3]...))
	m.Plant(t, torn(4))
	store(t, b, testrecord.Batch(events[5]))
	r := recoverStore(t, b, papyra.RecoverOptions{Now: testrecord.Start})
	want := []string{string(events[0]), string(events[2]), string(events[3]), string(events[3]), string(events[5])}
	all := func() []string {
		got := list(t, b, papyra.Query{Duplicates: true, Kinds: []papyra.Kind{papyra.KindEvent}})
		slices.Sort(got)
		// Where a store moves the last one away, it is there once, otherwise twice.
		return slices.Compact(got)
	}
	slices.Sort(want)
	before := scanStore(t, b, papyra.ScanOptions{})
	dry := restore(t, b, quarantine.Options{Act: r.Act, DryRun: true})
	if diff := cmp.Diff(before, scanStore(t, b, papyra.ScanOptions{})); diff != "" {
		t.Errorf("a dry run changed the store (-before +after):\n%s", diff)
	}
	done := restore(t, b, quarantine.Options{Act: r.Act, Now: testrecord.Start})
	if done.Restored != dry.Restored || done.RestoredBytes != dry.RestoredBytes || done.Present != dry.Present || !dry.DryRun || dry.Act != "" {
		t.Errorf("restored %+v, the dry run said %+v", done, dry)
	}
	if diff := cmp.Diff(slices.Compact(want), all()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	after := scanStore(t, b, papyra.ScanOptions{})
	if !after.Clean() {
		t.Errorf("the store is damaged: %+v", after.Anomalies)
	}
	if said, ended := reports[papyra.RestoreReport](t, b, papyra.ReportRestore), reports[papyra.RestorePerformed](t, b, papyra.ReportRestorePerformed); done.Restored > 0 {
		if len(said) != 1 || len(ended) != 1 || said[0].ID != done.Act || said[0].Records != done.Restored || ended[0].End != papyra.EndDone ||
			ended[0].From != r.Act || ended[0].Records != done.Restored || ended[0].Bytes != done.RestoredBytes {
			t.Errorf("reports %+v and %+v, want one of each like %+v", said, ended, done)
		}
	} else if len(said)+len(ended) > 0 {
		t.Errorf("a restore of nothing wrote %+v %+v", said, ended)
	}
	again := restore(t, b, quarantine.Options{Act: r.Act})
	if again.Restored != 0 || again.Act != "" || again.Records != done.Records || again.Present != again.Records {
		t.Errorf("again: %+v", again)
	}
	if diff := cmp.Diff(after, scanStore(t, b, papyra.ScanOptions{})); diff != "" {
		t.Errorf("a second restore wrote something (-before +after):\n%s", diff)
	}
	// The quarantine stays as it was.
	if pieces, _ := piecesOf(t, b, r.Act); int64(len(pieces)) != r.Moved {
		t.Errorf("%d pieces are left in the act, want %d", len(pieces), r.Moved)
	}
	if _, err := quarantine.Restore(context.Background(), b, quarantine.Options{Act: "none"}); !errors.Is(err, papyra.ErrNotFound) {
		t.Errorf("restore of an act that is not there: %v, want papyra.ErrNotFound", err)
	}
}
