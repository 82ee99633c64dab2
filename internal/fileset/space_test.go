package fileset

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestSpaceIsCountedInFragments(t *testing.T) {
	for name, c := range map[string]struct {
		st         unix.Statfs_t
		free, size int64
	}{
		"the same sizes":      {unix.Statfs_t{Bsize: 4096, Frsize: 4096, Bavail: 10, Bfree: 20, Blocks: 100}, 40960, 409600},
		"NFS, 1 MiB at once":  {unix.Statfs_t{Bsize: 1 << 20, Frsize: 4096, Bavail: 10, Blocks: 100}, 40960, 409600},
		"UFS, smaller pieces": {unix.Statfs_t{Bsize: 8192, Frsize: 1024, Bavail: 10, Blocks: 100}, 10240, 102400},
		"no fragments":        {unix.Statfs_t{Bsize: 4096, Bavail: 10, Blocks: 100}, 40960, 409600},
	} {
		if free, size := spaceOf(&c.st); free != c.free || size != c.size {
			t.Errorf("%s: got %d free of %d, want %d of %d", name, free, size, c.free, c.size)
		}
	}
}
