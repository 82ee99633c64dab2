// Package redistest starts real Redis servers for tests: single ones, replicas
// and clusters, on 127.0.0.1 and a socket of their own, in a temporary
// directory. Each is ended, by its process, with the test.
package redistest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra/internal/testkit"
)

// startWithin bounds how long a server may take to answer.
const startWithin = 20 * time.Second

// Server is a running redis-server.
type Server struct {
	Port   int
	Socket string
	Dir    string // holds its files

	args []string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  string
}

// Program returns the path of a Redis program. Without it the test is skipped,
// or fails where the environment says CI.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed: apt-get install redis-server", name)
	}
	t.Skipf("%s is not installed: to run this test, apt-get install redis-server", name)
	return ""
}

// Start starts a server with more options of its command line, such as
// "--appendonly", "yes". Unless they say otherwise nothing is persisted.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	return start(t, append([]string{
		"--save", "", "--appendonly", "no", "--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0",
	}, options...))
}

func start(t testing.TB, options []string) *Server {
	t.Helper()
	Program(t, "redis-server")
	dir, err := os.MkdirTemp("", "papyra-redis-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Dir: dir, Socket: filepath.Join(dir, "s"), args: options, log: filepath.Join(dir, "log")}
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	// The port is free when it is chosen, and may be taken when it is used.
	for try := 0; ; try++ {
		s.Port = freePort(t)
		err := s.start(startWithin)
		if err == nil {
			return s
		}
		if try == 5 {
			t.Fatalf("start redis-server: %v", err)
		}
	}
}

// freePort returns a port for which the one that a cluster's bus uses, 10,000
// above, exists.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if port <= 55000 {
			return port
		}
		// Ports are handed out from above; a lower one is as free.
		port -= 20000
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// start starts the process and waits until it answers; with 0 any answer will do.
func (s *Server) start(within time.Duration) error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// A configuration file among the options must come first.
	args := append(slices.Clone(s.args),
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.Port), "--unixsocket", s.Socket, "--dir", s.Dir,
		"--daemonize", "no", "--protected-mode", "no")
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(done)
	}(s.cmd)
	s.done = done
	return s.await(cmp.Or(within, startWithin), within == 0)
}

// await waits until the server answers.
func (s *Server) await(within time.Duration, loading bool) error {
	deadline := time.Now().Add(within)
	for {
		c, err := net.Dial("unix", s.Socket)
		if err == nil {
			_ = c.SetDeadline(deadline)
			buf := make([]byte, 64)
			if _, err = c.Write([]byte("PING\r\n")); err == nil {
				var n int
				if n, err = c.Read(buf); n > 0 && (loading || !strings.HasPrefix(string(buf[:n]), "-LOADING")) {
					return c.Close()
				}
			}
			_ = c.Close()
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(s.log)
			return fmt.Errorf("redis-server ended: %s", text)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("redis-server does not answer"), err)
		}
	}
}

// Log returns what the server has logged since its first start.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Addr returns 127.0.0.1 and the port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// Client returns a client that is closed with the test.
func (s *Server) Client(t testing.TB) *goredis.Client {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Network: "unix", Addr: s.Socket, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Do runs a command and returns its answer; an error ends the test.
func (s *Server) Do(t testing.TB, args ...any) any {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Network: "unix", Addr: s.Socket, Protocol: 2, DisableIdentity: true})
	defer func() { _ = c.Close() }()
	reply, err := c.Do(context.Background(), args...).Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// Kill ends the server as a crash would, and waits for its end.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

// Stop ends the server in good order.
func (s *Server) Stop() { s.signal(syscall.SIGTERM) }

func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	<-s.done
}

// Pause stops the process without ending it, and returns when its program does
// nothing any more; Resume lets it go on.
func (s *Server) Pause() {
	_ = s.cmd.Process.Signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(startWithin); s.runs() && time.Now().Before(deadline); {
		time.Sleep(50 * time.Microsecond)
	}
}

// runs reports whether the process is neither stopped nor in a system call at
// whose end it will be.
func (s *Server) runs() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	_, state, found := bytes.Cut(stat, []byte(") "))
	return err == nil && found && bytes.IndexByte([]byte("TDZX"), state[0]) < 0
}

// Resume is the end of Pause.
func (s *Server) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts the server again after Kill or Stop, at its old address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.restart(t, startWithin)
}

// RestartWith is [Server.Restart] with more options. It returns while the server
// may still be loading.
func (s *Server) RestartWith(t testing.TB, options ...string) {
	t.Helper()
	s.args = append(s.args, options...)
	s.restart(t, 0)
}

func (s *Server) restart(t testing.TB, within time.Duration) {
	t.Helper()
	if err := s.start(within); err != nil {
		t.Fatalf("start redis-server again: %v", err)
	}
}

// Replica starts a server that follows another, and waits until it has its data.
func Replica(t testing.TB, of *Server, options ...string) *Server {
	t.Helper()
	s := Start(t, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(of.Port)}, options...)...)
	s.AwaitLink(t)
	return s
}

// AwaitLink waits until a replica is connected to its master.
func (s *Server) AwaitLink(t testing.TB) {
	t.Helper()
	testkit.Await(t, "the replica", func() bool {
		return strings.Contains(fmt.Sprint(s.Do(t, "INFO", "replication")), "master_link_status:up")
	})
}

// Sentinel starts a sentinel that watches a master under a name and replaces it
// half a second after it went down.
func Sentinel(t testing.TB, master *Server, name string) *Server {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "sentinel.conf") // which it changes
	text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]d 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 2000\n", name, master.Port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, []string{config, "--sentinel"})
}

// Cluster starts servers that share all slots between them, each a master.
func Cluster(t testing.TB, n int) []*Server {
	t.Helper()
	servers := make([]*Server, n)
	for i := range servers {
		servers[i] = Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
	}
	const slots = 16384
	for i, s := range servers {
		s.Do(t, "CLUSTER", "ADDSLOTSRANGE", i*slots/n, (i+1)*slots/n-1)
		if i > 0 {
			s.Do(t, "CLUSTER", "MEET", "127.0.0.1", servers[0].Port)
		}
	}
	for _, s := range servers {
		testkit.Await(t, "the cluster", func() bool {
			info := fmt.Sprint(s.Do(t, "CLUSTER", "INFO"))
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n))
		})
	}
	return servers
}
