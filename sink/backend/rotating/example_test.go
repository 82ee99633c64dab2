package rotating_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/rotating"
)

// At most three files of 1,000 bytes: what does not fit any more is dropped,
// the oldest first, and counted.
func Example() {
	dir, err := os.MkdirTemp("", "rotating")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := rotating.Open(filepath.Join(dir, "records.ndjson"), rotating.Config{MaxBytes: 1000, MaxFiles: 3})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	appender, err := store.Appender(context.Background())
	if err != nil {
		panic(err)
	}
	stored, err := appender.Append(context.Background(), testrecord.Batch(testrecord.New(1).Events(20)...))
	if err != nil {
		panic(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "records.ndjson*"))
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		fmt.Println(filepath.Base(file))
	}
	stats := appender.Stats()
	fmt.Println(stored, "stored; dropped again, with the oldest files:", stats.DroppedFiles > 0 && stats.DroppedRecords > 0)
	// Output:
	// records.ndjson
	// records.ndjson.1
	// records.ndjson.2
	// 20 stored; dropped again, with the oldest files: true
}
