package papyra

import (
	"math"
	"strconv"
	"time"

	"github.com/papyra/papyra/internal/jsontext"
)

const (
	// maxTime is the first microsecond of the year 10000, which is no timestamp
	// any more.
	maxTime = 253402300800 * 1e6

	// secondsLen is the number of digits of the seconds from 2001 to 2286.
	secondsLen = 10
	// fullTimeLen is the length of a timestamp of these years with six decimals.
	fullTimeLen = secondsLen + len(".123456")
)

// timestampWriter writes timestamps. It remembers the digits of the second that
// it wrote last, which is most likely the next one too.
type timestampWriter struct {
	second int64
	digits []byte // of second; empty if there is none yet
}

// writeTime writes the member that holds t, or now if t is zero. A time that is
// no timestamp comes from a clock that is wrong. It is replaced by the nearest one
// that is, so that the record does not count as damaged.
func (w *timestampWriter) writeTime(out *jsontext.Writer, t, now time.Time) {
	if t.IsZero() {
		t = now
	}
	sec, us := t.Unix(), uint32(t.Nanosecond())/1000
	if sec < 0 {
		sec, us = 0, 0
	} else if sec >= maxTime/1e6 {
		sec, us = maxTime/1e6-1, 999_999
	}
	if sec != w.second || len(w.digits) == 0 {
		w.second, w.digits = sec, strconv.AppendInt(w.digits[:0], sec, 10)
	}
	b := append(append(out.Buf, beforeTimestamp...), w.digits...)
	out.Buf = jsontext.TrimFraction(jsontext.AppendFraction(b, us))
}

// timestampReader reads timestamps. It remembers the second that it read last,
// which is most likely the next one too.
type timestampReader struct {
	digits [secondsLen + 1]byte // of the second, and the dot
	micros int64                // at the beginning of the second
}

// readTime returns what parseTimestamp returns. In the same second it looks at the
// fraction only.
func (r *timestampReader) readTime(raw []byte) (int64, bool) {
	if len(raw) == fullTimeLen && string(raw[:len(r.digits)]) == string(r.digits[:]) {
		if word, n := jsontext.LastDigits(raw[len(raw)-8:]); n == 6 {
			return r.micros + int64(jsontext.JoinDigits(word)), true
		}
	}
	t, ok := parseTimestamp(raw)
	if ok && len(raw) == fullTimeLen && raw[secondsLen] == '.' {
		copy(r.digits[:], raw)
		r.micros = t - t%1e6
	}
	return t, ok
}

// parseTimestamp turns a JSON number of seconds into microseconds. Digits behind
// the sixth decimal are cut off.
func parseTimestamp(raw []byte) (int64, bool) {
	if len(raw) > secondsLen+1 && len(raw) <= fullTimeLen && raw[secondsLen] == '.' {
		if t, ok := parseUsualTimestamp(raw); ok {
			return t, true
		}
	}
	var sec int64
	i := 0
	for ; i < len(raw) && raw[i] >= '0' && raw[i] <= '9'; i++ {
		if i == 12 {
			return parseRareTimestamp(raw)
		}
		sec = sec*10 + int64(raw[i]-'0')
	}
	micro := int64(0)
	if i > 0 && i < len(raw) && raw[i] == '.' {
		i++
		unit := int64(100_000)
		for ; i < len(raw) && raw[i] >= '0' && raw[i] <= '9'; i++ {
			micro += unit * int64(raw[i]-'0')
			unit /= 10
		}
	}
	if i == 0 || i < len(raw) {
		return parseRareTimestamp(raw)
	}
	t := sec*1e6 + micro
	return t, t < maxTime
}

// decimalMicros says how many microseconds one unit of the last decimal is, by
// the number of decimals.
var decimalMicros = [...]int64{0, 100_000, 10_000, 1_000, 100, 10, 1}

// parseUsualTimestamp is parseTimestamp for ten digits, a dot, and one to six
// digits.
func parseUsualTimestamp(raw []byte) (int64, bool) {
	word, n := jsontext.LastDigits(raw[:8])
	tens, one := raw[8]-'0', raw[9]-'0'
	fraction, m := jsontext.LastDigits(raw[len(raw)-8:])
	if want := len(raw) - secondsLen - 1; n != 8 || tens > 9 || one > 9 || m != want {
		return 0, false
	}
	sec := int64(jsontext.JoinDigits(word))*100 + int64(tens)*10 + int64(one)
	return sec*1e6 + int64(jsontext.JoinDigits(fraction))*decimalMicros[m], true
}

// parseRareTimestamp is parseTimestamp for exponents and long numbers.
func parseRareTimestamp(raw []byte) (int64, bool) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 0 || f >= maxTime/1e6 {
		return 0, false
	}
	return int64(math.Floor(f * 1e6)), true
}
