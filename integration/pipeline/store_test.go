package pipeline

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/papyra/papyra"
)

// stored is what lies in a file.
type stored struct {
	records []papyra.Record // all that are valid, in order
	damaged [][]byte        // lines that are not
	whole   bool            // the file ends in a newline, or is empty
}

// load reads a file line by line, independently of the backends.
func load(t *testing.T, paths ...string) stored {
	t.Helper()
	s := stored{whole: true}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s.whole = s.whole && (len(data) == 0 || data[len(data)-1] == '\n')
		for line := range bytes.Lines(data) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			rec, err := papyra.Parse(line)
			if err != nil {
				s.damaged = append(s.damaged, line)
				continue
			}
			s.records = append(s.records, rec)
		}
	}
	return s
}

// of returns the records of one kind and system, in order.
func (s stored) of(system string, kind papyra.Kind) []papyra.Record {
	var out []papyra.Record
	for _, r := range s.records {
		if r.Kind == kind && string(r.System) == system {
			out = append(out, r)
		}
	}
	return out
}

// numbers counts how often each number of a run's category is stored.
func (s stored) numbers(run string, kind papyra.Kind) map[uint64]int {
	n := map[uint64]int{}
	for _, r := range s.records {
		if r.Kind == kind && r.Sealed && string(r.Run) == run {
			n[r.Seq]++
		}
	}
	return n
}

// complete fails the test unless every number from 1 to n is stored exactly
// once.
func complete(t *testing.T, numbers map[uint64]int, n uint64) {
	t.Helper()
	missing, twice := 0, 0
	for seq := uint64(1); seq <= n; seq++ {
		switch numbers[seq] {
		case 0:
			missing++
		case 1:
		default:
			twice++
		}
	}
	if missing > 0 || twice > 0 || len(numbers) != int(n)-missing {
		t.Errorf("of %d records %d are missing and %d stored more than once; %d numbers in all", n, missing, twice, len(numbers))
	}
}

// lastReport returns the payload of the last report of a name.
func lastReport[T any](t *testing.T, s stored, name string) T {
	t.Helper()
	var payload T
	found := false
	for _, r := range s.records {
		if r.Kind == papyra.KindReport && string(r.Type) == name {
			payload, found = *new(T), true
			if err := json.Unmarshal(r.Payload, &payload); err != nil {
				t.Fatalf("%s: %v: %s", name, err, r.Payload)
			}
		}
	}
	if !found {
		t.Fatalf("the store has no %s", name)
	}
	return payload
}
