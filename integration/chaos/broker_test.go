package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// brokerVariable makes the test executable a NATS server, so that it can be
// stopped and killed like a real one: the value is its configuration file. It
// ends when its input does.
const brokerVariable = "PAPYRA_CHAOS_BROKER"

func playBroker(conf string) int {
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
				return 0
			}
		}
	}
	fmt.Fprintln(os.Stderr, "broker:", err)
	return 1
}

// The logins of the publishers, in force and revoked, and of the sinks.
const (
	logins  = `authorization: { users: [ {user: pub, password: pub}, {user: sink, password: sink} ] }`
	revoked = `authorization: { users: [ {user: pub, password: other}, {user: sink, password: sink} ] }`
)

// broker is a NATS server in its own process.
type broker struct {
	t             *testing.T
	port, monitor int
	conf          string
	killed        func()          // is told
	done          func(faultKind) // is told of each fault
	cmd           *exec.Cmd
	in            io.Closer
	ended         chan struct{}
	http          http.Client
}

func newBroker(t *testing.T) *broker {
	b := &broker{
		t: t, port: freePort(t), monitor: freePort(t), conf: filepath.Join(t.TempDir(), "nats.conf"),
		http: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience},
	}
	b.configure(logins)
	b.start()
	t.Cleanup(b.kill)
	return b
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (b *broker) addr() string { return "127.0.0.1:" + strconv.Itoa(b.port) }

// url is for the sinks.
func (b *broker) url() string { return "nats://sink:sink@" + b.addr() }

func (b *broker) configure(users string) {
	text := fmt.Sprintf("listen: %q\nhttp: \"127.0.0.1:%d\"\n%s\n", b.addr(), b.monitor, users)
	if err := os.WriteFile(b.conf, []byte(text), 0o600); err != nil {
		b.t.Error(err)
	}
}

// start runs the server and waits until it listens. The ports were free when
// they were chosen; whoever took one since gives it back or the test fails.
func (b *broker) start() {
	for deadline := time.Now().Add(patience); ; {
		b.cmd = exec.Command(os.Args[0])
		// The server's own races, as when it reloads, are not looked for here.
		b.cmd.Env = append(os.Environ(), brokerVariable+"="+b.conf, "GORACE=report_bugs=0")
		b.cmd.Stderr = os.Stderr
		// A stopped one does not see the end of its input.
		b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		in, err := b.cmd.StdinPipe()
		if err == nil {
			err = b.cmd.Start()
		}
		if err != nil {
			b.t.Errorf("start the broker: %v", err)
			return
		}
		ended := make(chan struct{})
		b.in, b.ended = in, ended
		go func(cmd *exec.Cmd) {
			_ = cmd.Wait()
			close(ended)
		}(b.cmd)
		for up := true; up; {
			if c, err := net.Dial("tcp", b.addr()); err == nil {
				c.Close()
				return
			}
			select {
			case <-ended:
				up = false
			case <-time.After(2 * time.Millisecond):
			}
		}
		if time.Now().After(deadline) {
			b.t.Error("the broker does not start")
			return
		}
	}
}

func (b *broker) signal(s syscall.Signal) {
	if err := b.cmd.Process.Signal(s); err != nil {
		b.t.Errorf("%v to the broker: %v", s, err)
	}
}

// kill ends the process at once.
func (b *broker) kill() {
	if b.ended == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	<-b.ended
	b.in.Close()
}

// harm does a fault, to its end.
func (b *broker) harm(f fault) {
	switch f.kind {
	case brokerStop:
		b.signal(syscall.SIGSTOP)
		time.Sleep(f.long)
		b.signal(syscall.SIGCONT)
	case brokerKill:
		b.kill()
		b.killed()
		time.Sleep(f.long)
		b.start()
	case brokerRevoke:
		b.configure(revoked)
		b.signal(syscall.SIGHUP)
		time.Sleep(f.long)
		b.configure(logins)
		b.signal(syscall.SIGHUP)
	}
	b.done(f.kind)
}

// subscriptions returns how many subscriptions each sink has, by the name of its
// connection, without the common beginning; nil when the broker does not answer.
func (b *broker) subscriptions() map[string]int {
	res, err := b.http.Get(fmt.Sprintf("http://127.0.0.1:%d/connz?limit=10000", b.monitor))
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var list struct {
		Connections []struct {
			Name          string `json:"name"`
			Subscriptions int    `json:"subscriptions"`
		} `json:"connections"`
	}
	if json.NewDecoder(res.Body).Decode(&list) != nil {
		return nil
	}
	subs := map[string]int{}
	for _, c := range list.Connections {
		if name, ok := strings.CutPrefix(c.Name, "papyra-sink "); ok {
			subs[name] += c.Subscriptions
		}
	}
	return subs
}
