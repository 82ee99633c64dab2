package fileset_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// A scan by many workers of many lines of megabytes ends, and holds only as many
// lines as there are buffers for.
func TestScanOfManyLongLinesByManyWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(12))
	f := fastFixture(t)
	line := testrecord.New(1).Line("orders", papyra.KindDeadLetter, string(bytes.Repeat([]byte("x"), 200_000)))
	line = bytes.Replace(line[:bytes.Index(line, []byte(`,"node":`))], []byte("xx"), bytes.Repeat([]byte("x"), 2_114_000), 1)
	line = append(line, "}\n"...)
	const count = 24
	f.write(bytes.Repeat(line, count))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, full := range []bool{false, true} {
		if r := f.scan(papyra.ScanOptions{Full: full}); r.Records != count || !r.Clean() {
			t.Errorf("full %v: %d records, %v; want %d", full, r.Records, r.AnomalyCounts, count)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 80<<20 {
		t.Errorf("two scans have allocated %d MiB, want 2 times 12 buffers of 1.25 MiB and 2 of 8.25", got>>20)
	}
}
