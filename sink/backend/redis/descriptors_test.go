package redis_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// Without a free descriptor appends and acts go on over the connections that
// there are. Once these are gone an append fails, says why, and stores nothing;
// with descriptors again the same lines are stored, once.
func TestNoFileDescriptors(t *testing.T) { // not parallel: the limit is the process's
	s := redistest.Start(t)
	c := s.Client(t)
	store := open(t, "redis://"+s.Addr()+"?timeout=2s")
	a := appender(t, store)
	ctx := context.Background()
	src := testrecord.New(1)
	var want []string
	push := func() error {
		t.Helper()
		lines := src.Events(5)
		for _, l := range lines {
			want = append(want, string(l))
		}
		b := testrecord.Batch(lines...)
		n, err := a.Append(ctx, b)
		if err != nil && n != 0 {
			t.Errorf("stored %d lines beside the error %v", n, err)
		}
		return err
	}
	if err := push(); err != nil {
		t.Fatal(err)
	}
	plant(t, c, events, "data", "junk")
	if _, err := store.Scan(ctx, papyra.ScanOptions{}); err != nil { // its connection stays
		t.Fatal(err)
	}

	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(0)
	defer limit(old.Cur)
	if err := push(); err != nil {
		t.Errorf("append over a connection that there is: %v", err)
	}
	if r, err := store.Recover(ctx, papyra.RecoverOptions{}); err != nil || r.Moved != 1 || !r.After.Clean() {
		t.Errorf("recover over a connection that there is: %+v, %v", r, err)
	}
	if err := c.Do(ctx, "CLIENT", "KILL", "TYPE", "normal").Err(); err != nil { // not the one that asks
		t.Fatal(err)
	}
	err := push()
	if !errors.Is(err, papyra.ErrUnavailable) || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("append without a connection: %v, want %v and papyra.ErrUnavailable", err, syscall.EMFILE)
	}
	if _, err := store.Recover(ctx, papyra.RecoverOptions{}); err == nil {
		t.Error("a recovery without a connection says that it worked")
	}
	limit(old.Cur)

	b := testrecord.Batch()
	for _, line := range want[len(want)-5:] {
		b.Append(b.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent}), []byte(line))
	}
	testkit.Await(t, "the append", func() bool {
		n, err := a.Append(ctx, b)
		b.DropStored(n, err)
		return err == nil
	})
	if diff := cmp.Diff(want, stored(t, c, events)); diff != "" {
		t.Errorf("(-appended +stored):\n%s", diff)
	}
}
