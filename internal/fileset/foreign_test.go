package fileset_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// A recovery asks before it empties one file of a set that has no record, whatever the
// others hold. What a crash leaves is no reason to ask.
func TestRecoverAsksForEachFileOfASet(t *testing.T) {
	t.Parallel()
	records := testrecord.Join(testrecord.New(1).Events(3)...)
	torn := records[:40]
	text := []byte("# a list\nof something\nelse\n")
	long := bytes.Repeat([]byte(strings.Repeat("else", 2500)+"\n"), 5<<20/10_000) // several blocks of a scan
	with := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	errNo := errors.New("no")
	for name, c := range map[string]struct {
		files   [][]byte // the active one, then .1 and so on
		foreign []string
		why     string // what the reason has
	}{
		"records":                      {[][]byte{records, records}, nil, ""},
		"damage beside records":        {[][]byte{with(records, text), with(text, records)}, nil, ""},
		"a crash":                      {[][]byte{torn, records}, nil, ""},
		"a crash and NULs":             {[][]byte{with(make([]byte, 9000), []byte("\n"), torn), records}, nil, ""},
		"an empty file":                {[][]byte{{}, with(text, records)}, nil, ""},
		"a numbered file":              {[][]byte{records, text, records}, []string{"r.1"}, "not one line of r.1 is a record"},
		"the active file":              {[][]byte{text, records}, []string{"r"}, "not one line of r is a record"},
		"a long one":                   {[][]byte{records, long}, []string{"r.1"}, "of r.1 "},
		"two":                          {[][]byte{records, text, text}, []string{"r.2", "r.1"}, "not one line of r.2, nor of 1 more, is a record"},
		"all":                          {[][]byte{text, text}, []string{"r.1", "r"}, "not one line of it is a record"},
		"a record of an unknown kind":  {[][]byte{with([]byte(`{"kind":"new","system_id":"a","payload":{},"timestamp":1700000000.5}`+"\n"), text), records}, nil, ""},
		"a crash of something foreign": {[][]byte{with(text, torn), records}, []string{"r"}, "of r "},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(testkit.FastDir(t), "r")
			for i, data := range c.files {
				must(t, os.WriteFile(path+[]string{"", ".1", ".2"}[i], data, 0o600))
			}
			s, err := fileset.Open(fileset.Config{Path: path, Numbered: true})
			must(t, err)
			defer func() { must(t, s.Close()) }()
			for _, full := range []bool{false, true} {
				r, err := s.Scan(t.Context(), papyra.ScanOptions{Full: full})
				must(t, err)
				if diff := cmp.Diff(c.foreign, r.Foreign, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("full %v: foreign (-want +got):\n%s", full, diff)
				}
			}
			asked := ""
			_, err = s.Recover(t.Context(), papyra.RecoverOptions{Approve: func(plan *papyra.RecoverReport) error {
				if asked = plan.Mistake; asked != "" {
					return errNo
				}
				return nil
			}})
			if !strings.Contains(asked, c.why) || (asked == "") != (c.why == "") || (err != nil) != (c.why != "") {
				t.Errorf("asked %q, error %v; want %q", asked, err, c.why)
			}
			for i, data := range c.files {
				got, err := os.ReadFile(path + []string{"", ".1", ".2"}[i])
				must(t, err)
				if c.why != "" && !bytes.Equal(got, data) {
					t.Errorf("file %d was changed", i)
				}
			}
			if _, err := s.Recover(t.Context(), papyra.RecoverOptions{}); err != nil {
				t.Error(err)
			}
			r, err := s.Scan(t.Context(), papyra.ScanOptions{})
			if err != nil || !r.Clean() {
				t.Errorf("not clean after the recovery: %+v, %v", r, err)
			}
		})
	}
}
