package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
)

// outage is a fault of a running sink's store. Its functions are called with the
// process that the store belongs to.
type outage struct {
	cause  papyra.Cause
	sync   bool // it is syncs that fail
	breaks func(p *process)
	mend   func(p *process)
}

// try breaks a store that works and mends it again, and wants everywhere what the
// operator needs: the cause in the metrics, the readiness and the log, and every
// record in the store at the end.
func (o outage) try(t *testing.T, dir, url string) {
	t.Helper()
	p := start(t, dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--backend", url)
	nc := dial(t, p.url())
	sent := 0
	push := func(n int) {
		for range n {
			sent++
			send(t, nc, event(sent))
		}
		flush(t, nc)
	}
	written := func() bool { return p.scrape().number("records_written_total") == float64(sent) }
	push(10)
	await(t, "the store works", written)

	o.breaks(p)
	name, label, words := "write_errors_total", []string{string(o.cause)}, "the store takes no records ("+string(o.cause)+"): "
	if o.sync {
		name, label, words = "sync_errors_total", nil, "the store cannot make records durable ("+string(o.cause)+"): "
	}
	var reason string
	await(t, "the sink is not ready because "+words, func() bool {
		push(10) // some faults show with the second failure, and a small file takes a few
		status, body := p.get("/readyz")
		if status == 503 {
			reason = body
		}
		return strings.HasPrefix(reason, "not ready: "+words)
	})
	s := p.scrape()
	if s.number(name, label...) < 1 || s.number("ready") != 0 {
		t.Errorf("papyra_%s%v is %v, ready %v", name, label, s.number(name, label...), s.number("ready"))
	}
	if status, _ := p.get("/livez"); status != 200 {
		t.Errorf("/livez: %d", status)
	}

	o.mend(p)
	await(t, "the sink is ready and has stored everything", func() bool {
		status, _ := p.get("/readyz")
		return status == 200 && written()
	})
	push(1)
	await(t, "the store takes more", written)
	_, page := p.get("/metrics")
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	message := "the store takes no records: keeping them and trying again"
	if o.sync {
		message = "the store cannot make records durable: trying again"
	}
	logged := false
	for _, l := range p.messages(message) {
		logged = logged || l["cause"] == string(o.cause)
	}
	ended := p.messages("ended")[0]
	causes, _ := ended["append_errors_by_cause"].(map[string]any)
	if counted, _ := causes[string(o.cause)].(float64); !logged || !o.sync && counted < 1 {
		t.Errorf("the cause is not in the log: %v, %v", p.messages(message), ended)
	}
	for where, text := range map[string]string{"/readyz": reason, "/metrics": page, "the log": p.text()} {
		if strings.Contains(text, canary) {
			t.Errorf("the password is in %s:\n%s", where, text)
		}
	}
}

// canary is a password that nothing may show.
const canary = "cAnArY-42"

// inject makes system calls of the process on one file fail until the returned
// function is called.
func inject(p *process, path, calls, errno string) (stop func()) {
	p.t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		p.t.Skip("needs strace")
	}
	cmd := exec.Command(strace, "-f", "-p", strconv.Itoa(p.cmd.Process.Pid), "-P", path, "-e", "trace="+calls, "-e", "inject="+calls+":error="+errno)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	attached, ended := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "attached") {
				select {
				case attached <- true:
				default:
				}
			}
		}
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets the process go
		<-ended
		_ = cmd.Wait()
	}
	select {
	case <-attached:
	case <-ended:
		_ = cmd.Wait()
		p.t.Skipf("strace cannot be attached to another process here: %v", cmd.ProcessState)
	case <-time.After(patience):
		stop()
		p.t.Fatal("strace does not attach")
	}
	p.t.Cleanup(stop)
	return stop
}

func TestRootFaultsOfFilesByCause(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts, and traces other processes")
	}
	for _, kind := range []string{"json", "rotating"} {
		t.Run(kind, func(t *testing.T) {
			for _, name := range []string{"disk full", "file size", "read-only", "directory gone", "quota", "disk fails", "sync fails"} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					path := filepath.Join(dir, "store", "r.ndjson")
					if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
						t.Fatal(err)
					}
					o := fileOutage(t, name, path)
					o.try(t, dir, kind+":"+path)
				})
			}
		})
	}
}

