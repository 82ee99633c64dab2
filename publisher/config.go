package publisher

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natswire"
)

// Config says who publishes and how much memory that may take. Only System is
// required.
type Config struct {
	// System is the system whose records these are; see [papyra.CheckSystem].
	// Each record's system is this one.
	System string

	// Node names the process in every record, with 1 to 64 characters. Default: the
	// host's name. Characters outside [A-Za-z0-9._-] become "_", and what is behind the
	// 64th is cut off.
	Node string

	// Buffers bounds the memory for records that are not confirmed yet.
	Buffers Buffers

	// Groups are the groups of sinks that are to get every record, at most 16. A record
	// is confirmed when each of them has answered for it. Other groups that answer are
	// waited for too, from their first answer on; but only these are waited for from the
	// start, and never forgotten. Default: none.
	Groups []string

	// AuditEvery is the time between two periodic audits. 0: none. Negative, or
	// without AuditFunc, it is a wrong configuration.
	AuditEvery time.Duration

	// AuditFunc counts the actors of the system now. It is called on a goroutine
	// of the publisher's, one call at a time, for AuditEvery and whenever
	// somebody asks on the subject of [papyra.AuditSubject], for those at most once in
	// a second: requests that come while it runs, or within a second of the last such
	// call, are answered by one more. A panic in it is counted. If it is nil, there
	// are no audits but those given to [Publisher.Audit].
	AuditFunc func() papyra.Audit

	// ReportEvery is the time between two PublisherReports while anything
	// changes; otherwise it is six times as long. Default: 10 s. It must not be
	// negative.
	ReportEvery time.Duration

	// CloseTimeout is the time of a [Publisher.Close] whose context has no
	// deadline. Default: 5 s. It must not be negative.
	CloseTimeout time.Duration

	// NATS are options for the connection: credentials, TLS, extra servers. The
	// publisher then sets what the confirmation of records depends on, endless
	// reconnecting without a reconnect buffer. Callbacks given here are called too,
	// on a goroutine of their own. If they do not keep up, calls are left out. An option
	// that fails, or a server that can never be reached, is a wrong configuration.
	NATS []nats.Option

	// Logger gets what happens to the connection, at most one line with the same
	// message in ten seconds, and what Close leaves behind. Only the background calls
	// it. Default: [slog.Default] gets each warning once and nothing else.
	Logger *slog.Logger

	// Now stamps facts that carry no time. It must be safe for concurrent use.
	// Timers do not follow it. Default: the machine's clock; a step of it shows
	// after 10 ms at the latest.
	Now func() time.Time
}

// Buffers bounds the memory for records that are not confirmed yet, in bytes for
// each category. Records beyond it are dropped as "queue_full" and counted; a
// flood in one category costs no other category a record. 0 means the default.
// The smallest bound is 64 KiB. A record that is larger than its bound never fits.
type Buffers struct {
	Events      int // default 16 MiB
	DeadLetters int // default 8 MiB
	Audits      int // default 2 MiB
	Reports     int // default 1 MiB
}

const minBuffer = 64 << 10

func (b Buffers) withDefaults() Buffers {
	def := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	def(&b.Events, 16<<20)
	def(&b.DeadLetters, 8<<20)
	def(&b.Audits, 2<<20)
	def(&b.Reports, 1<<20)
	return b
}

// boundOf returns the bound of a category.
func (b Buffers) boundOf(kind papyra.Kind) int {
	switch kind {
	case papyra.KindEvent:
		return b.Events
	case papyra.KindDeadLetter:
		return b.DeadLetters
	case papyra.KindAudit:
		return b.Audits
	default:
		return b.Reports
	}
}

func (b Buffers) validate() error {
	for _, kind := range papyra.Kinds() {
		if n := b.boundOf(kind); n < minBuffer {
			return fmt.Errorf("%w: buffer of %s has %d bytes: give at least %d, or 0 for the default",
				papyra.ErrConfig, kind.Category(), n, minBuffer)
		}
	}
	return nil
}

