package admin

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend"
)

// fixedPlace is where a test's socket lies.
type fixedPlace string

func (p fixedPlace) Socket() string     { return string(p) }
func (p fixedPlace) Owns(uid int) bool  { return uid == os.Geteuid() }
func (p fixedPlace) GiveOwnerAt(string) {}

// A socket is private before it can be found, whatever the umask is.
func TestSocketIsPrivateFromTheStart(t *testing.T) {
	dir := testkit.FastDir(t)
	for name, mask := range map[string]int{"open": 0, "usual": 0o022} {
		path := filepath.Join(dir, name)
		before := syscall.Umask(mask)
		l, err := listenPrivate(path)
		syscall.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("umask %03o: %v, %v; want mode 0600", mask, info.Mode(), err)
		}
		l.Close()
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("it is left: %v", err)
		}
	}
}

// A symlink in the socket's place is neither followed nor removed, wherever it leads.
func TestSymlinkInTheSocketsPlace(t *testing.T) {
	dir := testkit.FastDir(t)
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	l, err := net.Listen("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, target := range []string{precious, other, filepath.Join(dir, "nothing")} {
		link := filepath.Join(dir, ".store.sock")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if l, _, err := listenBeside(fixedPlace(link)); err == nil {
			l.Close()
			t.Errorf("a symlink to %s was taken for the place of a socket", target)
		}
		if got, err := os.Readlink(link); err != nil || got != target {
			t.Errorf("the symlink to %s is %q now, %v", target, got, err)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(precious); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file behind a symlink is %v, %v", info, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "nothing")); !os.IsNotExist(err) {
		t.Errorf("something was made behind a symlink: %v", err)
	}
}

// Connections that say nothing, or stop in the middle of a request, hold nobody up for
// longer than a while.
func TestSilentConnections(t *testing.T) {
	path := filepath.Join(testkit.FastDir(t), "records.ndjson")
	plantLine(t, path, testrecord.New(1).Event())
	store, err := backend.Open("json:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := NewServer(store, Config{NoSocket: true})
	defer serveAs(t, s, fakeWorker{store})()
	files, ok := store.(listener)
	if !ok {
		t.Fatal("the store has no place for a socket")
	}
	l, release, err := listenBeside(files)
	if err != nil {
		t.Fatal(err)
	}
	serving := &socketServer{Server: s, files: files, silentFor: 100 * time.Millisecond, open: map[net.Conn]bool{}}
	serving.done.Add(1)
	go serving.accept(l)
	defer func() {
		_ = l.Close()
		release()
		serving.closeAll()
		serving.done.Wait()
	}()
	half := append(binary.BigEndian.AppendUint32(nil, 100), `{"op":"start"`...)
	for i := range 3 * maxConnections {
		c, err := net.Dial("unix", files.Socket())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			_, _ = c.Write(half)
		}
		if i == 0 {
			_ = c.SetReadDeadline(time.Now().Add(testkit.Patience))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Fatalf("half a request: %v, want that the sink closes the connection", err)
			}
		}
	}
	testkit.Await(t, "an answer behind silent connections", func() bool { _, asked := through(t, path); return asked })
}
