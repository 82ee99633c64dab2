package redis_test

import (
	"context"
	"testing"

	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// A server that comes back without any data is noticed with the next append to a
// stream that it held, once.
func TestEmptiedServerIsNoticed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a := appender(t, open(t, "redis://"+s.Addr()))
	src := testrecord.New(1)
	push := func() {
		t.Helper()
		b := testrecord.Batch(src.Events(10)...)
		testkit.Await(t, "the append", func() bool {
			n, err := a.Append(context.Background(), b)
			b.DropStored(n, err)
			return err == nil
		})
	}
	push()
	push()
	if st := a.Stats(); st.RolledBack != 0 {
		t.Fatalf("%+v, want nothing noticed yet", st)
	}
	s.Do(t, "FLUSHALL")
	push()
	push()
	if st := a.Stats(); st.RolledBack != 1 {
		t.Errorf("%+v, want one rollback noticed", st)
	}
}
