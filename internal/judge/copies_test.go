package judge

import (
	"bytes"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// copies offers lines twice, as a compaction does, and returns what it calls
// copies.
func copies(t *testing.T, bound int, lines ...[]byte) (found []int, limits []string) {
	t.Helper()
	ids := NewIdentities(1)
	records := make([]papyra.Record, len(lines))
	for i, line := range lines {
		var err error
		if records[i], err = papyra.Parse(line); err != nil {
			t.Fatal(err)
		}
		ids.Add(&records[i])
	}
	c := ids.Copies()
	if bound > 0 {
		c.bound = bound
	}
	for i := range records {
		if c.Suspect(&records[i]) && c.Copy(&records[i]) {
			found = append(found, i)
		}
	}
	return found, c.Limits()
}

func equal(a []int, b ...int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestCopies(t *testing.T) {
	l := testrecord.New(1).Events(5)
	spaced := func(line []byte) []byte { return testrecord.Rewritten(line, true) }
	changed := bytes.Replace(spaced(l[0]), []byte("text"), []byte("tExt"), 1)
	plain := []byte(`{"kind":"event","system_id":"a","actor_address":"a:b","event_type":"x","payload":1,"timestamp":1}`)
	// The same identity with other text is no copy; without an identity nothing is.
	found, limits := copies(t, 0, l[0], plain, changed, l[1], plain, l[0], changed, l[2], l[1], spaced(l[1]), spaced(l[0]))
	if !equal(found, 5, 6, 8, 9, 10) || len(limits) > 0 {
		t.Errorf("copies %v, limits %q; want 5, 6, 8, 9 and 10 and no limits", found, limits)
	}
	// One run and number in two systems or categories are two records.
	other := testrecord.New(1)
	found, _ = copies(t, 0, l[0], other.Line("shop", papyra.KindEvent, "text 1"), testrecord.New(1).Line("orders", papyra.KindDeadLetter, "text 1"))
	if len(found) > 0 {
		t.Errorf("copies %v of records of three streams", found)
	}
}

// Beyond the bound copies are left, never others taken, and a second look at
// what is left finds the rest.
func TestCopiesAreBounded(t *testing.T) {
	l := testrecord.New(1).Events(6)
	lines := append(append([][]byte{}, l...), l...)
	found, limits := copies(t, 4, lines...)
	if !equal(found, 6, 7, 8, 9) || len(limits) != 1 || !strings.Contains(limits[0], "newest 4 records") {
		t.Errorf("copies %v, limits %q; want those of the first four records, and to be told", found, limits)
	}
	found, limits = copies(t, 4, append(append([][]byte{}, l...), l[4:]...)...)
	if !equal(found, 6, 7) || len(limits) > 0 {
		t.Errorf("copies %v of what is left, limits %q", found, limits)
	}
}

// Where the identities do not fit, only copies among those that do are found.
func TestCopiesOfAPart(t *testing.T) {
	ids := NewIdentities(1)
	ids.budget = 3 * runOverhead
	var records []papyra.Record
	for range 2 {
		for run := range 20 {
			rec, err := papyra.Parse(testrecord.New(run).Event())
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, rec)
		}
	}
	for _, rec := range append(records[:20:20], append(records[:1:1], records[20:]...)...) {
		ids.Add(&rec)
	}
	c := ids.Copies()
	n := 0
	for i := range records {
		if c.Suspect(&records[i]) && c.Copy(&records[i]) {
			if i < 20 {
				t.Errorf("the first record of run %d is called a copy", i)
			}
			n++
		}
	}
	if n > 4 || len(c.Limits()) != 1 {
		t.Errorf("%d copies, limits %q; want those that fit, and to be told", n, c.Limits())
	}
}
