package cli

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory makes the garbage collector keep the process within the memory that it
// may have, if its control group limits that, as those of a container and of a unit do.
// Otherwise the process may have twice what it uses, and is killed for what
// it need not have. A limit given in GOMEMLIMIT counts instead.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := groupLimit(os.DirFS("/"))
	if limit < math.MaxInt64 {
		debug.SetMemoryLimit(max(limit/10*9, minMemory)) // what the collector cannot see needs some, too
	}
}

// minMemory is a limit below which the collector would only work and never win.
const minMemory = 32 << 20

// groupLimit returns the least limit of the control groups of this process, in bytes,
// and the largest number without one.
func groupLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return limit
	}
	for line := range strings.Lines(string(groups)) {
		// Version 2 has one line, 0::/path; version 1 one for each controller.
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		switch part[1] {
		case "":
		case "memory":
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// A group is limited by those above it, too. In a container the path may be one
		// of outside, of which only the top is to be seen.
		for dir := path.Join("/", part[2]); ; dir = path.Dir(dir) {
			if n, ok := readNumber(root, path.Join(base, dir, file)); ok {
				limit = min(limit, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit
}

// readNumber returns the number that a file begins with.
func readNumber(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	fields := strings.Fields(string(text))
	if err != nil || len(fields) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	return n, err == nil
}
