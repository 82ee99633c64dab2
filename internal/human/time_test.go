package human

import (
	"fmt"
	"testing"
	"time"

	"github.com/papyra/papyra"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		in   string
		want string // RFC 3339, or "" for an error
	}{
		{"now", "2024-03-01T12:00:00Z"},
		{"2h", "2024-03-01T10:00:00Z"},
		{"7d", "2024-02-23T12:00:00Z"},
		{"1h30m", "2024-03-01T10:30:00Z"},
		{" 90s ", "2024-03-01T11:58:30Z"},
		{"2024-02-29", "2024-02-29T00:00:00Z"},
		{"2024-02-29 13:14", "2024-02-29T13:14:00Z"},
		{"2024-02-29 13:14:15.678", "2024-02-29T13:14:15.678Z"},
		{"2024-02-29T13:14:15", "2024-02-29T13:14:15Z"},
		{"2024-02-29T13:14:15Z", "2024-02-29T13:14:15Z"},
		{"2024-02-29T13:14:15.5+01:00", "2024-02-29T12:14:15.5Z"},
		{"2024-02-29 13:14:15+01:00", "2024-02-29T12:14:15Z"},
		{"1700000000", "2023-11-14T22:13:20Z"},
		{"1700000000.123456", "2023-11-14T22:13:20.123456Z"},
		{"0", "1970-01-01T00:00:00Z"},
		{"", ""},
		{"yesterday", ""},
		{"2023-02-29", ""},
		{"-2h", ""},
		{"2 hours", ""},
		{"1700000000.", ""},
		{"1700000000.1234567890", ""},
		{"1.7e9", ""},
		{"99999999999999", ""},
		{"0001-01-01", ""},
		{"100000d", ""},
		{"\x1b[31m", ""},
	} {
		got, err := ParseTime(tc.in, now)
		switch {
		case tc.want == "" && err == nil:
			t.Errorf("ParseTime(%q) = %s, want an error", tc.in, got.Format(time.RFC3339Nano))
		case tc.want != "" && err != nil:
			t.Errorf("ParseTime(%q): %v, want %s", tc.in, err, tc.want)
		case tc.want != "" && got.Format(time.RFC3339Nano) != tc.want:
			t.Errorf("ParseTime(%q) = %s, want %s", tc.in, got.Format(time.RFC3339Nano), tc.want)
		}
	}
}

// What a table shows can be given back as --since.
func TestShownTimeIsRead(t *testing.T) {
	for _, micros := range []int64{papyra.MinDate * 1e6, 1_700_000_000_123_000, 253_402_300_799_999_000} {
		got, err := ParseTime(Micros(micros), time.Unix(0, 0))
		if err != nil || got.UnixMicro() != micros {
			t.Errorf("ParseTime(%q) = %v, %v, want %d", Micros(micros), got, err, micros)
		}
	}
}

// A time that is no date is not shown as one.
func TestNoDateIsShown(t *testing.T) {
	for _, seconds := range []float64{0.5, 888.651, papyra.MinDate - 1} {
		want := fmt.Sprintf("no date: %.3f s", seconds)
		if Seconds(seconds) != want || Briefly(seconds) != want || Micros(int64(seconds*1e6)) != want {
			t.Errorf("got %q, %q, %q, want %q", Seconds(seconds), Briefly(seconds), Micros(int64(seconds*1e6)), want)
		}
	}
	if Seconds(papyra.MinDate) != "2001-09-09 01:46:40.000" || Seconds(0) != "-" || Micros(0) != "no date: 0.000 s" {
		t.Errorf("got %q, %q, %q", Seconds(papyra.MinDate), Seconds(0), Micros(0))
	}
}

func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{"2h", "2024-01-01", "1700000000.5", "2024-01-01T00:00:00Z", "now", "9e9"} {
		f.Add(seed)
	}
	now := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseTime(s, now); err == nil && (got.Year() < 1970 || got.Year() > 9999) {
			t.Fatalf("ParseTime(%q) = %v", s, got)
		}
	})
}
