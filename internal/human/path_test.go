package human

import (
	"testing"
	"time"
)

func testNow() time.Time { return time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC) }

func TestCheckPath(t *testing.T) {
	for _, path := range []string{"", "a", "/var/lib/papyra/records.ndjson", "a b", "./~", "dir/~x", "a~", "\x01", "r\xff"} {
		if err := CheckPath(path); err != nil {
			t.Errorf("CheckPath(%q): %v", path, err)
		}
	}
	for _, path := range []string{"a\r", "a\n", "a\r\n", "a ", "a\t", " a", "\na", "~", "~/a", "~user/a", "a\u00a0"} {
		if CheckPath(path) == nil {
			t.Errorf("CheckPath(%q) is nil, want an error", path)
		}
	}
}

// A date without its dashes is no number of seconds: as one it is a day of 1970,
// and everything would match.
func TestParseTimeRefusesDatesThatLookLikeSeconds(t *testing.T) {
	for _, s := range []string{"2030", "203001", "20300101", "20240531", "999999999", "202405311400", "20240531140000", "00001700000000", "1", "20300101.5"} {
		if got, err := ParseTime(s, testNow()); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", s, got)
		}
	}
	for s, want := range map[string]int64{"0": 0, "1000000000": 1e9, "1700000000": 1.7e9, "9999999999": 9999999999} {
		if got, err := ParseTime(s, testNow()); err != nil || got.Unix() != want {
			t.Errorf("ParseTime(%q) = %v, %v, want %d", s, got, err, want)
		}
	}
}

func TestNumbersAreDecimal(t *testing.T) {
	if n, err := ParseSize("010MB"); err != nil || n != 10_000_000 {
		t.Errorf("ParseSize(010MB) = %d, %v", n, err)
	}
	if d, err := ParseDuration("010s"); err != nil || d.Seconds() != 10 {
		t.Errorf("ParseDuration(010s) = %v, %v", d, err)
	}
}
