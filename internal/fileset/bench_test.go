package fileset_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// benchFile makes a file of about 256 MiB and returns its store and size.
func benchFile(b *testing.B, strip bool) (*fixture, int64) {
	b.Helper()
	f := openFixture(b, filepath.Join(testkit.FastDir(b), "records.ndjson"), fileset.SyncNone)
	file, err := os.Create(f.path)
	must(b, err)
	defer file.Close()
	size := int64(0)
	for run := 0; size < 256<<20; run++ {
		src := testrecord.New(run)
		var block []byte
		for len(block) < 16<<20 {
			line := src.Event()
			if strip {
				line = append(line[:bytes.Index(line, []byte(`,"node":`))], '}')
			}
			block = append(append(block, line...), '\n')
		}
		n, err := file.Write(block)
		must(b, err)
		size += int64(n)
	}
	return f, size
}

// BenchmarkScan reads a file from memory: the floor is what counting its
// newlines costs on one core.
func BenchmarkScan(b *testing.B) {
	for name, c := range map[string]struct {
		strip bool
		o     papyra.ScanOptions
	}{
		"sealed":        {false, papyra.ScanOptions{}},
		"sealed, full":  {false, papyra.ScanOptions{Full: true}},
		"unsealed":      {true, papyra.ScanOptions{}},
		"unsealed,full": {true, papyra.ScanOptions{Full: true}},
	} {
		b.Run(name, func(b *testing.B) {
			f, size := benchFile(b, c.strip)
			b.SetBytes(size)
			for b.Loop() {
				if r := f.scan(c.o); !r.Clean() {
					b.Fatalf("%v", r.AnomalyCounts)
				}
			}
		})
	}
	b.Run("floor: count newlines", func(b *testing.B) {
		f, size := benchFile(b, false)
		b.SetBytes(size)
		buf := make([]byte, 256<<10)
		for b.Loop() {
			file, err := os.Open(f.path)
			must(b, err)
			lines := 0
			for {
				n, err := file.Read(buf)
				lines += bytes.Count(buf[:n], []byte{'\n'})
				if err != nil {
					break
				}
			}
			file.Close()
		}
	})
}

// BenchmarkAppend appends batches of 1,000 records.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []fileset.Sync{fileset.SyncNone, fileset.SyncInterval} {
		b.Run(string(mode), func(b *testing.B) {
			f := openFixture(b, filepath.Join(testkit.FastDir(b), "records.ndjson"), mode)
			a := f.appender()
			defer a.Close()
			batch := testrecord.Batch(testrecord.New(1).Events(1000)...)
			b.SetBytes(int64(len(batch.Bytes())))
			n := 0
			for b.Loop() {
				if _, err := a.Append(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
				if n++; n%2000 == 0 { // about 400 MB: keep the disk small
					b.StopTimer()
					must(b, a.Close())
					must(b, os.Truncate(f.path, 0))
					a = f.appender()
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkRead reads the newest ten records of a large file, and all of it.
func BenchmarkRead(b *testing.B) {
	f, size := benchFile(b, false)
	for name, q := range map[string]papyra.Query{"newest 10": {Limit: 10}, "all": {}, "all in reverse": {Reverse: true}} {
		b.Run(name, func(b *testing.B) {
			if q.Limit == 0 {
				b.SetBytes(size)
			}
			for b.Loop() {
				_, err := f.Read(context.Background(), q, func(*papyra.Record, papyra.Place) error { return nil })
				must(b, err)
			}
		})
	}
}
