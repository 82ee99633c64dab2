package redis_test

import (
	"context"
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
)

const benchLines = 2000

func benchBatch(streams int) *papyra.Batch {
	src := testrecord.New(1)
	var lines [][]byte
	for i := range benchLines {
		lines = append(lines, src.Line(fmt.Sprintf("s%d", i%streams), papyra.KindEvent, "a payload of some length"))
	}
	return testrecord.Batch(lines...)
}

// BenchmarkAppend appends batches of 2,000 lines; "unfenced" is the floor, the
// same lines as XADDs of their own in one pipeline.
func BenchmarkAppend(b *testing.B) {
	ctx := context.Background()
	for _, streams := range []int{1, 10, 1000} {
		batch := benchBatch(streams)
		report := func(b *testing.B, s *redistest.Server) {
			b.ReportMetric(float64(b.N)*benchLines/b.Elapsed().Seconds(), "records/s")
			s.Do(b, "FLUSHALL")
		}
		b.Run(fmt.Sprintf("streams=%d/fenced", streams), func(b *testing.B) {
			s := redistest.Start(b)
			a := appender(b, open(b, "unix://"+s.Socket))
			b.SetBytes(int64(len(batch.Bytes())))
			for b.Loop() {
				if _, err := a.Append(ctx, batch); err != nil {
					b.Fatal(err)
				}
			}
			report(b, s)
		})
		b.Run(fmt.Sprintf("streams=%d/unfenced", streams), func(b *testing.B) {
			s := redistest.Start(b)
			c := s.Client(b)
			b.SetBytes(int64(len(batch.Bytes())))
			for b.Loop() {
				pipe := c.Pipeline()
				for i := range batch.Len() {
					line, stream := batch.Line(i)
					pipe.XAdd(ctx, &goredis.XAddArgs{Stream: stream.System, Values: []any{"data", line}})
				}
				if _, err := pipe.Exec(ctx); err != nil {
					b.Fatal(err)
				}
			}
			report(b, s)
		})
	}
}

// BenchmarkScan scans 200,000 sealed records in one stream.
func BenchmarkScan(b *testing.B) {
	ctx := context.Background()
	s := redistest.Start(b)
	store := open(b, "unix://"+s.Socket)
	a := appender(b, store)
	batch := benchBatch(1)
	for range 100 {
		if _, err := a.Append(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(100 * int64(len(batch.Bytes())))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := store.Scan(ctx, papyra.ScanOptions{}); err != nil || r.Records != 100*benchLines {
			b.Fatalf("%+v, %v", r, err)
		}
	}
}
