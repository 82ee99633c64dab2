package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
)

// The bench starts this executable again for its other processes, in one of these
// roles. They read and write lines on standard input and output. They end when
// their input ends, also when the bench is killed.
const (
	roleVariable   = "PAPYRA_BENCH_ROLE"
	roleServer     = "server"     // args: a port or 0, and "login" if it requires one; prints its URL, and for each line that it reads its numbers
	roleMeter      = "meter"      // args: a program and its arguments; prints what it used, and what it printed
	roleMeterQuiet = "meterquiet" // the same; what it prints goes to /dev/null
	roleSubscriber = "subscriber" // args: the URL; prints a line when it is ready; then it reads a number, and prints a line when it has received so many messages
	roleDrain      = "drain"      // args: the URL; prints a line when it is ready, throws everything away, reconnects for ever
	roleRecorder   = "recorder"   // args: a recording; see runRecorder
	roleBurner     = "burner"     // args: the number of loops
	roleThrottle   = "throttle"   // args: an address, bytes a second; prints its own address
)

// playRole runs the process of a role.
func playRole(role string, args []string) error {
	switch role {
	case roleServer:
		return runServer(args)
	case roleSubscriber:
		return runSubscriber(args[0])
	case roleDrain:
		return runDrain(args[0])
	case roleRecorder:
		return runRecorder(args[0])
	case roleBurner:
		return runBurner(args[0])
	case roleThrottle:
		return runThrottle(args[0], args[1])
	case roleMeter, roleMeterQuiet:
		return runMetered(args, role == roleMeterQuiet)
	}
	return fmt.Errorf("unknown role %q", role)
}

// runServer runs a NATS server with the defaults, as papyra-sink embeds it.
func runServer(args []string) error {
	o := &natsserver.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true}
	if len(args) > 0 && args[0] != "0" {
		port, err := strconv.Atoi(args[0])
		if err != nil {
			return fmt.Errorf("read the port: %w", err)
		}
		o.Port = port
	}
	if len(args) > 1 {
		o.Users = []*natsserver.User{{Username: "pub", Password: pubPassword}, {Username: "sink", Password: sinkPassword}}
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		return fmt.Errorf("make NATS server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("NATS server is not ready")
	}
	fmt.Println(s.ClientURL())
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		v, err := s.Varz(nil)
		if err != nil {
			return fmt.Errorf("ask NATS server: %w", err)
		}
		n := serverNumbers{v.InMsgs, v.InBytes, v.OutMsgs, v.OutBytes, v.SlowConsumers, v.TotalConnections}
		if err := json.NewEncoder(os.Stdout).Encode(n); err != nil {
			return err
		}
	}
	s.Shutdown()
	return nil
}

// The passwords of a server that requires a login.
const pubPassword, sinkPassword = "pub-password", "sink-password"

// serverNumbers are counts of a NATS server, of all clients together.
type serverNumbers struct {
	InMsgs, InBytes, OutMsgs, OutBytes, SlowConsumers int64
	Connections                                       uint64
}

// runSubscriber takes messages in a queue group as a sink does, and throws them
// away.
func runSubscriber(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	received := make(chan struct{}, 1<<16)
	sub, err := nc.QueueSubscribe(papyra.SubjectAllRecords, papyra.QueueGroup("floor"), func(*nats.Msg) { received <- struct{}{} })
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("lift pending limits: %w", err)
	}
	if err := nc.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	fmt.Println("ready")
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		n, err := strconv.Atoi(input.Text())
		if err != nil {
			return fmt.Errorf("read expected number: %w", err)
		}
		for range n {
			<-received
		}
		fmt.Println("done")
	}
	return input.Err()
}

// runDrain takes messages in a queue group and throws them away. It reconnects
// when the server comes back.
func runDrain(url string) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.PingInterval(time.Second))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	sub, err := nc.QueueSubscribe(papyra.SubjectAllRecords, papyra.QueueGroup("floor"), func(*nats.Msg) {})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("lift pending limits: %w", err)
	}
	if err := nc.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// runBurner keeps so many cores busy.
func runBurner(loops string) error {
	n, err := strconv.Atoi(loops)
	if err != nil {
		return fmt.Errorf("read how many loops: %w", err)
	}
	for range n {
		go func() {
			for { //nolint:staticcheck // it is there to use the processor
			}
		}()
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// runThrottle passes connections on to an address and lets so many bytes a second
// through to it. What comes back is not slowed down.
func runThrottle(target, bytesPerSecond string) error {
	rate, err := strconv.Atoi(bytesPerSecond)
	if err != nil {
		return fmt.Errorf("read the rate: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		down, err := l.Accept()
		if err != nil {
			return err
		}
		// What the kernel buffers is not throttled, so keep that little.
		_ = down.(*net.TCPConn).SetReadBuffer(16 << 10)
		up, err := net.Dial("tcp", target)
		if err != nil {
			_ = down.Close()
			continue
		}
		go func() {
			defer up.Close()
			defer down.Close()
			_, _ = io.Copy(down, up)
		}()
		go func() {
			defer up.Close()
			defer down.Close()
			for buf := make([]byte, rate/20); ; {
				n, err := down.Read(buf)
				if _, failed := up.Write(buf[:n]); err != nil || failed != nil {
					return
				}
				time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
			}
		}()
	}
}

// runMetered runs a program and prints what it used.
func runMetered(args []string, quiet bool) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	var printed bytes.Buffer
	if cmd.Stdout = &printed; quiet {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("open null device: %w", err)
		}
		defer null.Close()
		cmd.Stdout = null
	}
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	u := usage{Took: time.Since(began), Output: printed.Bytes()}
	u.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.PeakKiB = r.Maxrss // in KiB on Linux
	}
	return json.NewEncoder(os.Stdout).Encode(u)
}

// child is another process of the bench.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// spawn starts this executable in a role.
func spawn(ctx context.Context, role string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own executable: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	// A child that is stopped would not see the end of its input.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c := &child{cmd: cmd}
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	c.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return c, nil
}

// tell sends the child a line.
func (c *child) tell(line string) error {
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return fmt.Errorf("tell %s: %w", c.cmd.Path, err)
	}
	return nil
}

// hear waits for a line of the child.
func (c *child) hear() (string, error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("hear from %s: %w", c.cmd.Path, err)
	}
	return strings.TrimSpace(line), nil
}

// pause stops the child with SIGSTOP.
func (c *child) pause() error {
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop %s: %w", c.cmd.Path, err)
	}
	return nil
}

// kill ends the child as a crash would and waits until it has ended. It is safe to
// call twice.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

// endProcess closes the child's input and waits until it has ended.
func (c *child) endProcess() {
	c.in.Close()
	_ = c.cmd.Wait()
}