// withDefaults returns c with every default filled in, or what is wrong with
// it, wrapping papyra.ErrConfig.
func (c Config) withDefaults() (Config, error) {
	if err := papyra.CheckSystem(c.System); err != nil {
		return c, fmt.Errorf("%w: %w", papyra.ErrConfig, err)
	}
	if c.System == papyra.SystemReserved {
		return c, fmt.Errorf("%w: system id %q is reserved for the pipeline's own reports: choose another",
			papyra.ErrConfig, c.System)
	}
	if c.AuditEvery < 0 || c.ReportEvery < 0 || c.CloseTimeout < 0 {
		return c, fmt.Errorf("%w: AuditEvery, ReportEvery and CloseTimeout must not be negative", papyra.ErrConfig)
	}
	if c.AuditEvery > 0 && c.AuditFunc == nil {
		return c, fmt.Errorf("%w: AuditEvery needs an AuditFunc that counts the actors", papyra.ErrConfig)
	}
	if len(c.Groups) > maxGroups {
		return c, fmt.Errorf("%w: %d groups: give at most %d", papyra.ErrConfig, len(c.Groups), maxGroups)
	}
	for _, g := range c.Groups {
		if err := papyra.CheckName("group", g); err != nil {
			return c, fmt.Errorf("%w: %w", papyra.ErrConfig, err)
		}
	}
	c.Groups = slices.Compact(slices.Sorted(slices.Values(c.Groups)))
	c.Buffers = c.Buffers.withDefaults()
	if err := c.Buffers.validate(); err != nil {
		return c, err
	}
	if c.Node == "" {
		c.Node, _ = os.Hostname() // without one papyra.NewIdentity has a name to fall back on
	}
	if c.ReportEvery == 0 {
		c.ReportEvery = 10 * time.Second
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(new(warnOnce))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// natsOptions returns the options of the connection: our defaults, the servers of
// a comma-separated URL, and then the user's options. The link sets what the
// confirmation depends on.
func natsOptions(servers string, user []nats.Option) (nats.Options, error) {
	o := nats.GetDefaultOptions()
	// The user may change these. A stopped broker is noticed when a third ping is
	// due and two have no answer; a write to it ends after FlusherTimeout.
	o.FlusherTimeout = writeTimeout
	o.PingInterval = pingInterval
	o.MaxPingsOut = 2
	o.Servers = natswire.ServersOf(servers)
	for _, opt := range user {
		if opt == nil {
			continue
		}
		if err := opt(&o); err != nil {
			return o, fmt.Errorf("%w: apply NATS option: %w", papyra.ErrConfig, err)
		}
	}
	if err := natswire.CheckOptions(&o); err != nil {
		return o, fmt.Errorf("%w: %w", papyra.ErrConfig, err)
	}
	if o.FlusherTimeout <= 0 {
		o.FlusherTimeout = writeTimeout // without one a stopped broker blocks a write for ever
	}
	if o.PingInterval <= 0 {
		o.PingInterval = pingInterval // without one a broker that went silent is never given up
	}
	return o, tryOptions(o)
}

const (
	writeTimeout = 2 * time.Second
	pingInterval = 3 * time.Second
)

// tryOptions lets nats.go check the options. It touches no network: nats.go
// connects through a dialer that always fails.
func tryOptions(o nats.Options) error {
	o.RetryOnFailedConnect = false
	o.AllowReconnect = false
	o.InProcessServer = nil
	o.SkipHostLookup = true
	o.CustomDialer = noDialer{}
	o.AsyncErrorCB = func(*nats.Conn, *nats.Subscription, error) {}
	nc, err := o.Connect()
	if nc != nil {
		nc.Close()
	}
	if err == nil || errors.Is(err, errNoDial) || errors.Is(err, nats.ErrNoServers) {
		return nil
	}
	return fmt.Errorf("%w: check NATS options: %w", papyra.ErrConfig, err)
}
