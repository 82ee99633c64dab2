package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/rejects"
)

func (t *tool) rejectsCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "rejects",
		Usage: "Show the lines that a sink did not take, and why",
		Description: describe(`Reads the reject file beside a store, or the one that the sink was given with
--rejects, with what a sink said of each line, the newest last. The line itself is
shown as text; control characters of it are escaped.`,
			[]string{
				"papyra-ctl inspect rejects --backend " + exampleStore + " --since 1h",
				"papyra-ctl inspect rejects --file /var/lib/papyra/rejects.ndjson --output json | jq -r '.rejects[].detail'",
			}, inspectCodes()...),
		Flags: withSinks(slices.Concat([]urfave.Flag{
			backendFlag(true),
			&urfave.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Usage: "the reject `FILE` itself, as papyra-sink --rejects names it; may be given more than once"},
		}, timeFlags(), []urfave.Flag{
			&urfave.StringFlag{Name: "limit", Aliases: []string{"n"}, Usage: "show only the newest `N` matches; 0 shows all"},
			&urfave.StringSliceFlag{Name: "reason", Usage: "only lines rejected for this `REASON`, such as missing_field; may be given more than once"},
			&urfave.StringSliceFlag{Name: "system", Usage: "only lines on a subject of the system with this id, `SYSTEM`; may be given more than once"},
			outputFlag(),
		})),
		Action: t.verbOn("inspect rejects", func(flags *urfave.Context) ([]string, error) {
			if asks, err := asksSinks(flags); asks || err != nil {
				return nil, err
			}
			if len(flags.StringSlice("backend")) == 0 && len(flags.StringSlice("file")) == 0 {
				return nil, usagef("no store is named: give --backend json:PATH, --file PATH, or --server URL")
			}
			return flags.StringSlice("backend"), nil
		}, (*call).rejects),
	}
}

// rejectRow is a reject as JSON shows it.
type rejectRow struct {
	Time    float64 `json:"time"`
	Subject string  `json:"subject"`
	Reason  string  `json:"reason"`
	Detail  string  `json:"detail,omitempty"`
	Length  int     `json:"length"`
	Raw     []byte  `json:"raw"`
	Text    string  `json:"text,omitempty"` // where Raw is UTF-8
}

func (c *call) rejects() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	files := c.flags.StringSlice("file")
	own, err := c.rejectFiles()
	if c.fetched != "" {
		defer func() { _ = os.Remove(c.fetched) }()
	}
	if err != nil {
		return err
	}
	list, damaged, err := rejects.Find(c.ctx, append(own, files...), rejects.Query{
		Since: q.Since, Until: q.Until, Limit: q.Limit, Systems: q.Systems, Reasons: c.flags.StringSlice("reason"),
	})
	if c.interrupted() {
		return c.ctx.Err()
	}
	if werr := c.showRejects(list); werr != nil {
		return outputError(werr)
	}
	if damaged > 0 {
		c.messages = append(c.messages, human.Plural(damaged, "line", "lines")+" of the reject file could not be read")
	}
	if len(list) == 0 && err == nil && !c.json {
		c.messages = append(c.messages, "no rejects match")
	}
	return err
}

// rejectFiles returns the reject files of the stores that were given. A store that has
// rejected nothing has none yet; one that does not exist is an error.
func (c *call) rejectFiles() (files []string, err error) {
	stores, err := c.openAll()
	if err != nil {
		return nil, err
	}
	defer closeAll(stores)
	if c.living != nil {
		path, err := c.fetchRejects(stores)
		c.fetched = path
		return []string{path}, err
	}
	for _, store := range stores {
		file := store.RejectFile()
		if file == "" {
			return nil, usagef("%s keeps no reject file beside it: give --file with the FILE of papyra-sink --rejects", store.URL())
		}
		// One reject tells that there is a file.
		if _, err := rejects.Read(c.ctx, file, func(*rejects.Reject) error { return errEnough }); errors.Is(err, papyra.ErrNotFound) {
			_, err := store.Read(c.ctx, papyra.Query{Limit: 1}, func(*papyra.Record, papyra.Place) error { return nil })
			if errors.Is(err, papyra.ErrNotFound) {
				return nil, explain(store, err)
			}
			continue
		}
		files = append(files, file)
	}
	return files, nil
}

func (c *call) showRejects(list []*rejects.Reject) error {
	if c.json {
		c.beginObject()
		_ = c.object.BeginRows("rejects") // Row returns a failed write
		for _, r := range list {
			row := rejectRow{
				Time: float64(r.Time.UnixMicro()) / 1e6, Subject: r.Subject, Reason: string(r.Reason), Detail: r.Detail, Length: r.Length, Raw: r.Raw,
			}
			if utf8.Valid(r.Raw) {
				row.Text = string(r.Raw)
			}
			if err := c.object.RowOf(row); err != nil {
				return err
			}
		}
		return nil
	}
	g := newGrid(c.out, column{title: "TIME (UTC)"}, column{title: "SUBJECT"}, column{title: "BYTES", right: true}, column{title: "A SINK SAID"}, column{title: "LINE", cut: true})
	for _, r := range list {
		said := r.Detail
		if said == "" {
			said = string(r.Reason)
		}
		subject := strings.TrimPrefix(r.Subject, "papyra.v1.records.")
		if err := g.addRow(human.Micros(r.Time.UnixMicro()), subject, human.Count(int64(r.Length)), said, string(r.Raw)); err != nil {
			return err
		}
	}
	return g.writePage()
}
