package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/account"
)

// recordsAre is "1 record is", "12 records are".
func recordsAre(n uint64) string {
	if n == 1 {
		return "1 record is"
	}
	return human.Count(n) + " records are"
}

// recordsWere is "1 record was", "12 records were".
func recordsWere(n uint64) string {
	if n == 1 {
		return "1 record was"
	}
	return human.Count(n) + " records were"
}

// showAccount shows an account: the verdict, the runs, what the reasons mean,
// the gaps, and what to do next.
func (c *call) showAccount(r *account.Result) {
	s := c.out
	c.showBalance(r)
	hidden := c.showAccountRuns(r)
	c.showReasons(r, hidden)
	if c.flags.Bool("ranges") {
		c.showGaps(r)
	} else {
		c.showIncidents(r)
	}
	switch {
	case len(r.Absent) == 0 && r.Total.Missing == 0 && r.Total.Late > 0:
		command := c.accountCommandOn("accept-start", r, "group")
		c.showNext(strings.Join(command, " "), "says that this is as it should be, as for a new group")
	case len(r.Absent) > 0 || r.Total.Missing == 0:
	case len(r.Gaps) == 0:
		command := c.accountCommandOn("account", r, "group", "system", "settle", "since")
		for _, id := range c.flags.StringSlice("without") {
			command = append(command, "--without", human.ShellQuote(id))
		}
		c.showNext(strings.Join(append(command, "--gaps"), " "), "shows which numbers are missing, when, and the probable cause")
	default:
		s.printf("\nIs every store of the group given? What another worker holds looks lost.\n")
	}
}

// accountCommandOn returns a command on the same stores, with those of some flags
// that are set.
func (c *call) accountCommandOn(verb string, r *account.Result, flags ...string) []string {
	command := []string{verb}
	for _, store := range r.Stores {
		command = append(command, "--backend", human.ShellQuote(store.Name))
	}
	for _, name := range flags {
		if c.flags.IsSet(name) {
			command = append(command, "--"+name, human.ShellQuote(c.flags.String(name)))
		}
	}
	return command
}

// showBalance shows the verdict, and which group, stores and time it is about.
func (c *call) showBalance(r *account.Result) {
	s := c.out
	if r.Verdict == account.Incomplete {
		s.printf("%s  what counts as missing may lie in what was not read\n", s.paint(yellow, "INCOMPLETE"))
		for _, store := range r.Stores {
			if store.Judged && store.Incomplete {
				s.printf("  not read: %s: %s\n", store.Name, store.Problem)
			}
		}
		if r.TooLargeTotal > 0 || r.TooManySystems {
			s.printf("  not judged: %s\n", r.ShowTooLarge())
		}
		for _, a := range r.Absent {
			s.printf("  not given: store %s of instance %s: add it with --backend, or --without %s if it never was\n", a.ID, absentPlace(&a), human.ShellQuote(a.ID))
		}
	}
	unjudged := r.Unjudged.Lines()
	switch {
	case r.Total.Missing > 0:
		s.printf("%s  %s missing without a reason\n", s.paint(red, "MISSING"), recordsAre(r.Total.Missing))
	case r.Verdict == account.StartsLate:
		s.printf("%s  %s confirmed before the store begins: it lost its beginning, or its group is new\n", s.paint(red, "STARTS LATE"), recordsWere(r.Total.Late))
	case r.Verdict == account.Missing && r.UnreadMessages > 0:
		s.printf("%s  a sink ended with %s unread: what they held is not known\n", s.paint(red, "MISSING"), human.Plural(int64(r.UnreadMessages), "message", "messages"))
	case r.Verdict == account.Balanced && r.Total.Pending > 0:
		s.printf("%s  nothing is missing yet; %s pending: ask again in a minute\n", s.paint(green, "accounted for"), recordsAre(r.Total.Pending))
	case r.Verdict == account.Balanced && judgedNumbers(r) == 0 && unjudged > 0:
		s.printf("%s  no record here has a number: %s\n", s.paint(yellow, "NOT JUDGED"), showUnjudged(&r.Unjudged))
	case r.Verdict == account.Balanced && unjudged > 0:
		s.printf("%s  every record that has a number is accounted for; not judged: %s\n", s.paint(green, "accounted for"), showUnjudged(&r.Unjudged))
	case r.Verdict == account.Balanced:
		s.printf("%s  every record is accounted for\n", s.paint(green, "accounted for"))
	default:
		s.printf("nothing is missing in what could be read\n")
	}
	judged := 0
	for _, store := range r.Stores {
		if store.Judged {
			judged++
		}
	}
	group := "unknown group"
	if r.Group != "" {
		group = "group " + r.Group
	}
	s.printf("%s, %s, %s of publishers", group, human.Plural(int64(judged), "store", "stores"), human.Plural(int64(publishers(r)), "run", "runs"))
	if r.Since > 0 {
		s.printf(", since %s", human.Seconds(r.Since))
	}
	s.printf(", judged at %s UTC\n", human.Seconds(r.At))
	for _, store := range r.Stores {
		if !store.Judged {
			s.printf("left out: %s is of group %s\n", store.Name, strings.Join(store.Groups, ", "))
		}
	}
}

