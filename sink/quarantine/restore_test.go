package quarantine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend/jsonfile"
	"github.com/papyra/papyra/sink/backend/rotating"
	"github.com/papyra/papyra/sink/quarantine"
)

// fileStore is a store of files with an act that holds a leftover: 40 records of which
// the store has every second, and a damaged line.
type fileStore struct {
	quarantine.Store
	path string
	act  string
	want []string
}

func newFileStore(t *testing.T, open func(path string) (quarantine.Store, error)) *fileStore {
	t.Helper()
	dir := testkit.FastDir(t)
	f := &fileStore{path: filepath.Join(dir, "records.ndjson")}
	var stored, moved [][]byte
	src := testrecord.New(1)
	for i := range 40 {
		l := src.Event()
		f.want = append(f.want, string(l))
		moved = append(moved, l)
		if i%2 == 0 {
			stored = append(stored, l)
		}
	}
	// Behind a hole of NUL bytes a record is found all the same, however long the hole is;
	// what is too long or damaged stays in quarantine.
	hole := src.Event()
	f.want = append(f.want, string(hole))
	moved = append(moved, append(make([]byte, papyra.MaxLine+4096), hole...), bytes.Repeat([]byte("x"), 3*papyra.MaxLine), []byte("junk"))
	write := func(name string, lines [][]byte) {
		if err := os.WriteFile(filepath.Join(dir, name), testrecord.Join(lines...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("records.ndjson", stored)
	write(".records.ndjson.tmp-0123456789abcdef", moved)
	var err error
	if f.Store, err = open(f.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	r, err := f.Recover(context.Background(), papyra.RecoverOptions{Now: testrecord.Start})
	if err != nil || r.Moved != 1 {
		t.Fatalf("recover: %+v, %v", r, err)
	}
	f.act = r.Act
	return f
}

func openJSON(path string) (quarantine.Store, error) { return jsonfile.Open(path, jsonfile.Config{}) }

func openRotating(path string) (quarantine.Store, error) {
	return rotating.Open(path, rotating.Config{MaxBytes: 4000, MaxFiles: 40})
}

// events returns the lines of the store's events, duplicates too, by how often they are there.
func events(t *testing.T, s papyra.Store) map[string]int {
	t.Helper()
	out := map[string]int{}
	_, err := s.Read(context.Background(), papyra.Query{Duplicates: true, Kinds: []papyra.Kind{papyra.KindEvent}}, func(r *papyra.Record, _ papyra.Place) error {
		out[string(r.Line)]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func once(lines []string) map[string]int {
	out := map[string]int{}
	for _, l := range lines {
		out[l] = 1
	}
	return out
}

func TestRestoreOfALeftover(t *testing.T) {
	for name, open := range map[string]func(string) (quarantine.Store, error){"json": openJSON, "rotating": openRotating} {
		t.Run(name, func(t *testing.T) {
			f := newFileStore(t, open)
			r, err := quarantine.Restore(context.Background(), f, quarantine.Options{Act: f.act, Now: testrecord.Start})
			if err != nil {
				t.Fatal(err)
			}
			if r.Records != 41 || r.Present != 20 || r.Restored != 21 || r.DamagedBytes != 4*papyra.MaxLine+4096+5 {
				t.Errorf("got %+v, want 41 records, 20 present, 21 restored, and the damage counted", r)
			}
			if diff := cmp.Diff(once(f.want), events(t, f)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if s, err := f.Scan(context.Background(), papyra.ScanOptions{Full: true}); err != nil || !s.Clean() || s.Duplicates != 0 {
				t.Errorf("scan: %+v, %v", s, err)
			}
			// What is back is stored, and the account needs no reason any more.
			a, err := account.Read(context.Background(), account.Options{At: testrecord.Start}, nil, f)
			if err != nil || a.Total.Missing != 0 || a.Total.Stored < 41 {
				t.Errorf("account: %+v, %v", a.Total, err)
			}
		})
	}
}

// dying is a store whose appender fails for good after so many calls of Append, as the
// file of a process that was killed: what was written before stands.
type dying struct {
	quarantine.Store
	calls int
	half  bool // the failing call stores one line
}

var errDead = errors.New("dead")

type dyingAppender struct {
	papyra.Appender
	s *dying
}

func (d *dying) Appender(ctx context.Context) (papyra.Appender, error) {
	a, err := d.Store.Appender(ctx)
	return &dyingAppender{a, d}, err
}

func (a *dyingAppender) Append(ctx context.Context, b *papyra.Batch) (int, error) {
	if a.s.calls--; a.s.calls >= 0 {
		return a.Appender.Append(ctx, b)
	}
	if !a.s.half {
		return 0, errDead
	}
	a.s.half = false
	var one papyra.Batch
	line := b.Bytes()[:b.End(1)-1]
	rec := papyra.Record{}
	if err := papyra.ParseInto(&rec, line); err != nil {
		return 0, err
	}
	one.Append(one.StreamIndex(rec.Stream()), line)
	n, _ := a.Appender.Append(ctx, &one)
	return n, errDead
}

// A restore that ends anywhere is finished by the same call, which puts nothing back
// twice.
func TestRestoreThatIsCutOff(t *testing.T) {
	for _, half := range []bool{false, true} {
		for calls := range 4 {
			t.Run(fmt.Sprintf("after %d calls, half %v", calls, half), func(t *testing.T) {
				f := newFileStore(t, openJSON)
				_, err := quarantine.Restore(context.Background(), &dying{Store: f, calls: calls, half: half}, quarantine.Options{Act: f.act, Now: testrecord.Start})
				if calls < 3 && !errors.Is(err, errDead) || calls == 3 && err != nil {
					t.Fatalf("got %v", err)
				}
				if n, most := len(events(t, f)), 41; n < 20 || n > most {
					t.Errorf("%d events", n)
				}
				for range 2 {
					if _, err := quarantine.Restore(context.Background(), f, quarantine.Options{Act: f.act, Now: testrecord.Start}); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(once(f.want), events(t, f)); diff != "" {
						t.Fatalf("events (-want +got):\n%s", diff)
					}
				}
			})
		}
	}
}

// A restore that is interrupted says how far it came.
func TestRestoreThatIsInterrupted(t *testing.T) {
	f := newFileStore(t, openJSON)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := quarantine.Restore(ctx, f, quarantine.Options{Act: f.act}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := quarantine.Restore(context.Background(), &dying{Store: f, calls: 1}, quarantine.Options{Act: f.act}); !errors.Is(err, errDead) {
		t.Errorf("got %v", err)
	}
	a, err := f.Appender(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quarantine.Restore(context.Background(), f, quarantine.Options{Act: f.act}); !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("beside an appender: %v, want papyra.ErrBusy", err)
	}
	_ = a.Close()
}

// What is in quarantine is compared with its checksums before anything is put back.
func TestRestoreOfAChangedQuarantine(t *testing.T) {
	f := newFileStore(t, openJSON)
	saved := filepath.Join(filepath.Dir(f.path), ".records.ndjson.saved", f.act, "bytes")
	data, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	before := events(t, f)
	for name, changed := range map[string][]byte{"a bit": append([]byte("x"), data[1:]...), "cut": data[:len(data)-1], "empty": nil} {
		if err := os.WriteFile(saved, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := quarantine.Restore(context.Background(), f, quarantine.Options{Act: f.act}); !errors.Is(err, papyra.ErrIncomplete) {
			t.Errorf("%s: got %v, want papyra.ErrIncomplete", name, err)
		}
	}
	if diff := cmp.Diff(before, events(t, f)); diff != "" {
		t.Errorf("the store was changed (-before +after):\n%s", diff)
	}
}

// A quarantine directory may hold the acts of several stores; one that was interrupted is
// shown and not put back.
func TestActsOfADirectory(t *testing.T) {
	ctx := context.Background()
	dir, saved := testkit.FastDir(t), filepath.Join(testkit.FastDir(t), "q")
	var stores []quarantine.Store
	for _, name := range []string{"a.ndjson", "b.ndjson"} {
		if err := os.WriteFile(filepath.Join(dir, name), append([]byte("junk\n"), testrecord.New(1).Event()...), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openJSON(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Recover(ctx, papyra.RecoverOptions{QuarantineDir: saved}); err != nil {
			t.Fatal(err)
		}
		stores = append(stores, s)
	}
	for _, s := range stores {
		if acts, err := s.QuarantineActs(ctx, saved); err != nil || len(acts) != 1 || acts[0].Pieces != 2 {
			t.Errorf("%s: %+v, %v; want its one act", s.URL(), acts, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(saved, "29991231T235959Z-0000000000000000"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(saved, "29991231T235959Z-0000000000000000", "bytes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	acts, err := stores[0].QuarantineActs(ctx, saved)
	if err != nil || len(acts) != 2 || acts[1].Complete {
		t.Fatalf("%+v, %v; want two acts, the second incomplete", acts, err)
	}
	if _, err := quarantine.Restore(ctx, stores[0], quarantine.Options{Dir: saved, Act: acts[1].ID}); !errors.Is(err, papyra.ErrNotFound) {
		t.Errorf("restore of an incomplete act: %v, want papyra.ErrNotFound", err)
	}
	if _, err := stores[0].QuarantineActs(ctx, filepath.Join(saved, "none")); !errors.Is(err, papyra.ErrNotFound) {
		t.Errorf("a directory that is not there: %v, want papyra.ErrNotFound", err)
	}
}
