package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
)

// sinkProcess is the papyra-sink process of the bench. There is one for all rounds,
// as in production, and the first round warms it up.
type sinkProcess struct {
	b      *bench
	path   string // of the sink's file
	cmd    *exec.Cmd
	log    bytes.Buffer // complete when ended is closed
	ended  chan struct{}
	result error
}

// startSink builds papyra-sink, starts it, and waits until it listens.
func startSink(b *bench) (*sinkProcess, error) {
	program, err := buildProgram(b.ctx, b.work, "papyra-sink")
	if err != nil {
		return nil, err
	}
	s := &sinkProcess{b: b, path: filepath.Join(b.work, "records.ndjson"), ended: make(chan struct{})}
	s.cmd = exec.CommandContext(b.ctx, program, "--server", b.line.url, "--backend", "json:"+s.path)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start papyra-sink: %w", err)
	}
	go func() {
		defer close(s.ended)
		s.result = s.cmd.Wait()
	}()
	// An empty message is no record. While nobody listens the server answers it; a
	// sink never does, so the sink is there when the request times out.
	subject := papyra.RecordsSubject(benchSystem, papyra.KindEvent)
	for deadline := time.Now().Add(longestWait); ; time.Sleep(10 * time.Millisecond) {
		if _, err := b.line.nc.Request(subject, nil, 100*time.Millisecond); errors.Is(err, nats.ErrTimeout) {
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("papyra-sink ended at once: %w\n%s", s.result, s.log.String())
		default:
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(errors.New("papyra-sink is not ready"), s.stop())
		}
	}
}

// stop ends the process with SIGTERM, and returns an error unless it exits with
// 0. It is safe to call twice.
func (s *sinkProcess) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
	if s.result != nil {
		return fmt.Errorf("papyra-sink: %w\n%s", s.result, s.log.String())
	}
	return nil
}

// logText returns, as an error, the log of a sink that has ended.
func (s *sinkProcess) logText() error { return fmt.Errorf("papyra-sink said:\n%s", s.log.String()) }

// fileSize returns the length of the sink's file.
func (s *sinkProcess) fileSize() int {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// awaitRest waits until the file has come to rest, and returns its length.
func (s *sinkProcess) awaitRest() (int, error) {
	last := -1
	for deadline := time.Now().Add(longestWait); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-s.ended:
			return 0, fmt.Errorf("papyra-sink ended: %w\n%s", s.result, s.log.String())
		default:
		}
		now := s.fileSize()
		if now > 0 && now == last {
			return now, nil
		}
		last = now
	}
	return 0, errors.New("the sink's file does not come to rest")
}

// verifyStore reads the store back. It returns an error unless the store holds
// every record of every measurement once.
func (b *bench) verifyStore() error {
	f, err := os.Open(b.sink.path)
	if err != nil {
		return fmt.Errorf("read the store back: %w", err)
	}
	defer f.Close()
	stored := map[string][]int{} // by run: how often each number
	var rec papyra.Record
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 1<<20), papyra.MaxLine)
	for lines.Scan() {
		if err := papyra.ParseInto(&rec, lines.Bytes()); err != nil {
			return fmt.Errorf("read the store back: %w: %.200s", err, lines.Bytes())
		}
		if rec.Kind != papyra.KindEvent || rec.Seq > uint64(max(b.single, b.batched)) {
			continue
		}
		n := stored[string(rec.Run)]
		if n == nil {
			n = make([]int, max(b.single, b.batched)+1)
			stored[string(rec.Run)] = n
		}
		n[rec.Seq]++
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the store back: %w", err)
	}
	// The plain client sends the same lines in every round, alone and in batches.
	// Each publisher has a run of its own.
	for seq := 1; seq < max(b.single, b.batched)+1; seq++ {
		want := 0
		if seq <= b.single {
			want += b.rounds
		}
		if seq <= b.batched {
			want += b.rounds
		}
		if got := stored[clientRun]; got == nil || got[seq] != want {
			return fmt.Errorf("the store has record %d of the plain client %d times instead of %d: %w", seq, countAt(got, seq), want, errIncomplete)
		}
	}
	return b.verifyRuns()
}

// countAt returns n[seq], or 0 of no list.
func countAt(n []int, seq int) int {
	if n == nil {
		return 0
	}
	return n[seq]
}
