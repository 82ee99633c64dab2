package fileset_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testrecord"
)

// childCommand returns this test binary doing an act on a file.
func childCommand(act, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), "PAPYRA_TEST_ACT="+act)
	return cmd
}

// holder starts a process that holds the store until stop is called.
func holder(t *testing.T, path string) (pid int, stop func()) {
	t.Helper()
	cmd := childCommand("hold", path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	}
	t.Cleanup(stop)
	return cmd.Process.Pid, stop
}

// A second process is refused with the name of the first, and nothing changes.
func TestSecondProcessIsRefused(t *testing.T) {
	f := newFixture(t)
	lines := testrecord.New(1).Events(3)
	f.write(append(testrecord.Join(lines...), "junk\n"...))
	before := f.bytes()
	pid, stop := holder(t, f.path)
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"Appender": func() error { _, err := f.Appender(ctx); return err },
		"Recover":  func() error { _, err := f.Recover(ctx, papyra.RecoverOptions{}); return err },
		"Compact": func() error {
			_, err := f.Compact(ctx, papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 1}}, At: testrecord.Start})
			return err
		},
	} {
		err := call()
		if !errors.Is(err, papyra.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprintf("process %d on ", pid)) {
			t.Errorf("%s: got %v, want papyra.ErrBusy that names process %d", name, err, pid)
		}
	}
	// Readers and dry runs take no lock.
	if got := f.read(papyra.Query{}); len(got) != 3 {
		t.Errorf("read %d records, want 3", len(got))
	}
	if r := f.recover(papyra.RecoverOptions{DryRun: true}); r.Moved != 1 {
		t.Errorf("dry recover: %+v", r)
	}
	if !bytes.Equal(before, f.bytes()) {
		t.Error("the file was changed")
	}
	stop()
	f.store(testrecord.New(2).Event())
}

// A holder that was killed holds nothing.
func TestKilledHolderLetsGo(t *testing.T) {
	f := newFixture(t)
	cmd := childCommand("hold", f.path)
	in, err := cmd.StdinPipe()
	must(t, err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	f.store(testrecord.New(1).Event())
}

// An unfinished line and a temporary file beside a writer are in progress, and
// damage without one.
func TestInProgress(t *testing.T) {
	f := newFixture(t)
	f.store(testrecord.New(1).Event())
	_, stop := holder(t, f.path)
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer file.Close()
	_, err = file.WriteString(`{"kind":"event","sys`)
	must(t, err)
	temporary := filepath.Join(filepath.Dir(f.path), ".records.ndjson.tmp-0123456789abcdef")
	must(t, os.WriteFile(temporary, []byte("x"), 0o600))
	r := f.scan(papyra.ScanOptions{})
	if !r.Clean() || r.NoticeCounts[papyra.NoticeInProgress] != 2 || r.Records != 1 {
		t.Errorf("beside a writer: %+v", r)
	}
	if n, err := f.Read(context.Background(), papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil }); n != 0 || err != nil {
		t.Errorf("read beside a writer: %d damaged, error %v", n, err)
	}
	if r := f.recover(papyra.RecoverOptions{DryRun: true}); r.Moved != 0 {
		t.Errorf("dry recover beside a writer would move %d places", r.Moved)
	}
	stop()
	r = f.scan(papyra.ScanOptions{})
	if r.AnomalyCounts[papyra.ClassTruncated] != 1 || r.AnomalyCounts[papyra.ClassLeftover] != 1 {
		t.Errorf("without a writer: %+v", r)
	}
}

// The holder notices that the lock file was removed, takes a new one, and stops
// when somebody else has it.
func TestLockFileRemoved(t *testing.T) {
	f := newFixture(t)
	a := f.appender()
	src := testrecord.New(1)
	f.append(a, src.Event())
	lock := filepath.Join(filepath.Dir(f.path), ".records.ndjson.lock")
	must(t, os.Remove(lock))
	f.append(a, src.Event()) // within the second it may go on
	f.clock.Advance(time.Second)
	f.append(a, src.Event())
	if s := a.Stats(); s.LockRetaken != 1 {
		t.Errorf("stats %+v, want the lock retaken once", s)
	}
	other := openFixture(t, f.path, fileset.SyncInterval)
	if _, err := other.Appender(context.Background()); !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("after the lock was retaken: got %v, want papyra.ErrBusy", err)
	}
	must(t, os.Remove(lock))
	second := other.appender()
	f.clock.Advance(time.Second)
	if n, err := a.Append(context.Background(), testrecord.Batch(src.Event())); n != 0 || !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("somebody else holds the store: stored %d, error %v; want papyra.ErrBusy", n, err)
	}
	must(t, second.Close())
	// It wrote nothing: we may go on.
	f.append(a, src.Event())
}

