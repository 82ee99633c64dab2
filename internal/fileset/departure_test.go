package fileset

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// A process that ends while a file is in a state of its departure leaves what the
// table of states says. The next appender finishes what was begun: the file is
// unlinked and reported once.
func TestDepartureStates(t *testing.T) {
	for _, c := range []struct {
		name             string
		state            departureState
		member, dropping bool // where the file is
		reports          int
	}{
		{"opened", departureOpened, true, false, 0},
		{"noted", departureNoted, true, false, 0},
		{"renamed", departureRenamed, false, true, 0},
		{"reported", departureReported, false, true, 1},
		{"unlinked", departureUnlinked, false, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(t.TempDir(), "records.ndjson")
			must(os.WriteFile(path, testrecord.Join(testrecord.New(2).Events(3)...), 0o600))
			must(os.WriteFile(path+".1", testrecord.Join(testrecord.New(1).Events(5)...), 0o600))
			open := func() *Store {
				s, err := Open(Config{Path: path, Numbered: true, MaxBytes: 1 << 20, MaxFiles: 3})
				must(err)
				_, err = s.Appender(t.Context())
				must(err)
				return s
			}
			s := open()
			m, err := s.lookAt("records.ndjson.1")
			must(err)
			d, err := s.openDeparture(m)
			must(err)
			defer d.closeFile()
			for d.state < c.state {
				if d.state < departureReported {
					if err := d.unlink(); !errors.Is(err, errUnreported) {
						t.Fatalf("unlink in state %d: %v, want %v", d.state, err, errUnreported)
					}
				}
				switch d.state {
				case departureOpened:
					must(d.note(t.Context(), "0123456789abcdef", false))
				case departureNoted:
					must(d.rename())
					s.writer.departures = append(s.writer.departures, d)
				case departureRenamed:
					must(s.writer.appendDepartureReports())
					must(s.writer.sync())
					d.state = departureReported
				case departureReported:
					must(d.unlink())
				}
			}
			must(s.Close())

			exists := func(path string) bool { _, err := os.Lstat(path); return err == nil }
			dropping := s.dropping("0123456789abcdef")
			if exists(path+".1") != c.member || exists(dropping) != c.dropping {
				t.Errorf("the file is a member: %v, is dropping: %v, want %v, %v", exists(path+".1"), exists(dropping), c.member, c.dropping)
			}
			reports := func(s *Store) (n int) {
				_, err := s.Read(t.Context(), papyra.Query{Kinds: []papyra.Kind{papyra.KindReport}}, func(*papyra.Record, papyra.Place) error { n++; return nil })
				must(err)
				return n
			}
			if got := reports(openReader(t, path)); got != c.reports {
				t.Errorf("%d reports after the crash, want %d", got, c.reports)
			}
			next := open()
			defer next.Close()
			want := 1
			if c.member {
				want = 0
			}
			if got := reports(next); got != want || exists(path+".1") != c.member || exists(dropping) {
				t.Errorf("the next appender leaves %d reports, a member: %v, a dropping file: %v, want %d, %v, false", got, exists(path+".1"), exists(dropping), want, c.member)
			}
		})
	}
}

// openReader opens a store only to read it.
func openReader(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(Config{Path: path, Numbered: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
