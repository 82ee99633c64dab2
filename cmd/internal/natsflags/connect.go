package natsflags

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/natswire"
	"github.com/papyra/papyra/internal/redact"
)

// Conn is a connection of one verb.
//
// The broker does not answer a request, a subscription or a publish that it does not
// allow: only an asynchronous error tells of it. Whoever waits for an answer waits for
// Denied too.
type Conn struct {
	*nats.Conn
	denied chan error
}

// Denied returns the channel that receives the first refusal of the broker on this
// connection, as an error with the exit code 77. It is never closed.
func (c *Conn) Denied() <-chan error { return c.denied }

// Connect connects under a name, such as "papyra-ctl audit", with further options; it
// returns when that has worked, has failed, or ctx has ended. The error has the exit
// code 77 where the broker refuses the login, and 69 where it cannot be reached. An
// error handler among own is replaced. The caller closes the connection.
func (n NATS) Connect(ctx context.Context, name string, own ...nats.Option) (*Conn, error) {
	c := &Conn{denied: make(chan error, 1)}
	o := nats.GetDefaultOptions()
	o.Url = n.URL
	own = append(own, nats.Name(name), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.noteError(err) }))
	for _, list := range [][]nats.Option{n.Options, own} {
		for _, opt := range list {
			if err := opt(&o); err != nil {
				return nil, cli.ConfigErrorf("read the NATS options: %v", err)
			}
		}
	}
	natswire.Protect(&o, 0)

	type outcome struct {
		nc  *nats.Conn
		err error
	}
	ended := make(chan outcome, 1)
	go func() {
		nc, err := o.Connect()
		ended <- outcome{nc, err}
	}()
	select {
	case out := <-ended:
		if out.err == nil {
			c.Conn = out.nc
			return c, nil
		}
		return nil, n.explain(out.err)
	case <-ctx.Done():
		// The attempt has a timeout of its own.
		go func() {
			if out := <-ended; out.nc != nil {
				out.nc.Close()
			}
		}()
		return nil, fmt.Errorf("connect to the broker: %w", ctx.Err())
	}
}

// explain says what a failed attempt means.
func (n NATS) explain(err error) error {
	err = fmt.Errorf("connect to the broker %s: %w", redact.URL(n.URL), err)
	if cli.ExitCode(err) == cli.CodeDenied {
		return fmt.Errorf("%w: see to --user, --password-file, --creds, --nkey or --context", err)
	}
	return cli.Exit(cli.CodeUnavailable, fmt.Errorf("%w: %w", papyra.ErrUnavailable, err))
}

// noteError takes what the broker says on its own.
func (c *Conn) noteError(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	select {
	case c.denied <- cli.Exit(cli.CodeDenied, fmt.Errorf("the broker does not allow it to this login: %w", err)):
	default: // the first one is not taken yet
	}
}
