package backendtest

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// Each check says something, also of a store that does not exist and of one that
// is held; to examine a store does not make it, hold it or change it.
func examineChangesNothing(t *testing.T, m Medium) {
	b := open(t, m)
	_, before := b.Scan(t.Context(), papyra.ScanOptions{})
	examine(t, b)
	if _, after := b.Scan(t.Context(), papyra.ScanOptions{}); errors.Is(after, papyra.ErrNotFound) != errors.Is(before, papyra.ErrNotFound) {
		t.Errorf("a scan before: %v, after: %v", before, after)
	}
	a := appender(t, b)
	if _, err := a.Append(t.Context(), testrecord.Batch(testrecord.New(1).Events(3)...)); err != nil {
		t.Fatal(err)
	}
	lines := list(t, b, papyra.Query{})
	held := examine(t, b)
	for _, c := range held {
		if c.Status == papyra.StatusFail {
			t.Errorf("check of a store that works: %+v", c)
		}
	}
	if diff := cmp.Diff(lines, list(t, b, papyra.Query{})); diff != "" {
		t.Errorf("records (-before +after):\n%s", diff)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	examine(t, open(t, m))
	appender(t, open(t, m)) // nobody holds it
}

func examine(t *testing.T, b papyra.Store) []papyra.Check {
	t.Helper()
	checks := b.Examine(t.Context())
	statuses := []papyra.CheckStatus{papyra.StatusOK, papyra.StatusWarn, papyra.StatusFail, papyra.StatusSkipped}
	for _, c := range checks {
		if c.Name == "" || c.Finding == "" || !slices.Contains(statuses, c.Status) {
			t.Errorf("check %+v says nothing", c)
		}
	}
	return checks
}
