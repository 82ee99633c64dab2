// Package natstest starts real NATS servers for tests, on 127.0.0.1: in the
// test's own process, or in one of their own, so that they can be stopped and
// killed. Each ends with its test. Only tests import it.
package natstest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/papyra/papyra/internal/testkit"
)

// Embedded runs a server in this process with options, nil for none. Its port is
// a free one unless they name one.
func Embedded(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	if opts == nil {
		opts = &server.Options{}
	}
	opts.Host, opts.NoSigs, opts.NoLog = "127.0.0.1", true, true
	if opts.Port == 0 {
		opts.Port = -1
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatalf("make a NATS server: %v", err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(testkit.Patience) {
		t.Fatal("the NATS server is not ready")
	}
	return s
}

// confVariable makes a test's executable a server: the value is its
// configuration file.
const confVariable = "PAPYRA_TEST_NATS_SERVER"

// Main must be called first in TestMain of a package that calls [Start]. In a
// process that is to be the server it serves, until its input ends, and does not
// return; otherwise it does nothing.
func Main() {
	conf := os.Getenv(confVariable)
	if conf == "" {
		return
	}
	opts, err := server.ProcessConfigFile(conf)
	if err == nil {
		opts.NoLog = true
		var s *server.Server
		if s, err = server.NewServer(opts); err == nil {
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				os.Exit(0)
			}()
			if err = server.Run(s); err == nil {
				s.WaitForShutdown()
				os.Exit(0)
			}
		}
	}
	fmt.Fprintln(os.Stderr, "NATS server:", err)
	os.Exit(1)
}

// Server is a NATS server in a process of its own. Its methods are not safe for
// concurrent use, but for Addr and URL.
type Server struct {
	port  int
	conf  string
	cmd   *exec.Cmd
	in    io.Closer
	ended chan struct{} // closed when the process has ended
}

// Start starts a server on a free port with further lines of configuration. The
// package's TestMain must call [Main].
func Start(t testing.TB, config string) *Server {
	t.Helper()
	s := &Server{port: testkit.FreePort(t), conf: filepath.Join(t.TempDir(), "nats.conf")}
	t.Cleanup(s.Kill)
	if err := errors.Join(s.Configure(config), s.Start()); err != nil {
		t.Fatalf("start a NATS server: %v", err)
	}
	return s
}

// Addr returns 127.0.0.1 and the port, which stays the same.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL returns where to connect to without a login.
func (s *Server) URL() string { return "nats://" + s.Addr() }

// Configure writes another configuration for the next start or reload.
func (s *Server) Configure(config string) error {
	return os.WriteFile(s.conf, fmt.Appendf(nil, "listen: %q\n%s\n", s.Addr(), config), 0o600)
}

// Reload lets the server read another configuration.
func (s *Server) Reload(config string) error {
	if err := s.Configure(config); err != nil {
		return err
	}
	return s.Signal(syscall.SIGHUP)
}

// Signal sends a signal: SIGSTOP makes the server stand still, SIGCONT lets it go
// on.
func (s *Server) Signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// Start starts the process again, after Kill, and returns when it listens. The
// port was free when it was chosen: whoever took it since has to give it back.
func (s *Server) Start() error {
	for deadline := time.Now().Add(testkit.Patience); ; {
		if err := s.run(); err != nil {
			return err
		}
		if s.listens() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not listen on %s", s.Addr())
		}
	}
}

func (s *Server) run() error {
	s.cmd = exec.Command(os.Args[0])
	// The server's own races, as when it reloads, are not looked for here.
	s.cmd.Env = append(os.Environ(), confVariable+"="+s.conf, "GORACE=report_bugs=0")
	s.cmd.Stderr = os.Stderr
	// One that stands still does not see the end of its input.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.in, s.ended = in, ended
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(ended)
	}(s.cmd)
	return nil
}

// listens waits until the server takes connections, or until it has ended.
func (s *Server) listens() bool {
	for {
		if c, err := net.Dial("tcp", s.Addr()); err == nil {
			c.Close()
			return true
		}
		select {
		case <-s.ended:
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Kill ends the process as a crash would, and waits for its end. It may be called
// again.
func (s *Server) Kill() {
	if s.ended == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.in.Close()
}
