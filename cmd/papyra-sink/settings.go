package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/cmd/internal/natsflags"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/admin"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/broker"
)

// settings are what the flags say.
type settings struct {
	sink      sink.Config
	admin     admin.Config
	backend   sink.Backend
	embedded  bool
	broker    broker.Config
	nats      natsflags.NATS
	unused    bool // NATS logins are given and nothing uses them
	retention papyra.Retention
	level     slog.Level
	format    string
	http      string // address of metrics and health; "" serves none
	httpHosts []string
}

// readSettings reads the flags, and the files that hold secrets. Nothing else is
// opened. Errors wrap papyra.ErrUsage or papyra.ErrConfig.
func readSettings(c *urfave.Context) (*settings, error) {
	s := &settings{format: c.String("log-format")}
	if err := s.level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, fmt.Errorf("%w: --log-level %q: choose debug, info, warn or error", papyra.ErrUsage, c.String("log-level"))
	}
	switch s.format {
	case "auto", "text", "json":
	default:
		return nil, fmt.Errorf("%w: --log-format %q: choose auto, text or json", papyra.ErrUsage, s.format)
	}
	var err error
	if s.http, err = httpAddress(c.String("http")); err != nil {
		return nil, err
	}
	s.httpHosts = c.StringSlice("http-host")
	if s.retention, err = cli.Retention(c); err != nil {
		return nil, err
	}
	if err := s.readServer(c); err != nil {
		return nil, err
	}
	if err := s.readSink(c); err != nil {
		return nil, err
	}
	s.sink.Retention = s.retention
	// Each system needs a subscription for each category.
	s.broker.MaxSubscriptions = max(minSubscriptions, 2*len(papyra.Kinds())*len(s.sink.Systems))
	return s, s.readBackend(c)
}

func (s *settings) readSink(c *urfave.Context) error {
	s.admin.TrustRequestInfo = c.Bool("trust-request-info")
	s.sink = sink.Config{
		URL: s.nats.URL, NATS: s.nats.Options, ConnectTimeout: s.nats.Timeout,
		Group: c.String("group"), Instance: c.String("instance"), Systems: c.StringSlice("system"),
		Validate:     sink.Validation(c.String("validate")),
		StartupCheck: sink.StartupMode(c.String("startup-check")),
	}
	for _, name := range c.StringSlice("category") {
		kind := papyra.ParseCategory(name)
		if kind == papyra.KindUnknown {
			return fmt.Errorf("%w: --category %q: choose events, audits, dead_letters or reports", papyra.ErrUsage, name)
		}
		s.sink.Kinds = append(s.sink.Kinds, kind)
	}
	size, err := human.ParseSize(c.String("buffer"))
	if err != nil {
		return fmt.Errorf("%w: --buffer: %w", papyra.ErrUsage, err)
	}
	s.sink.BufferBytes = int(size)
	if err := s.readSpool(c); err != nil {
		return err
	}
	if s.sink.StopTimeout, err = human.ParseDuration(c.String("stop-timeout")); err != nil {
		return fmt.Errorf("%w: --stop-timeout: %w", papyra.ErrUsage, err)
	}
	if s.sink.StopTimeout == 0 || size == 0 {
		return fmt.Errorf("%w: --buffer and --stop-timeout cannot be 0", papyra.ErrUsage)
	}
	return nil
}

// readSpool reads the flags of the spool.
func (s *settings) readSpool(c *urfave.Context) error {
	dir := c.String("spool")
	if dir == "" {
		for _, name := range []string{"spool-max", "spool-adopt"} {
			if c.IsSet(name) && !cli.FromEnvironment(c, name) {
				return fmt.Errorf("%w: --%s without --spool: name the directory", papyra.ErrUsage, name)
			}
		}
		return nil
	}
	if err := human.CheckPath(dir); err != nil {
		return fmt.Errorf("%w: --spool %q: %w", papyra.ErrConfig, dir, err)
	}
	size, err := human.ParseSize(c.String("spool-max"))
	if err != nil {
		return fmt.Errorf("%w: --spool-max: %w", papyra.ErrUsage, err)
	}
	if size == 0 {
		return fmt.Errorf("%w: --spool-max cannot be 0", papyra.ErrUsage)
	}
	s.sink.SpoolDir, s.sink.SpoolBytes, s.sink.SpoolAdopt = filepath.Clean(dir), size, c.Bool("spool-adopt")
	return nil
}

// readBackend opens the backend, which touches no file yet.
func (s *settings) readBackend(c *urfave.Context) error {
	o := backend.Options{}
	if sync := c.String("sync"); sync != "" && (!cli.FromEnvironment(c, "sync") || backend.Takes(c.String("backend"), "sync")) {
		o["sync"] = sync
	}
	if err := cli.CheckStore(c.String("backend")); err != nil {
		return fmt.Errorf("--backend %s: %w", backend.Redact(c.String("backend")), err)
	}
	b, err := backend.OpenWith(c.String("backend"), o)
	if err != nil {
		return err
	}
	s.backend = b
	switch rejects := c.String("rejects"); rejects {
	case "":
		s.sink.RejectFile = b.RejectFile()
	case "none":
	default:
		if err := human.CheckPath(rejects); err != nil {
			return fmt.Errorf("%w: --rejects %q: %w", papyra.ErrConfig, rejects, err)
		}
		if info, err := os.Stat(rejects); err == nil && info.IsDir() {
			return fmt.Errorf("%w: --rejects %s is a directory: give a file in it", papyra.ErrConfig, rejects)
		}
		s.sink.RejectFile = filepath.Clean(rejects)
		// At its bound the file becomes .1: neither may be the store's.
		for _, file := range []string{s.sink.RejectFile, s.sink.RejectFile + ".1"} {
			if backend.Overlap("json:"+backend.EscapePath(file), c.String("backend")) {
				return fmt.Errorf("%w: --rejects %s: %s is a file of the store: give another", papyra.ErrConfig, rejects, file)
			}
		}
	}
	return nil
}
