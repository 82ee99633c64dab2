package redis_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/redis"
)

// What names a store shows no secret, and an error says what to do next.
func ExampleOpen() {
	store, err := redis.Open("redis://sink:secret@127.0.0.1:1/0?prefix=fleet&timeout=1s", redis.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	fmt.Println(store.URL())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = store.Scan(ctx, papyra.ScanOptions{})
	fmt.Println(errors.Is(err, papyra.ErrUnavailable), redis.CauseOf(err))
	// Output:
	// redis://127.0.0.1:1/0?prefix=fleet
	// true unreachable
}
