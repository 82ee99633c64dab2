package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

// config is what the flags say.
type config struct {
	rounds   int
	single   int
	batched  int
	buffer   int // KiB that the publisher may buffer
	callTime time.Duration
	stopped  time.Duration
	scan     int // MiB
	store    int // MiB
	look     int // MiB
	dir      string
}

// bench is what the measurements of the pipeline share.
type bench struct {
	config
	ctx    context.Context
	work   string // a directory that is removed at the end
	sink   *sinkProcess
	line   *server        // the server that the sink is connected to
	floor  *server        // another one without a sink
	alone  *generatedLoad // sent as one record a message
	packed *generatedLoad // sent in batches
	runs   []publisherRun
}

// sample is what one measurement found.
type sample struct {
	records int // stored
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
		0: {"one record a message, thrown away by a subscriber", 0, func(b *bench) (sample, error) { return b.measureDiscard(b.alone, b.alone.single) }},
		1: {"one record a message → papyra-sink → file", 0, func(b *bench) (sample, error) { return b.measureStore(b.alone, b.alone.single) }},
		2: {"16 KiB messages, thrown away by a subscriber", 2, func(b *bench) (sample, error) { return b.measureDiscard(b.packed, b.packed.batch) }},
		3: {"16 KiB messages → papyra-sink → file", 2, func(b *bench) (sample, error) { return b.measureStore(b.packed, b.packed.batch) }},
		4: {"publisher → papyra-sink → file", 2, (*bench).measurePublisher},
		5: {"the same bytes appended to a file", 5, (*bench).measureAppend},
	}
}

// measurePipeline runs the rounds and prints the table.
func measurePipeline(ctx context.Context, c config, out io.Writer) (err error) {
	b := &bench{config: c, ctx: ctx}
	if b.work, err = os.MkdirTemp(c.dir, "papyra-bench-"); err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer os.RemoveAll(b.work)
	if b.alone, err = generateLoad(c.single); err != nil {
		return fmt.Errorf("make records: %w", err)
	}
	if b.packed, err = generateLoad(c.batched); err != nil {
		return fmt.Errorf("make records: %w", err)
	}
	if b.line, err = startServer(ctx); err != nil {
		return err
	}
	defer b.line.endServer()
	if b.floor, err = startServer(ctx); err != nil {
		return err
	}
	defer b.floor.endServer()
	if b.sink, err = startSink(b); err != nil {
		return err
	}
	defer b.sink.stop() //nolint:errcheck // after a failure the first error counts

	printPipeline(out, c)
	rows := measurements()
	samples := make([][]sample, len(rows))
	for round := range c.rounds {
		for i, row := range rows {
			showProgress("round %d of %d: %s", round+1, c.rounds, row.name)
			s, err := row.do(b)
			if err != nil {
				showProgress("")
				err = fmt.Errorf("measure %q: %w", row.name, err)
				return errors.Join(err, b.sink.stop(), b.sink.logText(), b.explainLoss())
			}
			samples[i] = append(samples[i], s)
		}
	}
	showProgress("reading the store back")
	err = errors.Join(b.sink.stop(), b.verifyStore())
	showProgress("")
	if err != nil {
		return errors.Join(err, b.sink.logText(), b.explainLoss())
	}
	printTable(out, rows, samples)
	b.printRuns(out)
	return nil
}

// server is a NATS server, and a plain client's connection to it.
type server struct {
	*child
	url string
	nc  *nats.Conn
}

