package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

type config struct {
	rounds  int
	single  int
	batched int
	dir     string
}

// bench is what all measurements share.
type bench struct {
	config
	ctx    context.Context
	work   string // a directory of the bench's own, removed at the end
	sink   string // the papyra-sink executable
	url    string // of the NATS server
	nc     *nats.Conn
	single *load
	batch  *load
}

// sample is what one measurement found.
type sample struct {
	records int
	bytes   int
	took    time.Duration
}

// measurement is one row of the table.
type measurement struct {
	name  string
	floor int // the row it is compared with; its own index for a floor
	do    func(*bench) (sample, error)
}

// measurements are the rows of the table, in the order of a round.
func measurements() []measurement {
	return []measurement{
		0: {"one record a message, thrown away by a subscriber", 0, func(b *bench) (sample, error) { return b.discard(b.single, b.single.single) }},
		1: {"one record a message → papyra-sink → file", 0, func(b *bench) (sample, error) { return b.store(b.single, b.single.single) }},
		2: {"16 KiB messages, thrown away by a subscriber", 2, func(b *bench) (sample, error) { return b.discard(b.batch, b.batch.batch) }},
		3: {"16 KiB messages → papyra-sink → file", 2, func(b *bench) (sample, error) { return b.store(b.batch, b.batch.batch) }},
		4: {"publisher → papyra-sink → file", 2, (*bench).publisher},
		5: {"the same bytes appended to a file", 5, (*bench).appendFile},
	}
}

