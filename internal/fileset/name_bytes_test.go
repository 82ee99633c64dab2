package fileset_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// A name is bytes. Whatever they are, a recovery finishes, what it says names the
// files, and the next one finds nothing to do.
func TestRecoverWhateverTheNameIs(t *testing.T) {
	good := testrecord.Join(testrecord.New(1).Events(3)...)
	damaged := append(append([]byte("junk\n"), good...), `{"kind":"event","sys`...)
	for _, name := range []string{"r\xff", "\xc3\x28", `r\xff`, `r\x5cxff`, "caf\xe9", "\xed\xa0\x80", "a\\\xff", "tab\t\x80"} {
		for _, where := range []string{"", "out\xff"} {
			t.Run(escape.EncodeName(name+" "+where), func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, name)
				files := []string{name, name + ".1", name + ".3"}
				for _, base := range files {
					must(t, os.WriteFile(filepath.Join(dir, base), damaged, 0o600))
				}
				// A file of an interrupted act, and a set whose name reads like this one's.
				must(t, os.WriteFile(path+".compact.tmp", []byte("half"), 0o600))
				must(t, os.WriteFile(filepath.Join(dir, escape.EncodeName(name)+"x"), damaged, 0o600))
				s, err := fileset.Open(fileset.Config{Path: path, Numbered: true})
				must(t, err)
				defer s.Close()

				report, err := s.Scan(t.Context(), papyra.ScanOptions{})
				must(t, err)
				text, err := json.Marshal(report)
				must(t, err)
				var read papyra.ScanReport
				must(t, json.Unmarshal(text, &read))
				found := map[string]bool{}
				for _, a := range read.Anomalies {
					found[escape.DecodeName(a.File)] = true
				}
				want := map[string]bool{name + ".compact.tmp": true}
				for _, base := range files {
					want[base] = true
				}
				if diff := cmp.Diff(want, found); diff != "" {
					t.Fatalf("files that the scan names (-want +got):\n%s", diff)
				}
				if read.Backend != s.URL() || escape.DecodeName(read.Backend) != path {
					t.Errorf("the store calls itself %q in JSON", read.Backend)
				}

				o := papyra.RecoverOptions{Now: testrecord.Start}
				if where != "" {
					o.QuarantineDir = filepath.Join(dir, where)
				}
				r, err := s.Recover(t.Context(), o)
				must(t, err)
				if r.Moved != 7 || !r.After.Clean() {
					t.Fatalf("moved %d places, left %v; want 7 and nothing", r.Moved, r.After.AnomalyCounts)
				}
				saved, err := testrecord.ReadAct(escape.DecodeName(r.Quarantine))
				must(t, err)
				for _, base := range files {
					after, err := os.ReadFile(filepath.Join(dir, base))
					must(t, err)
					before, err := testrecord.Undo(after, saved, escape.EncodeName(base), int64(len(damaged)))
					if err != nil || string(before) != string(damaged) {
						t.Errorf("%q and its quarantine are not the original: %v", base, err)
					}
				}
				again, err := s.Recover(t.Context(), o)
				must(t, err)
				if again.Moved != 0 || !again.Before.Clean() {
					t.Errorf("the second time: moved %d, found %v", again.Moved, again.Before.AnomalyCounts)
				}
				var places []string
				_, err = s.Read(t.Context(), papyra.Query{}, func(rec *papyra.Record, p papyra.Place) error {
					if string(rec.System) == papyra.SystemReserved {
						var done papyra.RecoveryPerformed
						if string(rec.Type) == papyra.ReportRecoveryPerformed {
							must(t, json.Unmarshal(rec.Payload, &done))
							if done.Quarantine != r.Quarantine {
								t.Errorf("the report in the store names the quarantine %q, want %q", done.Quarantine, r.Quarantine)
							}
						}
						return nil
					}
					places = append(places, escape.DecodeName(p.File))
					return nil
				})
				must(t, err)
				if len(places) != 3 || places[0] != name+".3" { // those of the others are copies
					t.Errorf("records lie in %q", places)
				}
			})
		}
	}
}

// A rotation goes around what stands in the place of a file, whatever the name is.
func TestRotateAroundWhateverTheNameIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r\xff")
	must(t, os.Mkdir(path+".1", 0o700))
	s, err := fileset.Open(fileset.Config{Path: path, Numbered: true, MaxBytes: 700, MaxFiles: 4})
	must(t, err)
	defer s.Close()
	a, err := s.Appender(t.Context())
	must(t, err)
	src := testrecord.New(1)
	for range 12 {
		if _, err := a.Append(t.Context(), testrecord.Batch(src.Event())); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path + ".2"); err != nil {
		t.Errorf("no file got a number: %v", err)
	}
}
