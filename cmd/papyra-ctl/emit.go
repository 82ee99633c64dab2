package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/cmd/internal/natsflags"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/redact"
	"github.com/papyra/papyra/publisher"
)

func (t *tool) emitCommand() *urfave.Command {
	payload := []urfave.Flag{
		&urfave.StringFlag{Name: "payload", Usage: "the payload, as `JSON`"},
		&urfave.StringSliceFlag{Name: "field", Usage: "a text in the payload, `NAME=TEXT`; may be given more than once"},
	}
	count := func(name, what string) urfave.Flag {
		return &urfave.StringFlag{Name: name, Usage: "`NUMBER` of " + what, DefaultText: "0"}
	}
	return &urfave.Command{
		Name:  "emit",
		Usage: "Publish one record",
		Description: `Publishes one sealed record, as a runtime would, and waits until it is confirmed:
to note a deployment, or to see that records arrive. Reports cannot be published by
hand: the account believes them.

Begin with:
   papyra-ctl emit event --server nats://nats:4222 --system orders --actor deploy --type Deployed --field version=1.4.2`,
		Subcommands: []*urfave.Command{
			t.emitKind(papyra.KindEvent, "event", " --actor deploy --type Deployed --field version=1.4.2",
				append([]urfave.Flag{
					&urfave.StringFlag{Name: "actor", Required: true, Usage: "`ADDRESS` of the actor: system:id, or only the id"},
					&urfave.StringFlag{Name: "type", Required: true, Usage: "`TYPE` of the event, such as ActorCrashed"},
				}, payload...)),
			t.emitKind(papyra.KindDeadLetter, "dead-letter", ` --target 42 --type PaymentRequest --payload '{"amount":3}'`,
				append([]urfave.Flag{
					&urfave.StringFlag{Name: "target", Usage: "`ADDRESS` of the actor that did not get the message: system:id, or only the id"},
					&urfave.StringFlag{Name: "type", Required: true, Usage: "`TYPE` of the message"},
				}, payload...)),
			t.emitKind(papyra.KindAudit, "audit", " --total 10 --alive 9 --stopping 1", []urfave.Flag{
				count("total", "actors"), count("alive", "actors that are alive"), count("stopping", "actors that are stopping"),
				count("restarting", "actors that are restarting"), count("names", "registered names"), count("letters", "dead letters that the system has seen"),
				&urfave.StringSliceFlag{Name: "orphan", Usage: "a registered `NAME` without an actor; may be given more than once"},
				&urfave.StringSliceFlag{Name: "dead", Usage: "a registered `NAME` whose actor is not alive; may be given more than once"},
			}),
		},
	}
}

func (t *tool) emitKind(kind papyra.Kind, name, example string, own []urfave.Flag) *urfave.Command {
	what := strings.ReplaceAll(name, "-", " ")
	return &urfave.Command{
		Name:  name,
		Usage: "Publish one " + what,
		Description: describe(`Publishes one `+what+` as a run of its own and waits until it is confirmed, for
--timeout at most. A retry after an error may store it twice.`,
			[]string{"papyra-ctl emit " + name + " --server nats://nats:4222 --system orders" + example},
			exit{"0", "confirmed: a sink has it"},
			exit{"69", "the broker cannot be reached, or no sink listens"},
			exit{"77", "the broker refuses the login, or does not let it publish for this system"},
		),
		Flags: slices.Concat([]urfave.Flag{
			&urfave.StringFlag{Name: "system", Required: true, Usage: "the id of the system, `SYSTEM`"},
			&urfave.StringFlag{Name: "node", Usage: "`NAME` of the node (default: the host's name)"},
			&urfave.StringFlag{Name: "time", Usage: "when it happened, a `TIME` such as 5m (ago) or 2024-05-31T14:00:00Z (default: now)"},
		}, own, []urfave.Flag{outputFlag()}, natsflags.Flags()),
		Action: t.verbOn("emit "+name, noStores, func(c *call) error { return c.emit(kind) }),
	}
}

// emitResult is the JSON of emit.
type emitResult struct {
	System    string `json:"system"`
	Kind      string `json:"kind"`
	Node      string `json:"node,omitempty"` // as given
	Run       string `json:"run"`
	Seq       uint64 `json:"seq"`
	Confirmed bool   `json:"confirmed"`
}

// emit makes a publisher, which knows when a record is confirmed, for one record.
func (c *call) emit(kind papyra.Kind) error {
	to, err := natsflags.Read(c.flags)
	if err != nil {
		return err
	}
	system := c.flags.String("system")
	record, err := c.recordOf(kind, system)
	if err != nil {
		return err
	}
	p, err := publisher.Connect(to.URL, publisher.Config{
		System: system, Node: c.flags.String("node"), NATS: to.Options,
		Logger: slog.New(slog.DiscardHandler), // what keeps the record from its way is said below
	})
	if err != nil {
		return err
	}
	result := &emitResult{System: system, Kind: kind.String(), Node: c.flags.String("node"), Run: p.Run(), Seq: 1}
	c.result = result
	record(p)
	err = c.awaitConfirmed(p, kind, redact.URL(to.URL), to.Timeout)
	result.Confirmed = err == nil
	// The run ends with its report, so that the account knows all of it. Where the
	// record was not confirmed, nothing more is waited for.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), to.Timeout)
	if err != nil {
		cancel()
	}
	defer cancel()
	if cerr := p.Close(ctx); cerr != nil && err == nil {
		c.messages = append(c.messages, "the record is confirmed, but not the last report of its run: "+cerr.Error())
	}
	if err == nil && !c.json {
		c.out.printf("%s  %s of %s, run %s, number 1\n", c.out.paint(green, "confirmed"), result.Kind, system, result.Run)
	}
	return err
}