// measure runs the rounds and prints the table.
func measure(ctx context.Context, c config) (err error) {
	b := &bench{config: c, ctx: ctx}
	if b.work, err = os.MkdirTemp(c.dir, "papyra-bench-"); err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer os.RemoveAll(b.work)
	b.sink = filepath.Join(b.work, "papyra-sink")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.sink, "github.com/papyra/papyra/cmd/papyra-sink").CombinedOutput(); err != nil {
		return fmt.Errorf("build papyra-sink: %w\n%s", err, out)
	}
	if b.single, err = newLoad(c.single); err != nil {
		return fmt.Errorf("make records: %w", err)
	}
	if b.batch, err = newLoad(c.batched); err != nil {
		return fmt.Errorf("make records: %w", err)
	}
	server, err := spawn(ctx, roleServer)
	if err != nil {
		return err
	}
	defer server.end()
	if b.url, err = server.hear(); err != nil {
		return err
	}
	if b.nc, err = nats.Connect(b.url); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer b.nc.Close()

	printMachine(os.Stdout, c)
	rows := measurements()
	samples := make([][]sample, len(rows))
	for round := range c.rounds {
		for i, row := range rows {
			progress("round %d of %d: %s", round+1, c.rounds, row.name)
			s, err := row.do(b)
			if err != nil {
				progress("")
				return fmt.Errorf("measure %q: %w", row.name, err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	progress("")
	printTable(os.Stdout, rows, samples)
	return nil
}

// send publishes messages with a plain client and returns when the server has
// them.
func (b *bench) send(messages [][]byte) error {
	subject := papyra.RecordsSubject(benchSystem, papyra.KindEvent)
	for _, m := range messages {
		if err := b.nc.Publish(subject, m); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	if err := b.nc.FlushTimeout(hang); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// hang bounds every wait: something is broken when it is over.
const hang = time.Minute

// discard measures the floor: messages to a subscriber that throws them away.
func (b *bench) discard(l *load, messages [][]byte) (sample, error) {
	sub, err := spawn(b.ctx, roleSubscriber, b.url)
	if err != nil {
		return sample{}, err
	}
	defer sub.end()
	if _, err := sub.hear(); err != nil {
		return sample{}, err
	}
	if err := sub.tell(strconv.Itoa(len(messages))); err != nil {
		return sample{}, err
	}
	began := time.Now()
	if err := b.send(messages); err != nil {
		return sample{}, err
	}
	if _, err := sub.hear(); err != nil {
		return sample{}, err
	}
	return sample{len(l.single), len(l.lines), time.Since(began)}, nil
}

// store measures messages of a plain client through a sink into a file.
func (b *bench) store(l *load, messages [][]byte) (sample, error) {
	return b.pipeline(len(l.single), len(l.lines), func() error { return b.send(messages) })
}

// publisher measures the whole line.
func (b *bench) publisher() (sample, error) {
	var p *publisher.Publisher
	s, err := b.pipeline(b.batched, len(b.batch.lines), func() (err error) {
		if p, err = publisher.Connect(b.url, publisher.Config{System: benchSystem, Node: benchNode, Now: clock}); err != nil {
			return err
		}
		publish(p, b.batched)
		return nil
	})
	if p != nil {
		if dropped := p.Stats().Events.Dropped(); err == nil && dropped > 0 {
			err = fmt.Errorf("the publisher dropped %d records", dropped)
		}
		ctx, cancel := context.WithTimeout(b.ctx, 100*time.Millisecond)
		defer cancel()
		_ = p.Close(ctx) // nobody listens any more: its last report is left behind
	}
	return s, err
}

// appendFile measures the other floor: the bytes of the batches, appended to a
// file in writes of a megabyte, not synced.
func (b *bench) appendFile() (sample, error) {
	path := filepath.Join(b.work, "floor")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return sample{}, fmt.Errorf("open file: %w", err)
	}
	defer os.Remove(path)
	defer f.Close()
	began := time.Now()
	for rest := b.batch.lines; len(rest) > 0; {
		n := min(len(rest), 1<<20)
		if _, err := f.Write(rest[:n]); err != nil {
			return sample{}, fmt.Errorf("append: %w", err)
		}
		rest = rest[n:]
	}
	return sample{b.batched, len(b.batch.lines), time.Since(began)}, nil
}

// pipeline starts a sink with a file of its own, sends, and measures until the
// file has grown by size bytes. Then it stops the sink and counts the records.
func (b *bench) pipeline(records, size int, send func() error) (s sample, err error) {
	dir, err := os.MkdirTemp(b.work, "store-")
	if err != nil {
		return s, fmt.Errorf("make store directory: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "records.ndjson")
	var log bytes.Buffer
	cmd := exec.CommandContext(b.ctx, b.sink, "--server", b.url, "--backend", "json:"+path)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return s, fmt.Errorf("start papyra-sink: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	stop := func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-exited; err != nil {
			return fmt.Errorf("papyra-sink: %w\n%s", err, log.String())
		}
		return nil
	}
	if err := b.await(exited, path); err != nil {
		_ = stop()
		return s, err
	}

	base := fileSize(path)
	began := time.Now()
	if err := send(); err != nil {
		_ = stop()
		return s, err
	}
	for deadline := began.Add(hang); fileSize(path) < base+size; {
		if time.Now().After(deadline) || b.ctx.Err() != nil {
			_ = stop()
			return s, fmt.Errorf("the file has %d of %d bytes after a minute: %w\n%s", fileSize(path)-base, size, errIncomplete, log.String())
		}
		time.Sleep(500 * time.Microsecond)
	}
	s = sample{records, size, time.Since(began)}
	if err := stop(); err != nil {
		return s, err
	}
	return s, count(path, records)
}

var errIncomplete = errors.New("records are missing")

// await blocks until the sink listens and its file has come to rest with its
// first report.
func (b *bench) await(exited <-chan error, path string) error {
	subject := papyra.RecordsSubject(benchSystem, papyra.KindEvent)
	for deadline, ready, size := time.Now().Add(30*time.Second), 0, 0; ready < 3; {
		if time.Now().After(deadline) {
			return errors.New("papyra-sink is not ready after 30 s")
		}
		select {
		case err := <-exited:
			return fmt.Errorf("papyra-sink ended before it was ready: %w", err)
		default:
		}
		// An empty message is no record; the server answers it when nobody
		// listens, and a sink never does.
		_, err := b.nc.Request(subject, nil, 50*time.Millisecond)
		switch now := fileSize(path); {
		case !errors.Is(err, nats.ErrTimeout):
			ready = 0
			time.Sleep(10 * time.Millisecond)
		case now == 0 || now != size:
			ready, size = 0, now
		default:
			ready++
		}
	}
	return nil
}

func fileSize(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// count reads a store back and returns an error unless it holds every number
// from 1 to n once.
func count(path string, n int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the store back: %w", err)
	}
	seen := make([]bool, n+1)
	stored, twice := 0, 0
	var rec papyra.Record
	for line := range bytes.Lines(data) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if err := papyra.ParseInto(&rec, line); err != nil {
			return fmt.Errorf("read the store back: %w: %.200s", err, line)
		}
		if rec.Kind != papyra.KindEvent || string(rec.System) != benchSystem || rec.Seq < 1 || rec.Seq > uint64(n) {
			continue
		}
		if seen[rec.Seq] {
			twice++
			continue
		}
		seen[rec.Seq] = true
		stored++
	}
	if stored != n || twice > 0 {
		return fmt.Errorf("the store holds %d of %d records, and %d twice: %w", stored, n, twice, errIncomplete)
	}
	return nil
}
