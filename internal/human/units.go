// Package human reads sizes and durations as people write them, the same in flags
// and in the URLs of stores, and writes counts as people read them.
package human

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"
)

// unit is a suffix and how many of the smallest unit it stands for.
type unit struct {
	name string
	size int64
}

func sizeUnits() []unit {
	return []unit{
		{"b", 1},
		{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
		{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	}
}

// ParseSize reads a number of bytes as people write it: "50MB" (10^6),
// "64MiB" (2^20), "1.5GB", "4096". Case does not matter. A negative number, a
// part of a byte, an unknown unit and what does not fit in 63 bits are errors.
func ParseSize(s string) (int64, error) {
	number, name := splitUnit(strings.TrimSpace(s))
	size := int64(1)
	if name != "" {
		var ok bool
		if size, ok = lookUnit(sizeUnits(), strings.ToLower(name)); !ok {
			return 0, fmt.Errorf("size %q: unknown unit %q: write B, kB, MB, GB, TB, KiB, MiB, GiB or TiB", s, name)
		}
	}
	n, err := scale(number, size)
	if err != nil {
		return 0, fmt.Errorf("size %q: %w: write it like 50MB, 64MiB or 4096", s, err)
	}
	return n, nil
}

func durationUnits() []unit {
	return []unit{
		{"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6},
		{"s", int64(time.Second)}, {"m", int64(time.Minute)}, {"h", int64(time.Hour)},
		{"d", 24 * int64(time.Hour)}, {"w", 7 * 24 * int64(time.Hour)},
	}
}

// ParseDuration reads a duration as people write it: "7d", "1h30m", "250ms",
// "2w". A day is 24 hours. "0" needs no unit. A negative one and one beyond
// 292 years are errors.
func ParseDuration(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, fmt.Errorf("duration is empty: write it like 7d, 1h30m or 250ms")
	}
	var total int64
	for rest != "" {
		number, after := splitUnit(rest)
		end := strings.IndexFunc(after, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' || r == '-' })
		if end < 0 {
			end = len(after)
		}
		size, ok := lookUnit(durationUnits(), after[:end])
		if !ok {
			return 0, fmt.Errorf("duration %q: unknown unit %q: write it like 7d, 1h30m or 250ms", s, after[:end])
		}
		n, err := scale(number, size)
		if err != nil {
			return 0, fmt.Errorf("duration %q: %w: write it like 7d, 1h30m or 250ms", s, err)
		}
		if n > math.MaxInt64-total {
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		total += n
		rest = after[end:]
	}
	return time.Duration(total), nil
}

// splitUnit cuts s behind its leading number.
func splitUnit(s string) (number, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != '-' && r != '+' })
	if end < 0 {
		return s, ""
	}
	return s[:end], strings.TrimSpace(s[end:])
}

func lookUnit(units []unit, name string) (int64, bool) {
	for _, u := range units {
		if u.name == name {
			return u.size, true
		}
	}
	return 0, false
}

// scale returns number times size, exactly.
func scale(number string, size int64) (int64, error) {
	if number == "" || strings.Trim(number, "0123456789.-+") != "" || len(number) > 32 {
		return 0, fmt.Errorf("no number")
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%q is not a number", number)
	}
	r.Mul(r, new(big.Rat).SetInt64(size))
	switch {
	case r.Sign() < 0:
		return 0, fmt.Errorf("it is negative")
	case !r.IsInt():
		return 0, fmt.Errorf("it is not a whole number of the smallest unit")
	case !r.Num().IsInt64():
		return 0, fmt.Errorf("it is too large")
	}
	return r.Num().Int64(), nil
}
