package memory_test

import (
	"context"
	"fmt"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/memory"
)

func ExampleMemory() {
	m := memory.New(nil)
	m.Plant([]byte("no record"))
	store := m.Open()
	defer store.Close()
	report, err := store.Recover(context.Background(), papyra.RecoverOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Moved, "moved, clean:", report.After.Clean())
	for _, q := range m.Quarantined() {
		fmt.Printf("%s: %s\n", q.Class, q.Bytes)
	}
	// Output:
	// 1 moved, clean: true
	// corrupted: no record
}
