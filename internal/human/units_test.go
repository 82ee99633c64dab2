package human

import (
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "4096": 4096, "50MB": 50_000_000, "50 mb": 50_000_000, "64MiB": 64 << 20, "1.5GB": 1_500_000_000,
		"1kB": 1000, "1KiB": 1024, "2TiB": 2 << 40, "7B": 7, "9223372036854775807": 1<<63 - 1, "0.5KiB": 512,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for in, part := range map[string]string{
		"": "no number", "MB": "no number", "-1": "negative", "-5MB": "negative", "50M": "unknown unit", "1.5": "whole number",
		"9223372036854775808": "too large", "99999999TB": "too large", "1e3": "unknown unit", "0x10": "unknown unit",
		"1..2": "not a number", "5MB MB": "unknown unit", "1e999999999": "unknown unit", strings.Repeat("9", 40): "no number",
	} {
		if got, err := ParseSize(in); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("ParseSize(%q) = %d, %v, want an error with %q", in, got, err, part)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "7d": 7 * 24 * time.Hour, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond,
		"2w": 14 * 24 * time.Hour, "1.5h": 90 * time.Minute, "1d12h": 36 * time.Hour, "3us": 3 * time.Microsecond, "10µs": 10 * time.Microsecond,
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for in, part := range map[string]string{
		"": "empty", "5": "unknown unit", "-1h": "negative", "1h-30m": "negative", "7 days": "unknown unit", "d": "no number",
		"999999d": "too large", "200000d200000d": "too", "1.5ns": "whole number",
	} {
		if got, err := ParseDuration(in); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("ParseDuration(%q) = %v, %v, want an error with %q", in, got, err, part)
		}
	}
}