func startServer(ctx context.Context) (*server, error) {
	c, err := spawn(ctx, roleServer)
	if err != nil {
		return nil, err
	}
	s := &server{child: c}
	if s.url, err = c.hear(); err != nil {
		c.endProcess()
		return nil, err
	}
	if s.nc, err = nats.Connect(s.url); err != nil {
		c.endProcess()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return s, nil
}

// endServer closes the connection and stops the server.
func (s *server) endServer() {
	s.nc.Close()
	s.child.endProcess()
}

// send publishes messages with a plain client and returns when the server has
// them. pace is called with the number of bytes sent so far.
func (s *server) send(messages [][]byte, pace func(sent int)) error {
	subject := papyra.RecordsSubject(benchSystem, papyra.KindEvent)
	sent := 0
	for _, m := range messages {
		if err := s.nc.Publish(subject, m); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		sent += len(m)
		pace(sent)
	}
	if err := s.nc.FlushTimeout(longestWait); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// longestWait bounds every wait. When it is over, something is broken.
const longestWait = time.Minute

// measureDiscard measures the floor: messages to a subscriber that throws them
// away.
func (b *bench) measureDiscard(l *generatedLoad, messages [][]byte) (sample, error) {
	sub, err := spawn(b.ctx, roleSubscriber, b.floor.url)
	if err != nil {
		return sample{}, err
	}
	defer sub.endProcess()
	if _, err := sub.hear(); err != nil {
		return sample{}, err
	}
	if err := sub.tell(strconv.Itoa(len(messages))); err != nil {
		return sample{}, err
	}
	began := time.Now()
	if err := b.floor.send(messages, func(int) {}); err != nil {
		return sample{}, err
	}
	if _, err := sub.hear(); err != nil {
		return sample{}, err
	}
	return sample{len(l.single), len(l.lines), time.Since(began)}, nil
}

// measureStore measures messages of a plain client through a sink into a file.
func (b *bench) measureStore(l *generatedLoad, messages [][]byte) (sample, error) {
	return b.measureFlow(flow{
		records: len(l.single), size: len(l.lines),
		send: func(pace func(int)) error { return b.line.send(messages, pace) },
	})
}

// publisherRun is what a publisher said of itself after Close.
type publisherRun struct {
	run    string
	events publisher.CategoryStats
	errors publisher.Errors
}

// measurePublisher measures the whole pipeline. It is no failure if the publisher
// drops records and counts them: they are in no rate, and verifyStore compares the
// counts with the store.
func (b *bench) measurePublisher() (sample, error) {
	p, err := publisher.Connect(b.line.url, publisher.Config{
		System: benchSystem, Node: benchNode, Now: momentClock,
		Buffers: publisher.Buffers{Events: b.buffer << 10},
	})
	if err != nil {
		return sample{}, err
	}
	for deadline := time.Now().Add(longestWait); !p.Stats().Connected; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return sample{}, errors.New("the publisher does not connect")
		}
	}
	perRecord := len(b.packed.lines) / b.batched
	s, err := b.measureFlow(flow{
		records: b.batched, size: len(b.packed.lines),
		send: func(pace func(int)) error {
			publishPaced(p, b.batched, func(records int) { pace(records * perRecord) })
			return nil
		},
		dropped: func() int {
			e := p.Stats().Events
			if e.Buffered > 0 {
				return 0
			}
			return int(e.Dropped())
		},
	})
	ctx, cancel := context.WithTimeout(b.ctx, longestWait)
	defer cancel()
	err = errors.Join(err, p.Close(ctx))
	stats := p.Stats()
	b.runs = append(b.runs, publisherRun{p.Run(), stats.Events, stats.Errors})
	return s, err
}

// measureAppend measures the other floor: it appends the bytes of the batches to a
// file in writes of a megabyte, and does not sync it.
func (b *bench) measureAppend() (sample, error) {
	path := filepath.Join(b.work, "floor")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return sample{}, fmt.Errorf("open file: %w", err)
	}
	defer os.Remove(path)
	defer f.Close()
	began := time.Now()
	for rest := b.packed.lines; len(rest) > 0; {
		n := min(len(rest), 1<<20)
		if _, err := f.Write(rest[:n]); err != nil {
			return sample{}, fmt.Errorf("append: %w", err)
		}
		rest = rest[n:]
	}
	return sample{b.batched, len(b.packed.lines), time.Since(began)}, nil
}

// maxAhead bounds how many bytes a generator may be ahead of the file. Nothing in
// the pipeline holds it back for long: when more comes than a sink's buffer holds,
// the sink drops and counts, and what is measured is what is stored.
const maxAhead = 32 << 20

// flow is what goes through the pipeline in one measurement.
type flow struct {
	records, size int
	send          func(pace func(sent int)) error
	// dropped returns how many records will not come, because the sender has
	// dropped and counted them. It returns 0 while more may come. If it is nil, the
	// sender drops none.
	dropped func() int
}

// restTime is how long a file must not have grown to count as at rest.
const restTime = 500 * time.Millisecond

// measureFlow sends, and measures until the sink's file has grown by everything
// that was sent and not dropped.
func (b *bench) measureFlow(f flow) (sample, error) {
	base, err := b.sink.awaitRest()
	if err != nil {
		return sample{}, err
	}
	stored := 0 // bytes, at the last look
	pace := func(sent int) {
		for sent-stored > maxAhead/2 {
			if stored = b.sink.fileSize() - base; sent-stored <= maxAhead || b.ctx.Err() != nil {
				return
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	began := time.Now()
	if err := f.send(pace); err != nil {
		return sample{}, err
	}
	grew := time.Now()
	for deadline := began.Add(longestWait); ; time.Sleep(500 * time.Microsecond) {
		size := b.sink.fileSize() - base
		if size != stored {
			stored, grew = size, time.Now()
		}
		if size >= f.size {
			return sample{f.records, f.size, time.Since(began)}, nil
		}
		if f.dropped != nil && time.Since(grew) > restTime {
			if n := f.dropped(); n > 0 {
				return sample{f.records - n, size, grew.Sub(began)}, nil
			}
		}
		if time.Now().After(deadline) || b.ctx.Err() != nil {
			return sample{}, fmt.Errorf("the file has %d of %d bytes after %s: %w", size, f.size, longestWait, errIncomplete)
		}
	}
}

var errIncomplete = errors.New("records are missing")
