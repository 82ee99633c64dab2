package sink

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natswire"
)

// Validation says how thoroughly a sink checks lines.
type Validation string

// The validations.
const (
	// ValidateFull checks every line in full: UTF-8, JSON, depth, duplicate
	// members, the members of its kind, the seal.
	ValidateFull Validation = "full"
	// ValidateSeal accepts a line in the publisher's own layout if its seal
	// verifies, and checks other lines in full. It is for brokers whose publishers
	// are all trusted: anybody can compute a seal.
	ValidateSeal Validation = "seal"
)

// Config says what a sink receives and how it stores it. The zero Config
// receives everything from the NATS server at nats.DefaultURL.
type Config struct {
	// URL is the NATS server, or several with commas between. Default
	// nats.DefaultURL.
	URL string
	// NATS holds credentials, TLS and the like. The sink sets the options that
	// decide what happens when the connection is lost.
	NATS []nats.Option
	// ConnectTimeout bounds how long Run tries to reach the server at its start.
	// Afterwards it tries for ever. Default 5 s.
	ConnectTimeout time.Duration

	// Group names the queue group, [A-Za-z0-9_-]{1,64}: the workers of a group
	// share its records. Default "default".
	Group string
	// Instance names this worker, [A-Za-z0-9_-]{1,64}. Default the host's name,
	// with anything else replaced by '_'.
	Instance string
	// Systems and Kinds filter what is received; empty is everything. Reports are
	// always received.
	Systems []string
	Kinds   []papyra.Kind

	// Validate is how thoroughly lines are checked. Default ValidateFull.
	Validate Validation

	// SyncEvery is the time between two Syncs of the store. Default 1 s.
	SyncEvery time.Duration
	// BufferBytes bounds the lines that wait for the store. What comes beyond
	// it is dropped and counted as sink_full. Default 64 MiB. Publishers' reports
	// have an eighth more, shared between the systems, because they explain what was
	// dropped. Another 64 MiB of messages may wait to be looked at, with the same room
	// for reports.
	BufferBytes int
	// StopTimeout bounds the graceful stop. What is not stored when it is over
	// is dropped and counted as sink_stopped. Default 30 s.
	StopTimeout time.Duration
	// ReportEvery is the shortest time between two SinkReports while running.
	// Default 10 s.
	ReportEvery time.Duration
	// PeersEvery is about the time between two questions for the other sinks of
	// the group, whose stores the SinkReports name. After the start the sink asks
	// more often. Default 1 min.
	PeersEvery time.Duration

	// RejectFile is the path of the file that keeps rejected lines. Empty: they are
	// only counted and logged.
	RejectFile string

	// SpoolDir is the directory in which records wait while the store cannot take them,
	// at most SpoolBytes of them: package spool says how. Empty: they wait in memory
	// only. Default of SpoolBytes 4 GB. With SpoolAdopt what waits there for another
	// store is stored in this one.
	SpoolDir   string
	SpoolBytes int64
	SpoolAdopt bool

	// Retention says what a compaction of the store keeps. The sink itself removes
	// nothing; at its start it logs where the store may keep less than that.
	Retention papyra.Retention

	// StartupCheck is what Run does with the store before it opens it. Default
	// CheckIgnore.
	StartupCheck StartupMode

	// Admin answers whoever asks the running sink for work on its store. Nil: nobody
	// does, and who wants to change the store has to stop the sink. Package sink/admin
	// makes one.
	Admin Admin

	// Logger takes what the operator must know. Messages that can repeat are
	// rate-limited. Default: discard.
	Logger *slog.Logger
	// Now is the clock of timestamps. Default time.Now.
	Now func() time.Time
}

const (
	defaultBuffer         = 64 << 20
	defaultSyncEvery      = time.Second
	defaultStopTimeout    = 30 * time.Second
	defaultConnectTimeout = 5 * time.Second
	defaultReportEvery    = 10 * time.Second
	defaultPeersEvery     = time.Minute

	// logEvery is the shortest time between two log lines about the same thing.
	logEvery = time.Second

	// minBuffer lets the buffer hold at least a few lines of the largest size.
	minBuffer = 4 * papyra.MaxLine
)

