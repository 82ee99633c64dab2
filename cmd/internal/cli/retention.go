package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
)

// RetentionFlags returns the flags that say what is kept of each stream. The
// limit of one category is written as in a URL: --keep dead_letters.keep_age=30d.
func RetentionFlags() []urfave.Flag {
	const category = "Retention, for each system and category"
	return []urfave.Flag{
		&urfave.StringFlag{Name: "keep-records", EnvVars: []string{"PAPYRA_KEEP_RECORDS"}, Category: category, Usage: "keep the newest `N` records; 0 is no limit"},
		&urfave.StringFlag{Name: "keep-age", EnvVars: []string{"PAPYRA_KEEP_AGE"}, Category: category, Usage: "keep records that are not older than `AGE`, such as 30d or 12h"},
		&urfave.StringFlag{Name: "keep-bytes", EnvVars: []string{"PAPYRA_KEEP_BYTES"}, Category: category, Usage: "keep the newest records that fit into `SIZE`, such as 500MB or 2GiB"},
		&urfave.StringSliceFlag{Name: "keep", EnvVars: []string{"PAPYRA_KEEP"}, Category: category, Usage: "a `LIMIT` of one category instead of the general one, such as dead_letters.keep_age=30d; may be given more than once; the general limits do not apply to reports"},
	}
}

// Retention reads the flags of [RetentionFlags]. An error wraps papyra.ErrUsage
// for a flag that cannot be read, and papyra.ErrConfig for a limit that does not
// exist or has a wrong value.
func Retention(c *urfave.Context) (papyra.Retention, error) {
	return retention(c, func(string) bool { return true })
}

// RetentionGiven is [Retention] of the flags of the command line alone: a limit in
// the environment may have been meant as a filter.
func RetentionGiven(c *urfave.Context) (papyra.Retention, error) {
	return retention(c, func(flag string) bool { return !FromEnvironment(c, flag) })
}

func retention(c *urfave.Context, counts func(flag string) bool) (papyra.Retention, error) {
	var r papyra.Retention
	given := map[string]bool{}
	set := func(name, value string) error {
		if given[name] {
			return ConfigErrorf("%s is given twice", name)
		}
		given[name] = true
		if err := SetLimit(&r, name, value); err != nil {
			return ConfigErrorf("%s=%s: %v", name, value, err)
		}
		return nil
	}
	for _, limit := range []string{"keep_records", "keep_age", "keep_bytes"} {
		flag := strings.ReplaceAll(limit, "_", "-")
		if value := c.String(flag); value != "" && counts(flag) {
			if err := set(limit, value); err != nil {
				return r, err
			}
		}
	}
	// Commas separate limits, so that the environment can hold more than one.
	var own []string
	if counts("keep") {
		own = c.StringSlice("keep")
	}
	for item := range strings.SplitSeq(strings.Join(own, ","), ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, value, ok := strings.Cut(item, "=")
		if !ok {
			return r, UsageErrorf("--keep %q: write CATEGORY.LIMIT=VALUE, such as dead_letters.keep_age=30d", item)
		}
		if err := set(name, value); err != nil {
			return r, err
		}
	}
	return r, nil
}

// SetLimit sets one limit of r by its name in URLs: "keep_age", or
// "dead_letters.keep_age" for one category.
func SetLimit(r *papyra.Retention, name, value string) error {
	limits, limit := &r.General, name
	if category, own, ok := strings.Cut(name, "."); ok {
		kind := papyra.ParseCategory(category)
		if kind == papyra.KindUnknown {
			return fmt.Errorf("unknown category %q: write events, audits, dead_letters or reports", category)
		}
		limits, limit = &r.ByKind[kind], own
	}
	var err error
	switch limit {
	case "keep_records":
		if limits.Records, err = strconv.ParseInt(value, 10, 64); err != nil || limits.Records < 0 {
			return fmt.Errorf("%q is not a number of records: write it like 100000", value)
		}
	case "keep_age":
		limits.Age, err = human.ParseDuration(value)
	case "keep_bytes":
		limits.Bytes, err = human.ParseSize(value)
	default:
		return fmt.Errorf("unknown limit %q: write keep_records, keep_age or keep_bytes", limit)
	}
	return err
}

// ShowRetention writes r as its parameters: "keep_records=1000
// dead_letters.keep_age=720h0m0s".
func ShowRetention(r papyra.Retention) string {
	var parts []string
	show := func(prefix string, l papyra.Limits) {
		if l.Records > 0 {
			parts = append(parts, fmt.Sprintf("%skeep_records=%d", prefix, l.Records))
		}
		if l.Age > 0 {
			parts = append(parts, prefix+"keep_age="+showDuration(l.Age))
		}
		if l.Bytes > 0 {
			parts = append(parts, fmt.Sprintf("%skeep_bytes=%d", prefix, l.Bytes))
		}
	}
	show("", r.General)
	for _, k := range papyra.Kinds() {
		show(k.Category()+".", r.ByKind[k])
	}
	return strings.Join(parts, " ")
}

// showDuration writes whole days as days.
func showDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
