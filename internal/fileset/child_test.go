package fileset_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/quarantine"
)

// A child's main goroutine stays on the main thread from the beginning, so that
// its system calls come in a fixed order, which strace counts for each thread.
func init() {
	if os.Getenv("PAPYRA_TEST_ACT") != "" {
		runtime.LockOSThread()
	}
}

// The bound of the sets that a child rotates.
const (
	childMaxBytes = 2500
	childMaxFiles = 3
)

// child does one act in a process of its own, which a test may kill.
func child(act string, args []string) int {
	ctx := context.Background()
	c := fileset.Config{Path: args[0]}
	act, numbered := strings.CutSuffix(act, "-set")
	if numbered {
		c.Numbered, c.MaxBytes, c.MaxFiles = true, childMaxBytes, childMaxFiles
	}
	s, err := fileset.Open(c)
	if err != nil {
		return childFailed(err)
	}
	switch act {
	case "hold":
		// Holds the store until its standard input ends.
		if _, err = s.Appender(ctx); err == nil {
			fmt.Println("held")
			var b [1]byte
			_, _ = os.Stdin.Read(b[:])
		}
	case "stream":
		err = childStream(ctx, s, false)
	case "append":
		err = childStream(ctx, s, true)
	case "recover":
		_, err = s.Recover(ctx, papyra.RecoverOptions{Now: testrecord.Start})
	case "compact":
		_, err = s.Compact(ctx, papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 3}}, At: testrecord.Start})
	case "restore":
		var acts []papyra.QuarantineAct
		if acts, err = s.QuarantineActs(ctx, ""); err == nil {
			_, err = quarantine.Restore(ctx, s, quarantine.Options{Act: acts[0].ID, Now: testrecord.Start})
		}
	case "dedupe":
		_, err = s.Compact(ctx, papyra.CompactOptions{Dedupe: true, At: testrecord.Start})
	default:
		err = fmt.Errorf("no act %q", act)
	}
	if err != nil {
		return childFailed(err)
	}
	if err := s.Close(); err != nil {
		return childFailed(err)
	}
	return 0
}

func childFailed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 9
}

// childStream appends events of run 77: three batches, or without end.
func childStream(ctx context.Context, s *fileset.Store, few bool) error {
	a, err := s.Appender(ctx)
	if err != nil {
		return err
	}
	src := testrecord.New(77)
	for i := 0; !few || i < 3; i++ {
		if n, err := a.Append(ctx, testrecord.Batch(src.Events(7)...)); err != nil {
			return fmt.Errorf("stored %d: %w", n, err)
		}
		if err := a.Sync(ctx); err != nil {
			return err
		}
		fmt.Println((i + 1) * 7)
	}
	return a.Close()
}