// judgedNumbers returns the most numbers that the account judged of a run of a
// publisher; 0 means that it judged none.
func judgedNumbers(r *account.Result) (n uint64) {
	for _, run := range r.Runs {
		if run.System != papyra.SystemReserved {
			for i := range run.Categories {
				n = max(n, run.Categories[i].Accepted)
			}
		}
	}
	return n
}

// showUnjudged lists the lines without a number: "54 unsealed records, 4 damaged lines".
func showUnjudged(u *account.Unjudged) string {
	var parts []string
	add := func(n uint64, one, many string) {
		if n == 1 {
			many = one
		}
		if n > 0 {
			parts = append(parts, human.Count(n)+" "+many)
		}
	}
	add(u.Unsealed, "unsealed record", "unsealed records")
	add(u.UnknownKind, "record of an unknown kind", "records of an unknown kind")
	add(u.Damaged, "damaged line", "damaged lines")
	add(u.Rejected, "rejected line", "rejected lines")
	add(u.Dropped, "dropped record without a seal", "dropped records without a seal")
	return strings.Join(parts, ", ")
}

func publishers(r *account.Result) (n int) {
	for _, run := range r.Runs {
		if run.System != papyra.SystemReserved {
			n++
		}
	}
	return n
}

// maxAccountRows bounds the table of runs; the JSON has all.
const maxAccountRows = 100

// accountRow is one category of a run.
type accountRow struct {
	run *account.Run
	*account.Category
}

// whole reports whether every record is stored, and nothing else is to be said.
func (a accountRow) whole() bool { return a.Stored == a.Accepted && a.Conflicts+a.Unverified == 0 }

// showAccountRuns shows the runs, those with missing records first, and returns how
// many rows it did not show, all of them whole or beyond the bound.
func (c *call) showAccountRuns(r *account.Result) (hidden int) {
	var rows []accountRow
	for i := range r.Runs {
		for k := range r.Runs[i].Categories {
			row := accountRow{&r.Runs[i], &r.Runs[i].Categories[k]}
			if row.run.System == papyra.SystemReserved && row.Missing+row.Conflicts == 0 {
				continue // the pipeline's own reports, as they should be
			}
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return 0
	}
	rank := func(a accountRow) int {
		switch {
		case a.Missing > 0:
			return 0
		case !a.whole():
			return 1
		}
		return 2
	}
	slices.SortStableFunc(rows, func(a, b accountRow) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Missing, a.Missing))
	})
	if hidden = len(rows) - maxAccountRows; hidden > 0 {
		rows = rows[:maxAccountRows]
	}
	c.out.printf("\n")
	columns := accountColumns(r)
	titles := []column{{title: "SYSTEM"}, {title: "NODE"}, {title: "RUN"}, {title: "STATE"}, {title: "CATEGORY"}}
	for _, col := range columns {
		titles = append(titles, column{title: col.title, right: true, color: col.color})
	}
	g := newGrid(c.out, titles...)
	for _, row := range rows {
		cells := []string{orDash(row.run.System), orDash(row.run.Node), row.run.Run, string(row.run.State), row.Category.Category}
		for _, col := range columns {
			cells = append(cells, human.Count(col.value(&row.Counts)))
		}
		_ = g.addRow(cells...)
	}
	_ = g.writePage() // finish reports a failed write
	return max(hidden, 0)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// accountColumn is one number of an account.
type accountColumn struct {
	title string
	value func(*account.Counts) uint64
	color func(cell string) string
}

