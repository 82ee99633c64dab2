package spool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/spool"
)

// A store that is down: what is appended waits on the disk.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "papyra-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store := memory.New(nil).Open()
	down := true
	s, err := spool.Open(ctx, spool.Config{
		Dir: filepath.Join(dir, "spool"),
		Open: func(ctx context.Context) (papyra.Appender, error) {
			if down {
				return nil, errors.New("no route to host")
			}
			return store.Appender(ctx)
		},
		StoreID: func(context.Context) (string, error) { return "k3f9x2ab7q04mzt1", nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	b := &papyra.Batch{}
	orders := b.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent})
	b.Append(orders, []byte(`{"kind":"event","system_id":"orders","actor_address":"orders:1","event_type":"ActorStarted","payload":{},"timestamp":1700000000.0}`))
	stored, err := s.Append(ctx, b)
	fmt.Println(stored, err)
	fmt.Println(s.NotReady() != nil, s.Status().Records)
	fmt.Println(s.Close())
	// Output:
	// 1 <nil>
	// true 1
	// <nil>
}
