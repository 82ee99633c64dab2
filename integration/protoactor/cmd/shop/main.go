// Command shop runs an order shop of protoactor-go actors for a while and
// records what happens to them with Papyra: they start, crash, restart, stop and
// lose messages, by a plan that follows from the seed.
//
// It exits 0 when a broker confirmed every record, 69 when some were not, 64 for
// a wrong command line and 78 for a wrong configuration.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/papyra/papyra/integration/protoactor"
	"github.com/papyra/papyra/publisher"
)

const (
	exitUsage       = 64
	exitUnavailable = 69
	exitConfig      = 78
)

// options are the command line.
type options struct {
	server   string
	system   string
	orders   int
	rate     int
	duration time.Duration
	seed     uint64
}

func main() {
	debug.SetTraceback("crash")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("shop", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.server, "server", "nats://127.0.0.1:4222", "`URL` of the broker, or several with commas")
	f.StringVar(&o.system, "system", "shop", "system `ID` to record as")
	f.IntVar(&o.orders, "orders", 500, "`number` of orders")
	f.IntVar(&o.rate, "rate", 200, "orders a second; 0: as fast as they are handled")
	f.DurationVar(&o.duration, "duration", time.Minute, "stop taking orders after this `time`")
	f.Uint64Var(&o.seed, "seed", 1, "`number` that decides what happens to each order")
	err := f.Parse(args)
	switch {
	case err != nil:
		return o, err
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: shop takes flags only", f.Arg(0))
	case o.orders < 0 || o.rate < 0 || o.duration <= 0:
		err = errors.New("orders and rate must not be negative, and duration must be positive")
	}
	if err != nil {
		fmt.Fprintln(stderr, "shop:", err)
	}
	return o, err
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return exitUsage
	}

	//	actors ─► recorder ─► publisher ─► broker
	system := newSystem()
	recorder := protoactor.New(system, protoactor.Config{})
	pub, err := publisher.Connect(o.server, publisher.Config{
		System:     o.system,
		AuditEvery: 500 * time.Millisecond,
		AuditFunc:  recorder.Audit,
	})
	if err != nil {
		fmt.Fprintln(stderr, "shop:", err)
		return exitConfig
	}
	recorder.Record(pub)
	began := time.Now()
	s, err := open(system, recorder, 32)
	if err != nil {
		fmt.Fprintln(stderr, "shop:", err)
		return exitConfig
	}
	serving, enough := context.WithTimeout(ctx, o.duration)
	placed := s.serve(serving, plans(o.seed, o.orders), o.rate)
	enough()
	pub.Audit(recorder.Audit()) // the last one before everybody goes home
	s.close()
	took := time.Since(began)

	// In this order: who makes records, who counts them, who sends them.
	recorder.Stop()
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = pub.Close(closing)

	printShop(stdout, s, placed, took)
	printStats(stdout, pub.Run(), pub.Stats())
	if err != nil {
		fmt.Fprintf(stderr, "shop: close the publisher: %v: is a broker running at %s, and a sink?\n", err, o.server)
		return exitUnavailable
	}
	return 0
}