// accountColumns returns the columns that have a number other than 0, and the
// three that every account shows.
func accountColumns(r *account.Result) []accountColumn {
	all := []accountColumn{
		{title: "ACCEPTED", value: func(c *account.Counts) uint64 { return c.Accepted }},
		{title: "STORED", value: func(c *account.Counts) uint64 { return c.Stored }},
		{title: "UNVERIFIED", value: func(c *account.Counts) uint64 { return c.Unverified }},
		{title: "DROPPED", value: (*account.Counts).DroppedTotal},
		{title: "REMOVED", value: (*account.Counts).RemovedTotal},
		{title: "FILTERED", value: func(c *account.Counts) uint64 { return c.Filtered }},
		{title: "BEFORE", value: func(c *account.Counts) uint64 { return c.Before }},
		{title: "PENDING", value: func(c *account.Counts) uint64 { return c.Pending }},
		{title: "MISSING", value: func(c *account.Counts) uint64 { return c.Missing }, color: func(cell string) string {
			if cell == "0" {
				return ""
			}
			return red
		}},
		{title: "DUPLICATES", value: func(c *account.Counts) uint64 { return c.Duplicates }},
		{title: "CONFLICTS", value: func(c *account.Counts) uint64 { return c.Conflicts }},
	}
	return slices.DeleteFunc(all, func(col accountColumn) bool {
		always := col.title == "ACCEPTED" || col.title == "STORED" || col.title == "MISSING"
		return !always && col.value(&r.Total) == 0
	})
}

// reasonTexts says in half a line what a reason means and asks for.
var reasonTexts = map[papyra.DropReason]string{
	papyra.DropQueueFull:    "the publisher's buffer was full: the broker or the sinks did not keep up",
	papyra.DropTooLarge:     "longer than the broker or the format takes: record less",
	papyra.DropEncode:       "a value that cannot be written: fix the program that records it",
	papyra.DropClosed:       "left in the buffer when the time of Close was up: give it longer",
	papyra.DropSinkFull:     "the store did not keep up with the sink: add workers, or a faster store",
	papyra.DropSpoolFull:    "the store was down, and the sink's spool full: make it larger",
	papyra.DropSinkStopped:  "left in the sink when its time to stop was up: give it longer",
	papyra.DropSinkRejected: "the line failed the checks: the reject file has it",
	papyra.DropUnheardBy:    "no sink of the group answered while the publisher could keep it: another group may have it",
}

var actTexts = map[string]string{
	papyra.ActCompact: "by a compaction",
	papyra.ActRotate:  "by the bound of a rotating store",
	papyra.ActRecover: "damaged: a recovery put it into quarantine",
}

