package older

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink/account"
	"github.com/papyra/papyra/sink/backend"
)

// fixture is what is known of a store that an older version wrote.
type fixture struct {
	Scheme  string `json:"scheme"`
	Note    string `json:"note"`
	Account struct {
		Verdict account.Verdict `json:"verdict"`
		Total   totals          `json:"total"`
	} `json:"account"`
}

type totals struct {
	Stored  uint64                       `json:"stored"`
	Dropped map[papyra.DropReason]uint64 `json:"dropped"`
	Removed map[string]uint64            `json:"removed"`
	Missing uint64                       `json:"missing"`
	Unnamed uint64                       `json:"unnamed"`
}

func fixtures(t *testing.T) (list map[string]fixture) {
	t.Helper()
	data, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	archives, err := filepath.Glob("testdata/*.tar.gz")
	if err != nil || len(archives) != len(list) || len(list) == 0 {
		t.Fatalf("%d stores and %d expected accounts, %v", len(archives), len(list), err)
	}
	return list
}

// unpack opens a copy of a store.
func unpack(t *testing.T, name, scheme string) papyra.Store {
	t.Helper()
	dir := testkit.FastDir(t)
	f, err := os.Open("testdata/" + name + ".tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		data, err := io.ReadAll(files)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := backend.Open(scheme + ":" + filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func accountOf(t *testing.T, store papyra.Store) *account.Result {
	t.Helper()
	r, err := account.Read(context.Background(), account.Options{At: time.Now(), Settle: -1}, nil, store)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What was accounted for is no accusation, and what was missing stays so.
func TestStoresOfAnOlderVersionHaveTheirAccount(t *testing.T) {
	for name, f := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := accountOf(t, unpack(t, name, f.Scheme))
			got := totals{r.Total.Stored, r.Total.Dropped, r.Total.Removed, r.Total.Missing, r.Total.Unnamed}
			if diff := cmp.Diff(f.Account.Total, got); diff != "" || r.Verdict != f.Account.Verdict {
				t.Errorf("%s: %s, want %s (-older +now):\n%s", f.Note, r.Verdict, f.Account.Verdict, diff)
			}
			if len(r.Doubts) > 0 {
				t.Errorf("%s: not believed: %+v", f.Note, r.Doubts)
			}
		})
	}
}

// The next act ends what an older version left without an end: afterwards no act is
// named, and nothing more is missing. A rotation that was killed is finished too, so
// that what looked missing is removed.
func TestTheNextActOnAStoreOfAnOlderVersion(t *testing.T) {
	named := 0
	for name, f := range fixtures(t) {
		store := unpack(t, name, f.Scheme)
		before := accountOf(t, store)
		named += len(before.Unended)
		if strings.HasPrefix(name, "full-32k") != (len(before.Unended) == 3) {
			t.Errorf("%s: %d acts without an end are named", name, len(before.Unended))
		}
		if _, err := store.Compact(context.Background(), papyra.CompactOptions{
			At: time.Now(), Retention: papyra.Retention{General: papyra.Limits{Records: 30}},
		}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		after := accountOf(t, store)
		if len(after.Unended) != 0 || after.Total.Missing > before.Total.Missing || after.Total.DroppedTotal() < before.Total.DroppedTotal() || after.Verdict != before.Verdict {
			t.Errorf("%s (%s): %s, %+v, unended %+v after the next act, before %s, %+v", name, f.Note, after.Verdict, after.Total, after.Unended, before.Verdict, before.Total)
		}
	}
	if named < 5 {
		t.Errorf("only %d acts without an end are named in all", named)
	}
}
