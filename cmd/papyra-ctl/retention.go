package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
)

// retentionFlags are the limits that compact and inspect apply. A limit of one
// category is written as in a URL: --keep dead_letters.keep_age=30d.
func retentionFlags() []urfave.Flag {
	const category = "Retention, for each system and category"
	return []urfave.Flag{
		&urfave.StringFlag{Name: "keep-records", EnvVars: []string{"PAPYRA_KEEP_RECORDS"}, Category: category, Usage: "the newest `N`; 0 is no limit"},
		&urfave.StringFlag{Name: "keep-age", EnvVars: []string{"PAPYRA_KEEP_AGE"}, Category: category, Usage: "what is not older than `AGE`, as 30d or 12h"},
		&urfave.StringFlag{Name: "keep-bytes", EnvVars: []string{"PAPYRA_KEEP_BYTES"}, Category: category, Usage: "the newest that fit in `SIZE`, as 500MB or 2GiB"},
		&urfave.StringSliceFlag{Name: "keep", EnvVars: []string{"PAPYRA_KEEP"}, Category: category, Usage: "one category's own `LIMIT`, as dead_letters.keep_age=30d; may be given more than once; reports have no other"},
		&urfave.StringFlag{Name: "at", Category: category, Usage: "the `TIME` that ages are measured from (default: now)"},
	}
}

// retention reads the flags of retentionFlags. The time is the moment of the
// view. An error wraps papyra.ErrUsage, or papyra.ErrConfig for a value that no
// limit can have.
func (c *call) retention() (papyra.Retention, time.Time, error) {
	var r papyra.Retention
	at := c.now()
	if s := c.flags.String("at"); s != "" {
		t, err := parseTime(s, at)
		if err != nil {
			return r, at, usagef("--at: %v", err)
		}
		at = t
	}
	given := map[string]bool{}
	set := func(name, value, flag string) error {
		if given[name] {
			return fmt.Errorf("%w: %s is given twice", papyra.ErrConfig, name)
		}
		given[name] = true
		if err := setLimit(&r, name, value); err != nil {
			return fmt.Errorf("%w: %s: %w", papyra.ErrConfig, flag, err)
		}
		return nil
	}
	for _, limit := range []string{"keep_records", "keep_age", "keep_bytes"} {
		flag := strings.ReplaceAll(limit, "_", "-")
		if value := c.flags.String(flag); value != "" {
			if err := set(limit, value, "--"+flag); err != nil {
				return r, at, err
			}
		}
	}
	for _, item := range c.flags.StringSlice("keep") {
		for pair := range strings.SplitSeq(item, ",") {
			name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
			if !ok {
				return r, at, usagef("--keep %q: write CATEGORY.LIMIT=VALUE, as dead_letters.keep_age=30d", pair)
			}
			if err := set(name, value, "--keep "+name); err != nil {
				return r, at, err
			}
		}
	}
	return r, at, nil
}

// setLimit sets "keep_age" or "dead_letters.keep_age" in r.
func setLimit(r *papyra.Retention, name, value string) error {
	limits, limit := &r.General, name
	if category, rest, ok := strings.Cut(name, "."); ok {
		kind := papyra.ParseCategory(category)
		if kind == papyra.KindUnknown {
			return fmt.Errorf("unknown category %q: write events, audits, dead_letters or reports", category)
		}
		limits, limit = &r.ByKind[kind], rest
	}
	var err error
	switch limit {
	case "keep_records":
		if limits.Records, err = strconv.ParseInt(value, 10, 64); err != nil || limits.Records < 0 {
			return fmt.Errorf("%q is not a number of records: write it like 100000", value)
		}
	case "keep_age":
		limits.Age, err = cli.ParseDuration(value)
	case "keep_bytes":
		limits.Bytes, err = cli.ParseSize(value)
	default:
		return fmt.Errorf("unknown limit %q: write keep_records, keep_age or keep_bytes", limit)
	}
	return err
}

// limitsJSON is the retention in force as JSON shows it: general limits and
// those of a category, only where there are any, ages in seconds.
type limitsJSON struct {
	KeepRecords int64   `json:"keep_records,omitempty"`
	KeepAge     float64 `json:"keep_age,omitempty"`
	KeepBytes   int64   `json:"keep_bytes,omitempty"`
}

// retentionJSON maps "general" and categories to limits.
func retentionJSON(r papyra.Retention) map[string]limitsJSON {
	out := map[string]limitsJSON{}
	add := func(name string, l papyra.Limits) {
		if !l.IsZero() {
			out[name] = limitsJSON{l.Records, l.Age.Seconds(), l.Bytes}
		}
	}
	add("general", r.General)
	for _, k := range papyra.Kinds() {
		add(k.Category(), r.ByKind[k])
	}
	return out
}

// showRetention is "keep_records 1,000, dead_letters.keep_age 30d", or "" when
// nothing is limited.
func showRetention(r papyra.Retention) string {
	var parts []string
	add := func(prefix string, l papyra.Limits) {
		if l.Records > 0 {
			parts = append(parts, prefix+"keep_records "+showCount(l.Records))
		}
		if l.Age > 0 {
			parts = append(parts, prefix+"keep_age "+showAge(l.Age))
		}
		if l.Bytes > 0 {
			parts = append(parts, prefix+"keep_bytes "+showBytes(l.Bytes))
		}
	}
	add("", r.General)
	for _, k := range papyra.Kinds() {
		add(k.Category()+".", r.ByKind[k])
	}
	return strings.Join(parts, ", ")
}

// showAge is a duration as ParseDuration reads it, whole days as days.
func showAge(d time.Duration) string {
	const day = 24 * time.Hour
	if days := d / day; days > 0 && d%day == 0 {
		return strconv.FormatInt(int64(days), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}