// showReasons says what the numbers of the table mean.
func (c *call) showReasons(r *account.Result, hidden int) {
	s := c.out
	t := &r.Total
	if hidden > 0 {
		s.printf("and %s: --output json lists them\n", human.Plural(int64(hidden), "more row", "more rows"))
	}
	var lines [][3]string
	add := func(what string, n uint64, text string) {
		if n > 0 {
			lines = append(lines, [3]string{what, human.Count(n), text})
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(t.Dropped)) {
		add("dropped "+string(reason), t.Dropped[reason], reasonTexts[reason])
	}
	for _, act := range slices.Sorted(maps.Keys(t.Removed)) {
		add("removed "+act, t.Removed[act], actTexts[act])
	}
	add("filtered", t.Filtered, "the group does not take this system or category")
	add("before", t.Before, "taken before the group first took the stream: not judged")
	add("late", t.Late, "of these, confirmed by a broker before the store begins")
	add("unverified", t.Unverified, "of the stored ones, rewritten so that no checksum vouches for them: scan --output json names them")
	add("pending", t.Pending, fmt.Sprintf("younger than %s, or in the buffer of a live publisher: ask again later", time.Duration(r.Settle*float64(time.Second))))
	add("spooled", t.Spooled, "of the pending ones, in the spool of a sink whose store was down")
	add("duplicates", t.Duplicates, "copies of records, sent again: readers show one")
	add("conflicts", t.Conflicts, "other records with the number of one: scan --full finds them")
	states := map[account.RunState]uint64{}
	for _, run := range r.Runs {
		if run.System != papyra.SystemReserved {
			states[run.State]++
		}
	}
	add("runs open", states[account.RunOpen], "still live: they may have taken more since")
	add("runs ended", states[account.RunEnded], "without a final report: what they took above the highest number is unknown")
	u := &r.Unjudged
	add("no number", u.Unsealed+u.UnknownKind, "stored records without a seal, or of an unknown kind: not in the account")
	add("damaged", u.Damaged, "lines that have lost their number: scan shows them")
	add("rejected", u.Rejected, "lines without a number that a sink refused: the reject file has them")
	add("dropped, no number", u.Dropped, "records without a number that a sink dropped")
	for i := range r.Doubts {
		d := &r.Doubts[i]
		add("not believed", d.Reports, fmt.Sprintf("reports of %s: %s (the first: %s %d of run %s)", d.System, d.Why.Text(), d.Report, d.Seq, d.Run))
	}
	add("unread messages", r.UnreadMessages, "of NATS, left in a sink when its time to stop was over; among the lost ones")
	add("lost messages", r.LostMessages, "of NATS, thrown away in a sink before anybody read them")
	if len(lines) > 0 {
		s.printf("\n")
		g := newGrid(s, column{title: "WHAT"}, column{title: "NUMBER", right: true}, column{title: "MEANING", cut: true})
		for _, line := range lines {
			_ = g.addRow(line[0], line[1], line[2])
		}
		_ = g.writePage()
	}
	for _, sp := range r.Spools {
		s.printf("\nnote: %s wait in the spool %s of %s, as it said at %s: they come when its store does\n",
			human.Plural(sp.Records, "record", "records"), sp.Dir, sp.Instance, human.Seconds(sp.At))
	}
	for _, note := range r.Notes {
		s.printf("\nnote: %s\n", note)
	}
}

// showGaps lists the missing ranges.
func (c *call) showGaps(r *account.Result) {
	if len(r.Gaps) == 0 {
		return
	}
	s := c.out
	s.printf("\n")
	g := newGrid(s,
		column{title: "GAP IN"}, column{title: "RUN"}, column{title: "CATEGORY"}, column{title: "NUMBERS"},
		column{title: "MISSING", right: true}, column{title: "AFTER (UTC)"}, column{title: "BEFORE (UTC)"},
		column{title: "PROBABLE CAUSE", cut: true})
	for i := range r.Gaps {
		gap := &r.Gaps[i]
		numbers := strconv.FormatUint(gap.First, 10)
		if gap.Last > gap.First {
			numbers += "-" + strconv.FormatUint(gap.Last, 10)
		}
		count := human.Count(gap.Count)
		if gap.Partly {
			count = fmt.Sprintf("%d of %d", gap.Missing, gap.Of)
		}
		_ = g.addRow(orDash(gap.System)+" "+orDash(gap.Node), gap.Run, gap.Category, numbers, count,
			human.Seconds(gap.After), human.Seconds(gap.Before), showCauses(gap))
	}
	_ = g.writePage()
	if more := r.GapsTotal - uint64(len(r.Gaps)); more > 0 {
		s.printf("and %s more gaps\n", human.Count(more))
	}
}

// showCauses lists the probable causes of a gap: "disconnection 2024-01-01T12:00:01 to 2024-01-01T12:00:04, damage".
func showCauses(gap *account.Gap) string {
	parts := make([]string, len(gap.Causes))
	for i, cause := range gap.Causes {
		parts[i] = string(cause)
		switch cause {
		case account.CauseDisconnection:
			parts[i] += showTimes(gap.Outages)
		case account.CauseNoSink:
			parts[i] += showTimes(gap.Downtimes)
		case account.CauseStoreForgot:
			if n := len(gap.Rollbacks); n > 0 {
				parts[i] += " noticed at " + human.Seconds(gap.Rollbacks[n-1].At)
			}
		case account.CauseQuarantined:
			if n := len(gap.Quarantines); n > 0 {
				last := gap.Quarantines[n-1]
				parts[i] += fmt.Sprintf(" (perhaps of %s, act %s)", human.Plural(last.Lines, "line", "lines"), last.Act)
			}
		}
	}
	return strings.Join(parts, ", ")
}

// showTimes shows the time from the beginning of the first outage to the end of
// the last.
func showTimes(list []papyra.Outage) string {
	if len(list) == 0 {
		return ""
	}
	end := "now"
	if last := list[len(list)-1]; last.To > 0 {
		end = human.Seconds(last.To)
	}
	return " " + human.Seconds(list[0].From) + " to " + end
}
