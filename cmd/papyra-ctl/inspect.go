package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/inspect"
)

func (t *tool) inspectCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "inspect",
		Usage: "Show what was recorded",
		Description: `Shows the records of one category, a summary of everything, or rejected lines. Give --backend
more than once to see several stores merged by time.

Begin with:
   papyra-ctl inspect summary --backend ` + exampleStore,
		Subcommands: []*urfave.Command{
			t.inspectKind(papyra.KindEvent, "events", "Show what happened to actors"),
			t.inspectKind(papyra.KindAudit, "audits", "Show the counts of a system's actors"),
			t.inspectKind(papyra.KindDeadLetter, "dead-letters", "Show messages that reached nobody"),
			t.inspectKind(papyra.KindReport, "reports", "Show what the pipeline says about itself"),
			t.summaryCommand(),
			t.rejectsCommand(),
		},
	}
}

func (t *tool) inspectKind(kind papyra.Kind, name, usage string) *urfave.Command {
	example, member := " --since 2h --limit 50", "payload"
	switch kind {
	case papyra.KindEvent:
		example = " --type ActorCrashed --since 2h --limit 50"
	case papyra.KindAudit:
		member = "alive_actors"
	}
	return &urfave.Command{
		Name:  name,
		Usage: usage,
		Description: describe(`Shows the `+strings.ReplaceAll(name, "-", " ")+` of a store in the order in which they were appended, the
newest last. Several stores are merged by timestamp. The filters are applied
first; --limit then keeps the newest matches. A flag that may be given more than
once chooses the records that match any of its values. Damaged lines are passed
over and counted on stderr; scan --full names them. With retention flags it shows only
what a compaction with the same flags would keep. Nothing is changed.`+columnHelp(kind),
			[]string{
				"papyra-ctl inspect " + name + " --backend " + exampleStore + example,
				"papyra-ctl inspect " + name + " --backend " + exampleStore + " --limit 10 --follow",
				"papyra-ctl inspect " + name + " --backend " + exampleStore + " --output json | jq '.records[]." + member + "'",
			}, inspectCodes()...),
		Flags:  withSinks(slices.Concat([]urfave.Flag{backendFlag(true)}, filterFlags(kind), []urfave.Flag{followFlag()}, retentionFlags(), []urfave.Flag{outputFlag()})),
		Action: t.verb("inspect "+name, func(c *call) error { return c.inspect(kind) }),
	}
}

// columnHelp explains the columns whose titles are short.
func columnHelp(kind papyra.Kind) string {
	switch kind {
	case papyra.KindAudit:
		return `

NAMES counts the registered names, ORPHANS the names without an actor, DEAD the
names whose actor is not alive, LETTERS the dead letters that the system has seen.`
	case papyra.KindReport:
		return `

The table says in words what a report tells; --output json shows the whole report.`
	}
	return ""
}

func inspectCodes() []exit {
	return []exit{
		{"0", "done, also when nothing matches"},
		{"3", "the store does not exist, or stdout failed"},
		{"5", "a part could not be read: there may be more"},
	}
}

// filterFlags returns the filters of the records of one kind. Those that it cannot
// have are not shown in the help, and refused with the reason.
func filterFlags(kind papyra.Kind) []urfave.Flag {
	typeless, actorless := kind == papyra.KindAudit, kind == papyra.KindAudit || kind == papyra.KindReport
	return slices.Concat(timeFlags(), []urfave.Flag{
		&urfave.StringFlag{Name: "limit", Aliases: []string{"n"}, Usage: "show only the newest `N` matches; 0 shows all"},
		&urfave.StringSliceFlag{Name: "type", Hidden: typeless, Usage: "only records of this `TYPE` of event, message or report; may be given more than once"},
		&urfave.StringSliceFlag{Name: "system", Usage: "only records of the system with this id, `SYSTEM`; may be given more than once"},
		&urfave.StringSliceFlag{Name: "actor", Hidden: actorless, Usage: "only records of the actor with this `ADDRESS`: system:id, or only the id; may be given more than once"},
		&urfave.StringSliceFlag{Name: "node", Usage: "only records whose publisher ran on this `NODE`; may be given more than once"},
		&urfave.BoolFlag{Name: "reverse", Aliases: []string{"r"}, Usage: "show the newest first"},
	})
}

func timeFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "since", Usage: "only records from this `TIME` on: 2h or 7d (ago), 2024-05-31, 2024-05-31T14:00:00Z, or Unix seconds; in UTC"},
		&urfave.StringFlag{Name: "until", Usage: "only records before this `TIME`, written as for --since"},
	}
}

// query reads the filter, time and retention flags that the verb has.
func (c *call) query() (papyra.Query, error) {
	q := papyra.Query{
		Types:   c.flags.StringSlice("type"),
		Systems: c.flags.StringSlice("system"),
		Actors:  c.flags.StringSlice("actor"),
		Nodes:   c.flags.StringSlice("node"),
		Reverse: c.flags.Bool("reverse"),
	}
	var err error
	if s := c.flags.String("limit"); s != "" {
		// A flag of a whole number would take 010 for 8.
		if q.Limit, err = strconv.Atoi(s); err != nil {
			return q, usagef("--limit %q: give a number of records, or 0 for all", s)
		}
	}
	if q.Limit < 0 {
		return q, usagef("--limit %d is negative: give a number of records, or 0 for all", q.Limit)
	}
	now := c.now()
	if s := c.flags.String("since"); s != "" {
		if q.Since, err = human.ParseTime(s, now); err != nil {
			return q, usagef("--since: %v", err)
		}
	}
	if s := c.flags.String("until"); s != "" {
		if q.Until, err = human.ParseTime(s, now); err != nil {
			return q, usagef("--until: %v", err)
		}
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return q, usagef("--since %s is not before --until %s: nothing could match", c.flags.String("since"), c.flags.String("until"))
	}
	q.Retention, q.At, err = c.retention(cli.Retention)
	return q, err
}

// inspectResult is the part of the JSON that follows the records.
type inspectResult struct {
	Shown     int64                     `json:"shown"`
	Damaged   int64                     `json:"damaged"` // lines passed over
	Retention map[string]inspect.Limits `json:"retention"`
}

func (c *call) inspect(kind papyra.Kind) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	q.Kinds = []papyra.Kind{kind}
	switch {
	case kind == papyra.KindAudit && len(q.Types) > 0:
		return usagef("audits have no type: leave --type out")
	case (kind == papyra.KindAudit || kind == papyra.KindReport) && len(q.Actors) > 0:
		return usagef("%s have no actor: leave --actor out", kind.Category())
	}
	stores, err := c.openAll()
	if err != nil {
		return err
	}
	defer closeAll(stores)
	if c.flags.Bool("follow") {
		return c.follow(kind, q, stores)
	}

	result := &inspectResult{Retention: inspect.RetentionLimits(q.Retention)}
	show := c.recordTable(kind)
	if c.json {
		show = c.recordJSON()
	}
	sources, err := inspect.Read(c.ctx, stores, q, func(rec *papyra.Record) error {
		result.Shown++
		return show.addRecord(rec)
	})
	if err == nil {
		err = show.finish()
	}
	c.result = result
	result.Damaged = c.noteSources(sources)
	if !q.Retention.IsZero() && !c.json {
		// It may come from the environment, where it is easily forgotten.
		c.messages = append(c.messages, "shown under retention "+cli.ShowRetention(q.Retention))
	}
	if result.Shown == 0 && len(c.conditions) == 0 && !c.json {
		c.messages = append(c.messages, "no "+strings.ReplaceAll(kind.Category(), "_", " ")+" match")
	}
	return writeError(err)
}

// writeError returns the error of a reading that was ended early. Only a failed
// write to stdout ends one.
func writeError(err error) error {
	if err == nil {
		return nil
	}
	return outputError(err)
}

// noteSources notes what happened to the stores that were read, and returns how
// many damaged lines were passed over.
func (c *call) noteSources(sources []*inspect.Source) (damaged int64) {
	for _, s := range sources {
		damaged += s.Damaged
		if s.Err == nil {
			continue
		}
		if c.interrupted() {
			c.noteError(s.Err)
			return damaged
		}
		c.noteError(explain(s.Store, s.Err))
	}
	if damaged > 0 {
		c.messages = append(c.messages, human.Plural(damaged, "damaged line was", "damaged lines were")+" passed over: papyra-ctl scan --full names them")
	}
	return damaged
}

// recordShower shows records one by one.
type recordShower struct {
	addRecord func(*papyra.Record) error
	finish    func() error
}

