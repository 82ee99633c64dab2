package transfer_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/transfer"
)

// A copy of many records of megabytes holds few of them, in both directions of the
// readers: what it needs does not grow with their number. What is not synced yet,
// up to 64 MiB, comes on top.
func TestCopyHoldsFewLongLines(t *testing.T) {
	const count, size = 32, 2_314_494
	dir := t.TempDir()
	from, err := backend.Open("json:" + backend.EscapePath(dir+"/from.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	appender, err := from.Appender(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var batch papyra.Batch
	for i := range count {
		batch.Reset()
		line := fmt.Sprintf(`{"kind":"dead_letter","system_id":"pysys","target":null,"message_type":"Charge","payload":"%s","timestamp":%d.5}`,
			strings.Repeat("x", size), 1_700_000_000+i)
		batch.Append(batch.StreamIndex(papyra.Stream{System: "pysys", Kind: papyra.KindDeadLetter}), []byte(line))
		if _, err := appender.Append(t.Context(), &batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := appender.Close(); err != nil {
		t.Fatal(err)
	}
	batch = papyra.Batch{}

	held := func() uint64 {
		var mem runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&mem)
		return mem.HeapAlloc
	}
	before := held()
	var most uint64
	for _, to := range []string{"json:%s/one.ndjson?sync=none", "rotating:%s/set.ndjson?max_bytes=10MB&max_files=20&sync=none"} {
		target, err := backend.Open(fmt.Sprintf(to, backend.EscapePath(dir)))
		if err != nil {
			t.Fatal(err)
		}
		watched := watchedStore{target, func() { most = max(most, held()) }}
		report, err := transfer.Run(t.Context(), from, watched, transfer.Options{})
		if err != nil || !report.Verified || report.Copied != count {
			t.Errorf("%s: %+v, %v", to, report, err)
		}
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	}
	if most > before+40<<20 {
		t.Errorf("%d MiB were held to copy %d MiB", (most-before)>>20, count*size>>20)
	}
}

// watchedStore calls look with each batch that is appended and with records that are
// read.
type watchedStore struct {
	papyra.Store
	look func()
}

func (w watchedStore) Appender(ctx context.Context) (papyra.Appender, error) {
	a, err := w.Store.Appender(ctx)
	return watchedAppender{a, w.look}, err
}

func (w watchedStore) Read(ctx context.Context, q papyra.Query, yield func(*papyra.Record, papyra.Place) error) (int64, error) {
	n := 0
	return w.Store.Read(ctx, q, func(rec *papyra.Record, place papyra.Place) error {
		if n++; n%8 == 0 {
			w.look()
		}
		return yield(rec, place)
	})
}

type watchedAppender struct {
	papyra.Appender
	look func()
}

func (w watchedAppender) Append(ctx context.Context, b *papyra.Batch) (int, error) {
	n, err := w.Appender.Append(ctx, b)
	w.look()
	return n, err
}
