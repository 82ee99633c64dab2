package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// The generator starts this executable again for its other processes. They talk
// in lines on standard input and output, and end when their input does: also when
// the generator is killed.
const (
	roleVariable   = "PAPYRA_BENCH_ROLE"
	roleServer     = "server"     // prints its URL
	roleMeter      = "meter"      // args: a program and its own; prints what it used, and what it printed
	roleMeterQuiet = "meterquiet" // the same; what it prints goes to /dev/null
	roleSubscriber = "subscriber" // args: the URL; prints a line when ready, and one for each N it is given and has received
)

func play(role string, args []string) error {
	switch role {
	case roleServer:
		return serve()
	case roleSubscriber:
		return subscribe(args[0])
	case roleMeter, roleMeterQuiet:
		return runMetered(args, role == roleMeterQuiet)
	}
	return fmt.Errorf("unknown role %q", role)
}

// serve is a NATS server as papyra-sink embeds it: the defaults.
func serve() error {
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, NoLog: true})
	if err != nil {
		return fmt.Errorf("make NATS server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("NATS server is not ready")
	}
	fmt.Println(s.ClientURL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return nil
}

// subscribe takes messages in a queue group as a sink does, and throws them away.
func subscribe(url string) error {
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
	u := use{Took: time.Since(began), Output: printed.Bytes()}
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

// tell sends a line.
func (c *child) tell(line string) error {
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return fmt.Errorf("tell %s: %w", c.cmd.Path, err)
	}
	return nil
}

// hear waits for a line.
func (c *child) hear() (string, error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("hear from %s: %w", c.cmd.Path, err)
	}
	return strings.TrimSpace(line), nil
}

// end closes the child's input and waits until it is gone.
func (c *child) end() {
	c.in.Close()
	_ = c.cmd.Wait()
}