// What nobody may be led to by a name.
func TestPlacesThatAreNoFiles(t *testing.T) {
	ctx := context.Background()
	calls := func(f *fixture) map[string]error {
		_, appender := f.Appender(ctx)
		_, recovery := f.Recover(ctx, papyra.RecoverOptions{})
		_, scan := f.Scan(ctx, papyra.ScanOptions{})
		_, read := f.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil })
		return map[string]error{"Appender": appender, "Recover": recovery, "Scan": scan, "Read": read}
	}
	t.Run("path is a symlink", func(t *testing.T) {
		f := newFixture(t)
		target := f.path + ".target"
		must(t, os.WriteFile(target, []byte("junk\n"), 0o600))
		must(t, os.Symlink(target, f.path))
		for name, err := range calls(f) {
			if !errors.Is(err, papyra.ErrConfig) {
				t.Errorf("%s: got %v, want papyra.ErrConfig", name, err)
			}
		}
		if data, _ := os.ReadFile(target); string(data) != "junk\n" {
			t.Errorf("the target was changed: %q", data)
		}
	})
	for name, mk := range map[string]func(path string) error{
		"FIFO":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run("path is a "+name, func(t *testing.T) {
			f := newFixture(t)
			must(t, mk(f.path))
			got := calls(f)
			if !errors.Is(got["Appender"], papyra.ErrConfig) || !errors.Is(got["Recover"], papyra.ErrConfig) {
				t.Errorf("Appender %v, Recover %v; want papyra.ErrConfig", got["Appender"], got["Recover"])
			}
			if !errors.Is(got["Read"], papyra.ErrIncomplete) {
				t.Errorf("Read: got %v, want papyra.ErrIncomplete", got["Read"])
			}
			r := f.scan(papyra.ScanOptions{})
			if r.AnomalyCounts[papyra.ClassUnexpectedFile] != 1 || !strings.Contains(r.Anomalies[0].Detail, name) {
				t.Errorf("scan: %+v, want one unexpected_file that is a %s", r.Anomalies, name)
			}
		})
	}
	t.Run("the lock is a symlink", func(t *testing.T) {
		f := newFixture(t)
		victim := f.path + ".victim"
		must(t, os.WriteFile(victim, []byte("precious"), 0o600))
		must(t, os.Symlink(victim, filepath.Join(filepath.Dir(f.path), ".records.ndjson.lock")))
		if _, err := f.Appender(ctx); !errors.Is(err, papyra.ErrConfig) {
			t.Errorf("got %v, want papyra.ErrConfig", err)
		}
		if data, _ := os.ReadFile(victim); string(data) != "precious" {
			t.Errorf("the victim was changed: %q", data)
		}
	})
	t.Run("path in something that is no directory", func(t *testing.T) {
		f := newFixture(t)
		f.write(nil)
		inner := openFixture(t, filepath.Join(f.path, "inner"), fileset.SyncInterval)
		if _, err := inner.Appender(ctx); err == nil {
			t.Error("opened")
		}
	})
}

// Everything is made 0600, directories 0700, whatever the umask.
func TestModesWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o777} {
		old := unix.Umask(umask)
		t.Cleanup(func() { unix.Umask(old) })
		top := filepath.Join(t.TempDir(), "a")
		f := openFixture(t, filepath.Join(top, "b", "records.ndjson"), fileset.SyncInterval)
		f.store(testrecord.New(1).Event())
		file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		_, err = io.WriteString(file, "junk\n")
		must(t, err)
		must(t, file.Close())
		f.recover(papyra.RecoverOptions{})
		n := 0
		must(t, filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			want := os.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm() != want {
				t.Errorf("umask %o: %s has mode %v, want %v", umask, path, info.Mode().Perm(), want)
			}
			n++
			return nil
		}))
		if n != 8 { // two directories, file, lock, quarantine, act, bytes, index
			t.Errorf("umask %o: %d things were made, want 8", umask, n)
		}
		unix.Umask(old)
	}
}
