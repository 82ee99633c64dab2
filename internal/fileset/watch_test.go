package fileset_test

import (
	"path/filepath"
	"runtime"
	"strings"

	"github.com/papyra/papyra/internal/faultdisk"
)

// opName is an operation of the disk.
type opName = faultdisk.Op

// beforeEach calls f before each operation of a disk.
func beforeEach(f func()) func(int, opName, string) {
	return func(int, opName, string) { f() }
}

// record appends "operation path" for each operation.
func record(ops *[]string) func(int, opName, string) {
	return func(_ int, op opName, path string) {
		*ops = append(*ops, string(op)+" "+filepath.Base(path))
	}
}

// relevant keeps writes, syncs and renames, and names what they are about.
func relevant(ops []string, dir string) (out []string) {
	for _, o := range ops {
		op, path, _ := strings.Cut(o, " ")
		switch {
		case op != "write" && op != "sync" && op != "rename":
			continue
		case strings.Contains(path, ".tmp-"):
			path = ".tmp"
		case path == dir:
			path = "dir"
		}
		out = append(out, op+" "+path)
	}
	return out
}

// watchTemporary returns the temporary names that are opened during work.
func watchTemporary(f *fixture, work func()) (names []string) {
	f.disk.Before(func(_ int, op opName, path string) {
		if op == faultdisk.Open && strings.Contains(path, ".tmp-") {
			names = append(names, filepath.Base(path))
		}
	})
	work()
	f.disk.Before(nil)
	return names
}

// allocated returns how many bytes work allocates in all, freed ones too.
func allocated(work func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}