// recordJSON writes the beginning of the object and the records in it, byte for
// byte; finish writes the rest.
func (c *call) recordJSON() recordShower { return c.recordJSONAs("records") }

func (c *call) recordJSONAs(rows string) recordShower {
	c.beginObject()
	_ = c.object.BeginRows(rows) // Row returns a failed write
	return recordShower{
		addRecord: func(rec *papyra.Record) error { return c.object.Row(rec.Line) },
		finish:    c.object.EndRows,
	}
}

func (c *call) recordTable(kind papyra.Kind) recordShower {
	when := column{title: "TIME (UTC)"}
	payload := column{title: "PAYLOAD", cut: true}
	var g *grid
	var cells func(rec *papyra.Record) []string
	switch kind {
	case papyra.KindAudit:
		g = newGrid(c.out, when, column{title: "SYSTEM"}, column{title: "NODE"},
			column{title: "ACTORS", right: true}, column{title: "ALIVE", right: true},
			column{title: "STOPPING", right: true}, column{title: "RESTARTING", right: true},
			column{title: "NAMES", right: true}, column{title: "ORPHANS", right: true},
			column{title: "DEAD", right: true}, column{title: "LETTERS", right: true})
		cells = auditCells
	case papyra.KindReport:
		// These are sentences. They are not cut, because the end may matter most.
		g = newGrid(c.out, when, column{title: "SYSTEM"}, column{title: "REPORT"}, column{title: "NODE"}, column{title: "SAYS"})
		cells = func(rec *papyra.Record) []string {
			return []string{human.Micros(rec.Time), string(rec.System), string(rec.Type), showNode(rec), inspect.ReportInWords(rec)}
		}
	case papyra.KindDeadLetter:
		g = newGrid(c.out, when, column{title: "MESSAGE"}, column{title: "TO"}, column{title: "NODE"}, payload)
		cells = factCells
	default:
		g = newGrid(c.out, when, column{title: "EVENT", color: eventColor}, column{title: "ACTOR"}, column{title: "NODE"}, payload)
		cells = factCells
	}
	return recordShower{
		addRecord: func(rec *papyra.Record) error { return g.addRow(cells(rec)...) },
		finish:    g.writePage,
	}
}

// eventColor is the colour of events that tell that something went wrong.
func eventColor(event string) string {
	switch event {
	case papyra.ActorCrashed:
		return red
	case papyra.ActorRestarted:
		return yellow
	}
	return ""
}

func factCells(rec *papyra.Record) []string {
	actor := showActor(rec)
	if sender, ok := rec.Sender(); ok {
		actor += " from " + sender.String()
	}
	return []string{human.Micros(rec.Time), string(rec.Type), actor, showNode(rec), string(rec.Payload)}
}

// showActor shows an address as system:id. Permissions bind a publisher to the
// system of its records, not to the system in an address: where they differ, both
// are shown.
func showActor(rec *papyra.Record) string {
	a, ok := rec.Address()
	if !ok {
		if len(rec.Actor) == 0 || string(rec.Actor) == "null" {
			return string(rec.System) + ":-"
		}
		return string(rec.Actor)
	}
	if a.System != string(rec.System) {
		return a.String() + " (said by " + string(rec.System) + ")"
	}
	return a.String()
}

func showNode(rec *papyra.Record) string {
	if len(rec.Node) == 0 {
		return "-"
	}
	return string(rec.Node)
}

func auditCells(rec *papyra.Record) []string {
	// A map, because the members of a struct would match in any case.
	var members map[string]json.RawMessage
	_ = json.Unmarshal(rec.Line, &members) // it is valid: the store has parsed the line
	number := func(name string) string {
		var n int64
		if json.Unmarshal(members[name], &n) != nil {
			return string(members[name])
		}
		return human.Count(n)
	}
	length := func(name string) string {
		var list []json.RawMessage
		_ = json.Unmarshal(members[name], &list)
		return human.Count(int64(len(list)))
	}
	return []string{
		human.Micros(rec.Time), string(rec.System), showNode(rec),
		number("total_actors"), number("alive_actors"), number("stopping_actors"), number("restarting_actors"),
		number("registry_size"), length("registry_orphans"), length("registry_dead"), number("dead_letters_count"),
	}
}
