package human

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/papyra/papyra"
)

// TimeFormat is how tables show a time, always in UTC. [ParseTime] reads it.
const TimeFormat = "2006-01-02 15:04:05.000"

const whenHelp = "write 2h or 7d (ago), 2024-05-31, 2024-05-31T14:00:00Z, or Unix seconds (ten digits)"

// ParseTime reads a moment as an operator writes it: RFC 3339, a date or a date
// with a time (UTC), Unix seconds, a duration (so long before now), or "now".
func ParseTime(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "now" {
		return now, nil
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05.999999999",
		"2006-01-02T15:04", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return inRange(s, t.UTC())
		}
	}
	if t, ok := unixTime(s); ok {
		return inRange(s, t)
	}
	if d, err := ParseDuration(s); err == nil {
		return inRange(s, now.Add(-d))
	}
	return time.Time{}, fmt.Errorf("%q is not a time: %s", s, whenHelp)
}

// unixTime reads Unix seconds with up to nine digits of a fraction: 0, or ten
// digits, which are the years 2001 to 2286. Another number is more likely a date
// without its dashes, such as 20300101.
func unixTime(s string) (time.Time, bool) {
	whole, fraction, dotted := strings.Cut(s, ".")
	if dotted && (fraction == "" || len(fraction) > 9) || whole != "0" && (len(whole) != 10 || whole[0] == '0') {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseUint(whole, 10, 38)
	if err != nil {
		return time.Time{}, false
	}
	nanos, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 32)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), int64(nanos)).UTC(), true
}

// inRange refuses what no record can say.
func inRange(s string, t time.Time) (time.Time, error) {
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%q is not between the years 1970 and 9999: %s", s, whenHelp)
	}
	return t, nil
}

// Seconds shows a timestamp of a report, in Unix seconds; none is "-", and one that
// is no date is "no date: 12.500 s".
func Seconds(seconds float64) string {
	switch {
	case seconds == 0:
		return "-"
	case seconds < papyra.MinDate:
		return noDate(seconds)
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC().Format(TimeFormat)
}

// Briefly is [Seconds] without milliseconds.
func Briefly(seconds float64) string {
	if seconds < papyra.MinDate {
		return noDate(seconds)
	}
	return time.Unix(int64(seconds), 0).UTC().Format(time.DateTime)
}

func noDate(seconds float64) string { return fmt.Sprintf("no date: %.3f s", seconds) }

// Micros shows a record's timestamp, in Unix microseconds, as Seconds does.
func Micros(micros int64) string {
	if micros < papyra.MinDate*1e6 {
		return noDate(float64(micros) / 1e6)
	}
	return time.UnixMicro(micros).UTC().Format(TimeFormat)
}
