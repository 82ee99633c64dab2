package doctor_test

import (
	"fmt"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/doctor"
)

// A check that failed is told of once: by the scan, or as a failure.
func TestFailures(t *testing.T) {
	full := papyra.Check{Name: "space", Status: papyra.StatusFail, Finding: "0 B free"}
	own := []papyra.Check{{Name: "lock", Status: papyra.StatusOK, Finding: "free"}, {Name: "file", Status: papyra.StatusWarn, Finding: "0666"}, full}
	damaged := &papyra.ScanReport{Incomplete: true, AnomalyCounts: map[papyra.Class]int64{papyra.ClassCorrupted: 1, papyra.ClassLeftover: 1, papyra.ClassUnexpectedFile: 1}}
	for _, tc := range []struct {
		name string
		p    patient
		want int
	}{
		{"nothing failed", patient{own: own[:2], report: &papyra.ScanReport{}}, 0},
		{"full", patient{own: own, report: &papyra.ScanReport{}}, 1},
		{"full and damaged", patient{own: own, report: damaged}, 1},
		{"damaged", patient{own: own[:2], report: damaged}, 0},
		{"full and not reachable", patient{own: own, scanErr: papyra.ErrUnavailable}, 1},
		{"no store", patient{own: own, scanErr: fmt.Errorf("open: %w", papyra.ErrNotFound)}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := doctor.Examine(t.Context(), tc.p, doctor.Options{Now: now})
			got := e.Failures()
			if len(got) != tc.want || tc.want == 1 && got[0] != full {
				t.Errorf("got %v, want %d", got, tc.want)
			}
		})
	}
}
