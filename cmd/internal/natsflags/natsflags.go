// Package natsflags is how Papyra's commands reach a broker: the flags, variables
// and contexts of the nats command, and a connection for a verb of papyra-ctl.
package natsflags

import (
	"os"
	"time"

	"github.com/nats-io/nats.go"
	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/natswire"
)

const defaultTimeout = 5 * time.Second

// Flags returns the flags that say how to reach a broker, with the names
// and environment variables of the nats command.
func Flags() []urfave.Flag {
	const category = "NATS"
	return []urfave.Flag{
		&urfave.StringFlag{Name: "server", Aliases: []string{"s"}, EnvVars: []string{"NATS_URL"}, Category: category, Usage: "broker `URL`, or several, separated by commas"},
		&urfave.StringFlag{Name: "user", EnvVars: []string{"NATS_USER"}, Category: category, Usage: "user `NAME`, or a token when there is no password"},
		&urfave.StringFlag{Name: "password", EnvVars: []string{"NATS_PASSWORD"}, Category: category, Usage: "`PASSWORD`; other users can see it in the list of processes: prefer --password-file"},
		&urfave.StringFlag{Name: "password-file", EnvVars: []string{"NATS_PASSWORD_FILE"}, Category: category, Usage: "`FILE` that holds the password"},
		&urfave.StringFlag{Name: "creds", EnvVars: []string{"NATS_CREDS"}, Category: category, Usage: "credentials `FILE`"},
		&urfave.StringFlag{Name: "nkey", EnvVars: []string{"NATS_NKEY"}, Category: category, Usage: "`FILE` with an nkey seed"},
		&urfave.StringFlag{Name: "tlscert", EnvVars: []string{"NATS_CERT"}, Category: category, Usage: "TLS certificate `FILE` of the client"},
		&urfave.StringFlag{Name: "tlskey", EnvVars: []string{"NATS_KEY"}, Category: category, Usage: "TLS key `FILE` of the client"},
		&urfave.StringFlag{Name: "tlsca", EnvVars: []string{"NATS_CA"}, Category: category, Usage: "`FILE` with the certificates of the authorities to trust"},
		&urfave.StringFlag{Name: "timeout", EnvVars: []string{"NATS_TIMEOUT"}, Category: category, DefaultText: defaultTimeout.String(), Usage: "how long to wait for the broker, a `DURATION`"},
		&urfave.StringFlag{Name: "context", EnvVars: []string{"NATS_CONTEXT"}, Category: category, Usage: "`NAME` of a context of the nats command"},
	}
}

// Given reports whether the command line or the environment names a broker: with
// --server or --context. The selected context of the nats command does not count.
func Given(c *urfave.Context) bool { return c.String("server") != "" || c.String("context") != "" }

// NATS is how to reach a broker.
type NATS struct {
	URL     string        // one, or several, separated by commas; it may hold a secret: show it with redact.URL
	Timeout time.Duration // for one attempt to connect, and for an answer
	Options []nats.Option // credentials, TLS, Timeout
}

// Read reads the flags of [Flags]. A flag or its environment wins
// over the context. Without --server and --context the selected context of the
// nats command is used, if there is one, otherwise nats://127.0.0.1:4222. With
// --server the selected context is not used, so that its credentials never go to
// another broker. An error wraps papyra.ErrConfig or papyra.ErrUsage.
func Read(c *urfave.Context) (NATS, error) {
	saved, err := loadContext(c.String("context"), c.String("server") != "")
	if err != nil {
		return NATS{}, err
	}
	pick := func(flag, inContext string) string {
		if v := c.String(flag); v != "" {
			return v
		}
		return inContext
	}
	n := NATS{URL: pick("server", saved.URL)}
	if n.URL == "" {
		n.URL = nats.DefaultURL
	}
	if err := natswire.CheckServers(natswire.ServersOf(n.URL)); err != nil {
		return NATS{}, cli.ConfigErrorf("%v", err)
	}
	n.Timeout = defaultTimeout
	if s := c.String("timeout"); s != "" {
		if n.Timeout, err = human.ParseDuration(s); err != nil {
			return NATS{}, cli.UsageErrorf("--timeout: %v", err)
		}
	}
	if n.Timeout == 0 {
		return NATS{}, cli.UsageErrorf("--timeout is 0: give a duration like 5s")
	}
	n.Options = append(n.Options, nats.Timeout(n.Timeout))

	password, err := cli.Secret(c, "password", saved.Password)
	if err != nil {
		return NATS{}, err
	}
	user := pick("user", saved.User)
	switch {
	case user != "" && password == "" && saved.User != user:
		n.Options = append(n.Options, nats.Token(user))
	case user != "":
		n.Options = append(n.Options, nats.UserInfo(user, password))
	case password != "":
		return NATS{}, cli.ConfigErrorf("a password without a user: give --user too")
	case saved.Token != "":
		n.Options = append(n.Options, nats.Token(saved.Token))
	}
	if saved.UserJWT != "" && c.String("user") == "" && c.String("creds") == "" && c.String("nkey") == "" {
		n.Options = append(n.Options, nats.UserJWTAndSeed(saved.UserJWT, saved.UserSeed))
	}
	if file := pick("creds", saved.Creds); file != "" {
		if err := readable("--creds", file); err != nil {
			return NATS{}, err
		}
		n.Options = append(n.Options, nats.UserCredentials(file))
	}
	if file := pick("nkey", saved.NKey); file != "" {
		if err := readable("--nkey", file); err != nil {
			return NATS{}, err
		}
		opt, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			return NATS{}, cli.ConfigErrorf("--nkey %s: no nkey seed in the file", file)
		}
		n.Options = append(n.Options, opt)
	}
	tlsOpts, err := tlsOptions(pick("tlscert", saved.Cert), pick("tlskey", saved.Key), pick("tlsca", saved.CA))
	if err != nil {
		return NATS{}, err
	}
	n.Options = append(n.Options, tlsOpts...)
	if saved.TLSFirst {
		n.Options = append(n.Options, nats.TLSHandshakeFirst())
	}
	if saved.InboxPrefix != "" {
		n.Options = append(n.Options, nats.CustomInboxPrefix(saved.InboxPrefix))
	}
	return n, nil
}

// tlsOptions checks the files at once: otherwise each attempt to connect would
// fail. The client asks for TLS 1.2 at least.
func tlsOptions(cert, key, ca string) ([]nats.Option, error) {
	var opts []nats.Option
	if (cert == "") != (key == "") {
		return nil, cli.ConfigErrorf("--tlscert and --tlskey belong together: give both")
	}
	if cert != "" {
		for flag, file := range map[string]string{"--tlscert": cert, "--tlskey": key} {
			if err := readable(flag, file); err != nil {
				return nil, err
			}
		}
		opts = append(opts, nats.ClientCert(cert, key))
	}
	if ca != "" {
		if err := readable("--tlsca", ca); err != nil {
			return nil, err
		}
		opts = append(opts, nats.RootCAs(ca))
	}
	return opts, nil
}

func readable(flag, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return cli.ConfigErrorf("%s: %v", flag, err)
	}
	return f.Close()
}
