package jsonfile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/jsonfile"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "papyra-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "records.ndjson")
	torn := `{"kind":"event","system_id":"orders","actor_addr`
	if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	store, err := jsonfile.Open(path, jsonfile.Config{Sync: "batch"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	report, err := store.Scan(context.Background(), papyra.ScanOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range report.Anomalies {
		fmt.Printf("%s at byte %d: %s\n", a.Class, a.Offset, a.Detail)
	}
	// Output: truncated at byte 0: ends within a string, at byte 48
}