// emitEvery is how often it is looked whether the record is confirmed.
const emitEvery = 5 * time.Millisecond

// awaitConfirmed returns when the one record of p is confirmed, or why it is not.
func (c *call) awaitConfirmed(p *publisher.Publisher, kind papyra.Kind, server string, within time.Duration) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	look := time.NewTicker(emitEvery)
	defer look.Stop()
	for {
		s := p.Stats()
		if over, err := emitOutcome(&s, kind); over {
			if s.RepliesRefused || s.NoHeaders {
				c.messages = append(c.messages, "the broker does not tell this login whether a sink listens")
			}
			return err
		}
		select {
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-look.C:
		case <-deadline.C:
			s := p.Stats()
			if s.Connected && categoryOf(&s, kind).Unheard > 0 {
				return cli.Exit(cli.CodeUnavailable, fmt.Errorf("no sink listens to %s within %v: start one, or see to its filters", papyra.RecordsSubject(c.flags.String("system"), kind), within))
			}
			return cli.Exit(cli.CodeUnavailable, fmt.Errorf("the broker %s does not confirm the record within %v: %s", server, within, s.Errors.Last))
		}
	}
}

// emitOutcome reports whether the numbers of a publisher of one record say how it went.
func emitOutcome(s *publisher.Stats, kind papyra.Kind) (over bool, err error) {
	n := categoryOf(s, kind)
	switch {
	case n.Confirmed > 0:
		return true, nil
	case n.DroppedTooLarge > 0:
		return true, usagef("the record is larger than %s, or than the broker takes", human.Bytes(papyra.MaxPublishedLine))
	case n.Dropped() > 0:
		return true, usagef("the record cannot be written")
	case n.Denied > 0, s.Errors.Auth > 0:
		return true, cli.Exit(cli.CodeDenied, errors.New("the broker does not allow it to this login: "+s.Errors.Last))
	}
	return false, nil
}

func categoryOf(s *publisher.Stats, kind papyra.Kind) publisher.CategoryStats {
	switch kind {
	case papyra.KindEvent:
		return s.Events
	case papyra.KindDeadLetter:
		return s.DeadLetters
	}
	return s.Audits
}

// recordOf reads the flags of a kind of records and returns what records it.
func (c *call) recordOf(kind papyra.Kind, system string) (func(*publisher.Publisher), error) {
	var when time.Time
	if s := c.flags.String("time"); s != "" {
		var err error
		if when, err = human.ParseTime(s, c.now()); err != nil {
			return nil, usagef("--time: %v", err)
		}
	}
	if kind == papyra.KindAudit {
		a, err := c.auditOf()
		a.Time = when
		return func(p *publisher.Publisher) { p.Audit(a) }, err
	}
	payload, fields, err := c.payload()
	if err != nil {
		return nil, err
	}
	flag := map[papyra.Kind]string{papyra.KindEvent: "actor", papyra.KindDeadLetter: "target"}[kind]
	var actor papyra.Address
	if text := c.flags.String(flag); text != "" {
		var ok bool
		if actor, ok = papyra.ParseAddress(text, system); !ok {
			return nil, usagef("--%s %q: give system:id, or an id", flag, text)
		}
	}
	what := c.flags.String("type")
	if kind == papyra.KindEvent {
		return func(p *publisher.Publisher) {
			p.Event(papyra.Event{Actor: actor, Type: what, Payload: payload, Time: when}, fields...)
		}, nil
	}
	return func(p *publisher.Publisher) {
		p.DeadLetter(papyra.DeadLetter{Target: actor, MessageType: what, Payload: payload, Time: when}, fields...)
	}, nil
}

// payload reads --payload or the --field flags.
func (c *call) payload() (value any, fields []slog.Attr, err error) {
	text := c.flags.String("payload")
	if text != "" && len(c.flags.StringSlice("field")) > 0 {
		return nil, nil, usagef("give --payload or --field, not both")
	}
	if text != "" {
		if !json.Valid([]byte(text)) {
			return nil, nil, usagef("--payload %q is not JSON: a text stands in quotes, as '\"text\"'", text)
		}
		var enc papyra.Encoder // a publisher would put a text in the place of such a payload
		e := papyra.Event{Payload: json.RawMessage(text)}
		if errors.Is(enc.Event(papyra.NewIdentity(""), "x", &e, nil, time.Now()), papyra.ErrEncode) {
			return nil, nil, usagef("the payload cannot be written: it nests too deeply")
		}
		return json.RawMessage(text), nil, nil
	}
	for _, field := range c.flags.StringSlice("field") {
		name, text, ok := strings.Cut(field, "=")
		if !ok || name == "" {
			return nil, nil, usagef("--field %q: write NAME=TEXT", field)
		}
		fields = append(fields, slog.String(name, text))
	}
	return nil, fields, nil
}

func (c *call) auditOf() (papyra.Audit, error) {
	a := papyra.Audit{RegistryOrphans: c.flags.StringSlice("orphan"), RegistryDead: c.flags.StringSlice("dead")}
	for flag, n := range map[string]*int64{
		"total": &a.TotalActors, "alive": &a.AliveActors, "stopping": &a.StoppingActors, "restarting": &a.RestartingActors,
		"names": &a.RegistrySize, "letters": &a.DeadLetters,
	} {
		text := c.flags.String(flag)
		if text == "" {
			continue
		}
		var err error
		// A flag of a whole number would take 010 for 8.
		if *n, err = strconv.ParseInt(text, 10, 64); err != nil || *n < 0 {
			return a, usagef("--%s %q: give a number from 0 on", flag, text)
		}
	}
	return a, nil
}