// fileOutage makes one of the faults ready for the file.
func fileOutage(t *testing.T, name, path string) outage {
	t.Helper()
	dir := filepath.Dir(path)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mount := func(flags uintptr, options string) {
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
			t.Skipf("needs to mount: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	var stop func()
	failing := func(cause papyra.Cause, calls string) outage {
		return outage{cause: cause,
			breaks: func(p *process) { stop = inject(p, path, calls, string(cause)) },
			mend:   func(*process) { stop() }}
	}
	switch name {
	case "disk full":
		mount(0, "size=256k")
		filler := filepath.Join(dir, "filler")
		return outage{cause: papyra.CauseENOSPC,
			breaks: func(*process) { must(os.WriteFile(filler, make([]byte, 200<<10), 0o600)) },
			mend:   func(*process) { must(os.Remove(filler)); mount(unix.MS_REMOUNT, "size=64m") }}
	case "file size":
		var old unix.Rlimit
		return outage{cause: papyra.CauseEFBIG,
			breaks: func(p *process) {
				must(unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 20_000, Max: unix.RLIM_INFINITY}, &old))
			},
			mend: func(p *process) { must(unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &old, nil)) }}
	case "read-only":
		// Another file system, read-only, comes to lie over the directory.
		return outage{cause: papyra.CauseEROFS,
			breaks: func(*process) { mount(unix.MS_RDONLY, "") },
			mend:   func(*process) { must(unix.Unmount(dir, 0)) }}
	case "directory gone":
		return outage{cause: papyra.CauseENOENT,
			breaks: func(*process) { must(os.Rename(dir, dir+"-moved")) },
			mend:   func(*process) { must(os.Rename(dir+"-moved", dir)) }}
	case "quota":
		return failing(papyra.CauseEDQUOT, "write")
	case "disk fails":
		return failing(papyra.CauseEIO, "write")
	case "sync fails":
		o := failing(papyra.CauseEIO, "fsync,fdatasync")
		o.sync = true
		return o
	}
	t.Fatalf("unknown fault %q", name)
	return outage{}
}

func TestFaultsOfRedisByCause(t *testing.T) {
	admin := "ACL SETUSER sink on >" + canary + " ~* &* +@all"
	for _, tt := range []struct {
		name        string
		cause       papyra.Cause
		fault, cure []string // a command each
	}{
		{"login revoked", papyra.CauseNOAUTH, []string{"ACL DELUSER sink"}, []string{admin}},
		{"command forbidden", papyra.CauseNOPERM, []string{"ACL SETUSER sink -xadd"}, []string{admin}},
		{"memory full", papyra.CauseOOM, []string{"CONFIG SET maxmemory 1"}, []string{"CONFIG SET maxmemory 0"}},
		{"replica", papyra.CauseREADONLY, []string{"REPLICAOF 127.0.0.1 1"}, []string{"REPLICAOF NO ONE"}},
		{"too few replicas", papyra.CauseNOREPLICAS, []string{"CONFIG SET min-replicas-to-write 1"}, []string{"CONFIG SET min-replicas-to-write 0"}},
		{"stands still", papyra.CauseTimeout, []string{"SIGSTOP"}, []string{"SIGCONT"}},
		{"gone", papyra.CauseUnreachable, []string{"SIGKILL"}, []string{"START", admin}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			order := func(commands []string) func(*process) {
				return func(*process) {
					for _, c := range commands {
						switch c {
						case "SIGSTOP":
							s.Pause()
						case "SIGCONT":
							s.Resume()
						case "SIGKILL":
							s.Kill()
						case "START":
							s.Restart(t)
						default:
							var words []any
							for w := range strings.FieldsSeq(c) {
								words = append(words, w)
							}
							s.Do(t, words...)
						}
					}
				}
			}
			order([]string{admin})(nil)
			o := outage{cause: tt.cause, breaks: order(tt.fault), mend: order(tt.cure)}
			o.try(t, t.TempDir(), "redis://sink:"+canary+"@"+s.Addr()+"?timeout=300ms")
		})
	}
}