// validate checks c and fills in what is left out. Its error wraps
// papyra.ErrConfig.
func (c *Config) validate() error {
	setDefault(&c.URL, nats.DefaultURL)
	setDefault(&c.Group, "default")
	if c.Instance == "" {
		host, _ := os.Hostname()
		c.Instance = cleanInstance(host)
	}
	setDefault(&c.Validate, ValidateFull)
	setDefault(&c.StartupCheck, CheckIgnore)
	setDefault(&c.BufferBytes, defaultBuffer)
	setDefault(&c.SyncEvery, defaultSyncEvery)
	setDefault(&c.StopTimeout, defaultStopTimeout)
	setDefault(&c.ConnectTimeout, defaultConnectTimeout)
	setDefault(&c.ReportEvery, defaultReportEvery)
	setDefault(&c.PeersEvery, defaultPeersEvery)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}

	var errs []error
	check := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	check(papyra.CheckName("group", c.Group))
	check(papyra.CheckName("instance", c.Instance))
	check(natswire.CheckServers(c.servers()))
	for _, system := range c.Systems {
		check(papyra.CheckSystem(system))
		if system == papyra.SystemReserved {
			check(fmt.Errorf("system %q is the pipeline's own: it cannot be received", system))
		}
	}
	for _, kind := range c.Kinds {
		if kind == papyra.KindUnknown || kind >= papyra.KindCount {
			check(errors.New("unknown kind among the filters: choose events, audits, dead_letters or reports"))
		}
	}
	if c.Validate != ValidateFull && c.Validate != ValidateSeal {
		check(fmt.Errorf("unknown validation %q: choose full or seal", c.Validate))
	}
	check(c.StartupCheck.validate())
	if c.BufferBytes < minBuffer {
		check(fmt.Errorf("buffer of %d bytes is too small: give at least %d", c.BufferBytes, minBuffer))
	}
	check(c.checkSpool())
	for name, d := range map[string]time.Duration{
		"time between syncs": c.SyncEvery, "stop timeout": c.StopTimeout,
		"connect timeout": c.ConnectTimeout, "time between reports": c.ReportEvery,
		"time between questions for peers": c.PeersEvery,
	} {
		if d < 0 {
			check(fmt.Errorf("%s is negative", name))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %w", papyra.ErrConfig, errors.Join(errs...))
	}
	return nil
}

// servers returns the addresses in URL.
func (c *Config) servers() []string { return natswire.ServersOf(c.URL) }

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// cleanInstance returns a host's name as a legal instance name.
func cleanInstance(host string) string {
	if len(host) > papyra.MaxNameBytes {
		host = host[:papyra.MaxNameBytes]
	}
	out := []byte(host)
	for i, b := range out {
		if papyra.CheckName("instance", string(b)) != nil {
			out[i] = '_'
		}
	}
	if len(out) == 0 {
		return "unknown"
	}
	return string(out)
}

// subjects returns what to subscribe to. No two of them overlap, so that no
// message comes twice.
func (c *Config) subjects() []string {
	if len(c.Systems) == 0 && len(c.Kinds) == 0 {
		return []string{papyra.SubjectAllRecords}
	}
	kinds := map[papyra.Kind]bool{}
	for _, k := range c.Kinds {
		kinds[k] = true
	}
	seen := map[string]bool{}
	var list []string
	addSubject := func(subject string) {
		if !seen[subject] {
			seen[subject] = true
			list = append(list, subject)
		}
	}
	for _, k := range papyra.Kinds() {
		switch {
		case k == papyra.KindReport:
			addSubject(papyra.CategorySubject(k))
		case len(c.Kinds) > 0 && !kinds[k]:
		case len(c.Systems) == 0:
			addSubject(papyra.CategorySubject(k))
		default:
			for _, system := range c.Systems {
				addSubject(papyra.RecordsSubject(system, k))
			}
		}
	}
	return list
}

// filters names the filters for reports, nil without any.
func (c *Config) filters() []string {
	var list []string
	for _, s := range c.Systems {
		list = append(list, "system="+s)
	}
	for _, k := range c.Kinds {
		list = append(list, "category="+k.Category())
	}
	return list
}
