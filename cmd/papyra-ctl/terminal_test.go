package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// cmdTerminal runs a command with stdout and stderr on a terminal of its own:
// terminal COLUMNS CODE command [argument…]. What the terminal got is stdout
// for the commands that follow.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: terminal COLUMNS CODE command [argument…]")
	}
	columns, err := strconv.ParseUint(args[0], 10, 16)
	ts.Check(err)
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	master, slave, err := openTerminal(uint16(columns))
	ts.Check(err)
	defer master.Close()

	cmd := exec.Command(args[2], args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stdout, cmd.Stderr = slave, slave
	for _, name := range []string{"PATH", "HOME", "TERM", "NO_COLOR", "PAPYRA_BACKEND"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	ts.Check(cmd.Start())
	slave.Close()
	shown := make(chan []byte)
	go func() {
		var b bytes.Buffer
		// The read ends with EIO when the last holder of the terminal is gone.
		_, _ = io.Copy(&b, master)
		shown <- b.Bytes()
	}()
	err = cmd.Wait()
	output := bytes.ReplaceAll(<-shown, []byte("\r\n"), []byte("\n"))
	_, werr := ts.Stdout().Write(output)
	ts.Check(werr)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("run %s: %v", args[2], err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code of %q: got %d, want %d\n%s", args[2:], got, want, output)
	}
}

// openTerminal opens a new pseudo-terminal of a given width.
func openTerminal(columns uint16) (master, slave *os.File, err error) {
	fd, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	fail := func(err error) (*os.File, *os.File, error) {
		master.Close()
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fail(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return fail(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		return fail(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return fail(err)
	}
	return master, slave, nil
}
