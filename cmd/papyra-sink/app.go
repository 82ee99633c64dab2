package main

import (
	"io"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/cmd/internal/natsflags"
	"github.com/papyra/papyra/internal/version"
)

const description = `Receives records from NATS and appends them to a store. Without --server it
starts a NATS server of its own, for this machine only. The workers of one group
share the records; each group receives all of them.

SIGTERM, SIGINT and SIGHUP stop it: it stops receiving, appends what it has, syncs,
and exits 0. A second signal ends it at once. SIGHUP does nothing where it was
ignored at the start, as nohup does.

Examples:
  papyra-sink
  papyra-sink --listen 127.0.0.1:4333 --backend json:/var/lib/papyra/records.ndjson
  papyra-sink --server nats://nats:4222 --group archive --instance eu-1 --sync batch
  papyra-sink --server nats://nats:4222 --http 127.0.0.1:9464
  papyra-sink --backend redis://redis:6379 --spool /var/spool/papyra --spool-max 10GB
  papyra-sink --context prod --category dead_letters --startup-check recover

Exit codes: 0 stopped, everything stored or in the spool; 1 the startup check found anomalies;
2 anomalies are left after its recovery; 3 the store failed, or records were
dropped because --stop-timeout was over; 4 somebody else holds the store;
64 wrong usage; 69 NATS or the backend cannot be reached, or the address of
--http or --listen is taken; 77 NATS refuses the login; 78 wrong
configuration; 129, 130 or 143 interrupted before it received anything.`

func newApp(stderr io.Writer) *urfave.App {
	const filters, store, stop, output, watch = "What to receive", "Store", "Running", "Output", "Metrics and health"
	return &urfave.App{
		Name:        "papyra-sink",
		Usage:       "store the records of a fleet of actor runtimes",
		UsageText:   "papyra-sink [flags]",
		Description: description,
		Version:     version.Get().String(),
		Flags: slices.Concat([]urfave.Flag{
			&urfave.StringFlag{Name: "backend", Aliases: []string{"b"}, EnvVars: []string{"PAPYRA_BACKEND"}, Value: "json:./papyra-data/records.ndjson", Category: store, Usage: "store `URL`: json:PATH, rotating:PATH, redis://HOST, memory: and others"},
			&urfave.StringFlag{Name: "sync", EnvVars: []string{"PAPYRA_SYNC"}, Category: store, Usage: "when records are made durable, `MODE`: none, interval (every second), batch (default: interval)"},
			&urfave.StringFlag{Name: "rejects", EnvVars: []string{"PAPYRA_REJECTS"}, Category: store, Usage: "`FILE` for rejected lines, or none (default: beside the store)"},
			&urfave.StringFlag{Name: "spool", EnvVars: []string{"PAPYRA_SPOOL"}, DefaultText: "none", Category: store, Usage: "`DIR` in which records wait while the store cannot take them; best on another disk"},
			&urfave.StringFlag{Name: "spool-max", EnvVars: []string{"PAPYRA_SPOOL_MAX"}, Value: "4GB", Category: store, Usage: "`SIZE` of what may wait in the spool; an eighth is for reports only"},
			&urfave.BoolFlag{Name: "spool-adopt", EnvVars: []string{"PAPYRA_SPOOL_ADOPT"}, Category: store, Usage: "store here what waits in the spool for another store"},
			&urfave.StringFlag{Name: "startup-check", EnvVars: []string{"PAPYRA_STARTUP_CHECK"}, Value: "ignore", Category: store, Usage: "what to do with the store before the start, `MODE`: ignore, scan_only, fail_on_anomaly, recover"},

			&urfave.StringFlag{Name: "group", EnvVars: []string{"PAPYRA_GROUP"}, Value: "default", Category: filters, Usage: "`NAME` of the group whose workers share the records"},
			&urfave.StringFlag{Name: "instance", EnvVars: []string{"PAPYRA_INSTANCE"}, Category: filters, Usage: "`NAME` of this worker (default: the host's name)"},
			&urfave.StringSliceFlag{Name: "system", Aliases: []string{"systems"}, EnvVars: []string{"PAPYRA_SYSTEMS"}, Category: filters, Usage: "receive only this `SYSTEM`; may be given more than once"},
			&urfave.StringSliceFlag{Name: "category", Aliases: []string{"categories"}, EnvVars: []string{"PAPYRA_CATEGORIES"}, Category: filters, Usage: "receive only this `CATEGORY`: events, audits, dead_letters; may be given more than once; reports always come"},
			&urfave.StringFlag{Name: "validate", EnvVars: []string{"PAPYRA_VALIDATE"}, Value: "full", Category: filters, Usage: "how to check lines, `MODE`: full, or seal (trust a line whose seal verifies)"},

			&urfave.StringFlag{Name: "buffer", EnvVars: []string{"PAPYRA_BUFFER"}, Value: "64MiB", Category: stop, Usage: "`SIZE` of the records that may wait for the store; more are dropped and counted"},
			&urfave.StringFlag{Name: "stop-timeout", EnvVars: []string{"PAPYRA_STOP_TIMEOUT"}, Value: "30s", Category: stop, Usage: "how long stopping may take, a `DURATION`"},

			&urfave.StringFlag{Name: "http", EnvVars: []string{"PAPYRA_HTTP"}, Category: watch, DefaultText: "none", Usage: "serve /metrics, /livez and /readyz at `ADDRESS`, such as 127.0.0.1:9464; each sink on a host needs its own"},
			&urfave.StringSliceFlag{Name: "http-host", EnvVars: []string{"PAPYRA_HTTP_HOSTS"}, Category: watch, Usage: "answer requests for this host `NAME` too, beside IP addresses and localhost; may be given more than once (default: any name, and none on loopback)"},

			&urfave.BoolFlag{Name: "trust-request-info", EnvVars: []string{"PAPYRA_TRUST_REQUEST_INFO"}, Category: stop, Usage: "believe the broker's header that says who asks for an act; only where nobody else can send it, as with the accounts in deploy/nats"},

			&urfave.StringFlag{Name: "log-level", EnvVars: []string{"PAPYRA_LOG_LEVEL"}, Value: "info", Category: output, Usage: "`LEVEL`: debug, info, warn, error"},
			&urfave.StringFlag{Name: "log-format", EnvVars: []string{"PAPYRA_LOG_FORMAT"}, Value: "auto", Category: output, Usage: "`FORMAT`: text, json, or auto (text on a terminal)"},
		}, embeddedFlags(), cli.RetentionFlags(), natsflags.Flags()),
		Action: func(c *urfave.Context) error {
			s, err := readSettings(c)
			if err != nil {
				return err
			}
			return s.run(c.Context, stderr)
		},
	}
}
