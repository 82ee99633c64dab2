package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra"
)

func parseRetention(args ...string) (r papyra.Retention, code int, stderr string) {
	app := &urfave.App{Name: "tool", Flags: RetentionFlags(), Action: func(c *urfave.Context) (err error) {
		r, err = Retention(c)
		return err
	}}
	var out, errs bytes.Buffer
	code = Run(app, append([]string{"tool"}, args...), &out, &errs)
	return r, code, errs.String()
}

func TestRetention(t *testing.T) {
	var all papyra.Retention
	all.General = papyra.Limits{Records: 1000, Age: 7 * 24 * time.Hour, Bytes: 500e6}
	all.ByKind[papyra.KindDeadLetter] = papyra.Limits{Age: 30 * 24 * time.Hour}
	all.ByKind[papyra.KindReport] = papyra.Limits{Records: 50}
	for _, tt := range []struct {
		name string
		args []string
		want papyra.Retention
		text string
	}{
		{"none", nil, papyra.Retention{}, ""},
		{"zero is no limit", []string{"--keep-records", "0", "--keep-age", "0"}, papyra.Retention{}, ""},
		{
			"all",
			[]string{"--keep-records", "1000", "--keep-age", "7d", "--keep-bytes", "500MB", "--keep", "dead_letters.keep_age=30d", "--keep", "reports.keep_records=50"},
			all, "keep_records=1000 keep_age=7d keep_bytes=500000000 dead_letters.keep_age=30d reports.keep_records=50",
		},
		{"several in one", []string{"--keep", "events.keep_age=90m,keep_records=3"}, papyra.Retention{
			General: papyra.Limits{Records: 3}, ByKind: [papyra.KindCount]papyra.Limits{papyra.KindEvent: {Age: 90 * time.Minute}},
		}, "keep_records=3 events.keep_age=1h30m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, code, errs := parseRetention(tt.args...)
			if code != 0 || got != tt.want {
				t.Errorf("%q: %+v, code %d %s, want %+v", tt.args, got, code, errs, tt.want)
			}
			if text := ShowRetention(got); text != tt.text {
				t.Errorf("ShowRetention = %q, want %q", text, tt.text)
			}
		})
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		part string
	}{
		{"negative number", []string{"--keep-records", "-1"}, 78, "not a number of records"},
		{"negative age", []string{"--keep-age", "-7d"}, 78, "negative"},
		{"size", []string{"--keep-bytes", "50M"}, 78, "unknown unit"},
		{"category", []string{"--keep", "novels.keep_age=1d"}, 78, "unknown category"},
		{"limit", []string{"--keep", "events.max_age=1d"}, 78, "unknown limit"},
		{"twice", []string{"--keep-age", "1d", "--keep", "keep_age=2d"}, 78, "given twice"},
		{"no value", []string{"--keep", "events.keep_age"}, 64, "CATEGORY.LIMIT=VALUE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, code, errs := parseRetention(tt.args...); code != tt.code || !strings.Contains(errs, tt.part) {
				t.Errorf("%q: code %d, stderr %q, want %d with %q", tt.args, code, errs, tt.code, tt.part)
			}
		})
	}
}
