package fileset_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// nobody is the user and group that owns nothing.
const nobody = 65534

// asNobody calls f on a thread that has the rights of nobody. What f starts in
// other goroutines keeps those of root.
func asNobody(t testing.TB, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: becomes another user")
	}
	runtime.LockOSThread()
	become := func(call, id uintptr) {
		if _, _, errno := unix.RawSyscall(call, id, id, 0); errno != 0 {
			panic(errno) // on this thread nothing more may run
		}
	}
	become(unix.SYS_SETRESGID, nobody)
	become(unix.SYS_SETRESUID, nobody)
	defer func() {
		become(unix.SYS_SETRESUID, 0)
		become(unix.SYS_SETRESGID, 0)
		runtime.UnlockOSThread()
	}()
	f()
}

// openDirectory returns a directory that everybody can list.
func openDirectory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		must(t, os.Chmod(d, 0o755))
	}
	return dir
}

// Beside a writer whose lock cannot be looked at, an unfinished line and a file of
// an act are perhaps in progress, and never damage.
func TestWhoMayNotLookAtTheLock(t *testing.T) {
	for name, forbid := range map[string]func(*fixture) func(func()){
		"no rights on it": func(f *fixture) func(func()) { return func(run func()) { asNobody(f.t, run) } },
		"its disk fails": func(f *fixture) func(func()) {
			f.disk.Fail(faultdisk.Fault{Op: faultdisk.Open, Path: "*.lock", Err: unix.EIO})
			return func(run func()) { run() }
		},
		"a symlink": func(f *fixture) func(func()) {
			lock := filepath.Join(filepath.Dir(f.path), ".records.ndjson.lock")
			must(t, os.Remove(lock))
			must(t, os.Symlink("elsewhere", lock))
			return func(run func()) { run() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := openFixture(t, filepath.Join(openDirectory(t), "records.ndjson"), fileset.SyncInterval)
			f.store(testrecord.New(1).Events(3)...)
			must(t, os.Chmod(f.path, 0o644))
			file, err := os.OpenFile(f.path, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = file.WriteString(`{"kind":"event","sys`)
			must(t, err)
			must(t, file.Close())
			must(t, os.WriteFile(filepath.Join(filepath.Dir(f.path), ".records.ndjson.tmp-0123456789abcdef"), []byte("x"), 0o600))

			forbid(f)(func() {
				r := f.scan(papyra.ScanOptions{})
				if !r.Clean() || r.NoticeCounts[papyra.NoticeInProgress] != 2 || r.Records != 3 {
					t.Errorf("scan: got %d records, damage %v, notices %v", r.Records, r.AnomalyCounts, r.NoticeCounts)
				}
				for _, n := range r.Notices {
					if !strings.Contains(n.Detail, "perhaps a writer holds the store") {
						t.Errorf("notice %+v does not say that it is not known", n)
					}
				}
				damaged, err := f.Read(t.Context(), papyra.Query{Reverse: true}, func(*papyra.Record, papyra.Place) error { return nil })
				if err != nil || damaged != 0 {
					t.Errorf("read: got %d damaged lines, error %v", damaged, err)
				}
				check(t, f.Store, "lock", papyra.StatusWarn, "perhaps held: .*", "(run it as the user that owns the files|check the disk: .*|it is a symlink: remove it)")
			})
		})
	}
}

// A store whose lock file nobody has made yet is free.
func TestNobodyWritesWithoutALock(t *testing.T) {
	f := newFixture(t)
	f.write([]byte(`{"kind":"event","sys`))
	if r := f.scan(papyra.ScanOptions{}); r.Clean() {
		t.Errorf("got no damage, notices %v", r.NoticeCounts)
	}
}

// What this user may not see is never called free, none or whole.
func TestExamineWhatMayNotBeSeen(t *testing.T) {
	const owner = "run it as the user that owns the files"
	for mode, want := range map[os.FileMode]map[string][3]string{
		0o755: {
			"file":       {string(papyra.StatusFail), ".*: not readable for this user", "run it as the user that owns the file"},
			"directory":  {string(papyra.StatusWarn), ".*: this user cannot write to it", ".*"},
			"lock":       {string(papyra.StatusWarn), "perhaps held: .*permission denied", owner},
			"rejects":    {string(papyra.StatusOK), "none", ""},
			"quarantine": {string(papyra.StatusWarn), "perhaps something: .*permission denied", owner},
		},
		0o711: {
			"directory":  {string(papyra.StatusFail), ".*: this user cannot list it.*", owner},
			"lock":       {string(papyra.StatusWarn), "perhaps held: .*", owner},
			"quarantine": {string(papyra.StatusWarn), "perhaps something: .*", owner},
		},
		0o700: {
			"file":       {string(papyra.StatusFail), ".*permission denied", owner},
			"directory":  {string(papyra.StatusFail), ".*: this user cannot list it.*", owner},
			"lock":       {string(papyra.StatusWarn), "perhaps held: .*", owner},
			"rejects":    {string(papyra.StatusWarn), "perhaps some: .*permission denied", owner},
			"quarantine": {string(papyra.StatusWarn), "perhaps something: .*permission denied", owner},
		},
	} {
		t.Run(mode.String(), func(t *testing.T) {
			dir := openDirectory(t)
			f := openFixture(t, filepath.Join(dir, "records.ndjson"), fileset.SyncInterval)
			f.store(testrecord.New(1).Events(3)...)
			must(t, os.Mkdir(filepath.Join(dir, ".records.ndjson.saved"), 0o700))
			must(t, os.Chmod(dir, mode))
			defer func() { must(t, os.Chmod(dir, 0o700)) }()
			asNobody(t, func() {
				for name, w := range want {
					check(t, f.Store, name, papyra.CheckStatus(w[0]), w[1], w[2])
				}
			})
		})
	}
}
