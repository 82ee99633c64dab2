package main

import (
	"fmt"
	"slices"
	"strconv"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/cmd/internal/natsflags"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/broker"
)

// minSubscriptions is how many subscriptions a client of the embedded server may
// have, and the sink itself as many as it needs.
const minSubscriptions = 1024

// embeddedFlags are the flags of the embedded server.
func embeddedFlags() []urfave.Flag {
	const category = "Embedded NATS server"
	return []urfave.Flag{
		&urfave.StringFlag{Name: "listen", EnvVars: []string{"PAPYRA_LISTEN"}, Category: category, DefaultText: "127.0.0.1:4222", Usage: "`ADDRESS` of the embedded server; one that other machines can reach needs a login"},
		&urfave.StringFlag{Name: "listen-user", EnvVars: []string{"PAPYRA_LISTEN_USER"}, Category: category, Usage: "`NAME` that clients of the embedded server must give (default: no login)"},
		&urfave.StringFlag{Name: "listen-password", EnvVars: []string{"PAPYRA_LISTEN_PASSWORD"}, Category: category, Usage: "`PASSWORD` of that login; other users can see it in the list of processes: prefer --listen-password-file"},
		&urfave.StringFlag{Name: "listen-password-file", EnvVars: []string{"PAPYRA_LISTEN_PASSWORD_FILE"}, Category: category, Usage: "`FILE` that holds the password"},
		&urfave.StringFlag{Name: "max-payload", EnvVars: []string{"PAPYRA_MAX_PAYLOAD"}, Category: category, DefaultText: "1MiB", Usage: "largest message of the embedded server, a `SIZE`"},
		&urfave.StringFlag{Name: "max-connections", EnvVars: []string{"PAPYRA_MAX_CONNECTIONS"}, Category: category, DefaultText: "half of the descriptors, at most 1024", Usage: "`NUMBER` of clients of the embedded server"},
	}
}

// readServer decides between the embedded server and another one. The selected
// context of the nats command does not count: without flags the server is the
// embedded one.
func (s *settings) readServer(c *urfave.Context) error {
	given := func(flags ...string) bool {
		return slices.ContainsFunc(flags, func(f string) bool { return c.String(f) != "" && !cli.FromEnvironment(c, f) })
	}
	var ofEmbedded []string
	for _, f := range embeddedFlags() {
		ofEmbedded = append(ofEmbedded, f.Names()[0])
	}
	// The command line chooses. What the environment says for the other choice is
	// passed over.
	embedded, other := given(ofEmbedded...), given("server", "context")
	s.embedded = embedded && !other || c.String("server") == "" && c.String("context") == ""
	if !s.embedded {
		for _, flag := range ofEmbedded {
			if c.String(flag) != "" && (embedded || !other) {
				return fmt.Errorf("%w: --%s is for the embedded server, and --server or --context names another: give one", papyra.ErrUsage, flag)
			}
		}
		var err error
		s.nats, err = natsflags.Read(c)
		return err
	}
	for _, flag := range []string{"user", "password", "password-file", "creds", "nkey", "tlscert", "tlskey", "tlsca"} {
		s.unused = s.unused || c.String(flag) != ""
	}
	return s.readEmbedded(c)
}

func (s *settings) readEmbedded(c *urfave.Context) (err error) {
	s.broker.Listen = c.String("listen")
	if size := c.String("max-payload"); size != "" {
		n, err := human.ParseSize(size)
		if err != nil || n == 0 {
			return fmt.Errorf("%w: --max-payload %q: write it like 1MiB", papyra.ErrUsage, size)
		}
		s.broker.MaxPayload = int(n)
	}
	if number := c.String("max-connections"); number != "" {
		if s.broker.MaxConnections, err = strconv.Atoi(number); err != nil || s.broker.MaxConnections < 1 {
			return fmt.Errorf("%w: --max-connections %q: give a number of at least 1", papyra.ErrUsage, number)
		}
	}
	login := broker.Login{User: c.String("listen-user")}
	if login.Password, err = cli.Secret(c, "listen-password", ""); err != nil {
		return err
	}
	if (login.User == "") != (login.Password == "") {
		return fmt.Errorf("%w: a login of the embedded server is a user and a password: give --listen-user and --listen-password-file", papyra.ErrConfig)
	}
	s.broker.Login = login
	return nil
}
