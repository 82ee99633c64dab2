package papyra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"math/bits"
	"reflect"
	"strconv"
	"time"
)

// Errors of an [Encoder], wrapped.
var (
	// ErrTooLarge: the line would exceed MaxPublishedLine.
	ErrTooLarge = errors.New("record is larger than a publisher's line may be")
	// ErrEncode: a value that JSON cannot show, or one that nests deeper than
	// MaxDepth, or a marshaller that failed or panicked.
	ErrEncode = errors.New("value cannot be encoded")
)

// Encoder writes a fact as one sealed line, in two steps. The first, one of
// Event, DeadLetter, Audit and Report, encodes everything but the number and
// needs no lock. The second, AppendLine, puts the number and the checksum
// behind it and costs a copy.
//
// An Encoder is reused for record after record and keeps its memory, at most
// twice [MaxPublishedLine]; facts without values of type any cost no
// allocation. It is not safe for concurrent use. The zero value is ready.
//
// Invalid UTF-8 is written as U+FFFD and counted, NaN and the infinities are
// written as strings.
type Encoder struct {
	buf       []byte // the line up to and with `"seq":`
	known     int    // bytes of buf that crc covers while the record is made
	crc       uint32 // CRC-32C of buf
	sanitized int
	depth     int
	hops      int // pointers followed since the last level
	err       error

	// Members of the maps being written.
	pairs []pair[any]
	elems []pair[reflect.Value]

	// What the last record had and the next one most likely has too.
	system     string // what heads are for
	heads      [KindCount][formCount]head
	second     int64
	secondText []byte // its decimal digits
	typ        reflect.Type
	plan       *plan // of typ
}

// Event encodes an event of system with fields of its payload. now is its time
// if it has none. Nothing that is passed is kept.
func (e *Encoder) Event(id *Identity, system string, ev *Event, fields []slog.Attr, now time.Time) error {
	e.address(KindEvent, &ev.Actor, system)
	e.raw(`,"event_type":`)
	e.str(ev.Type)
	e.raw(`,"payload":`)
	if ev.Payload == nil && len(fields) == 0 {
		e.raw(`{}`)
	} else {
		e.payload(fields, ev.Payload)
	}
	return e.end(id, ev.Time, now)
}

// DeadLetter encodes a dead letter of system, as Event does.
func (e *Encoder) DeadLetter(id *Identity, system string, d *DeadLetter, fields []slog.Attr, now time.Time) error {
	if d.Target.IsZero() {
		e.begin(KindDeadLetter, formBare, system)
		e.raw(`null`)
	} else {
		e.address(KindDeadLetter, &d.Target, system)
	}
	e.raw(`,"message_type":`)
	e.str(d.MessageType)
	e.raw(`,"payload":`)
	e.payload(fields, d.Payload)
	return e.end(id, d.Time, now)
}

// Audit encodes an audit of system, as Event does.
func (e *Encoder) Audit(id *Identity, system string, a *Audit, now time.Time) error {
	e.begin(KindAudit, formBare, system)
	e.timestamp(a.Time, now)
	e.raw(`,"total_actors":`)
	e.int(a.TotalActors)
	e.raw(`,"alive_actors":`)
	e.int(a.AliveActors)
	e.raw(`,"stopping_actors":`)
	e.int(a.StoppingActors)
	e.raw(`,"restarting_actors":`)
	e.int(a.RestartingActors)
	e.raw(`,"registry_size":`)
	e.int(a.RegistrySize)
	e.raw(`,"registry_orphans":`)
	e.strings(a.RegistryOrphans)
	e.raw(`,"registry_dead":`)
	e.strings(a.RegistryDead)
	e.raw(`,"dead_letters_count":`)
	e.int(a.DeadLetters)
	return e.finish(id)
}

// Report encodes a report of system, as Event does.
func (e *Encoder) Report(id *Identity, system string, r *Report, now time.Time) error {
	e.begin(KindReport, formBare, system)
	e.str(r.Name)
	e.raw(`,"payload":`)
	e.payload(nil, r.Payload)
	return e.end(id, r.Time, now)
}

// Sanitized returns how many invalid bytes of the last record were replaced.
func (e *Encoder) Sanitized() int { return e.sanitized }

// Len returns the length of the line that AppendLine would append.
func (e *Encoder) Len(seq uint64) int {
	return len(e.buf) + digits(seq) + crcLen + 1
}

// AppendLine appends the last record as line number seq, sealed and ended by a
// newline. It may be called only after an encoding call that returned nil.
func (e *Encoder) AppendLine(dst []byte, seq uint64) []byte {
	dst = append(dst, e.buf...)
	end := len(dst)
	dst = strconv.AppendUint(dst, seq, 10)
	sum := crc32.Update(e.crc, castagnoli, dst[end:])
	dst = append(dst, `,"crc":"`...)
	dst = binary.BigEndian.AppendUint64(dst, hex32(sum))
	return append(dst, "\"}\n"...)
}

// digits returns how many decimal digits n has.
func digits(n uint64) int {
	// 1233/4096 is a little more than log10(2): exact, or one too few.
	d := bits.Len64(n|1) * 1233 >> 12
	if n >= powersOf10[d] {
		d++
	}
	return d
}

var powersOf10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	p[0] = 0 // zero has a digit too
	return p
}()

// hex32 returns the eight lower-case hexadecimal digits of v, the first in the
// highest byte.
func hex32(v uint32) uint64 {
	// Spread the eight halves of bytes over eight bytes.
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	// A byte from 10 on overflows into its bit 4 and becomes a letter.
	letters := (x + ones*6) >> 4 & ones
	return x + ones*'0' + letters*('a'-'0'-10)
}

// SealedReport returns a report as one sealed line with its newline, for
// writers of a few reports.
func SealedReport(id *Identity, system string, seq uint64, r *Report, now time.Time) ([]byte, error) {
	var e Encoder
	if err := e.Report(id, system, r, now); err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.Name, err)
	}
	return e.AppendLine(nil, seq), nil
}

func (e *Encoder) end(id *Identity, t, now time.Time) error {
	e.timestamp(t, now)
	return e.finish(id)
}

// maxSealed is the room that finish and AppendLine need at most.
const maxSealed = 20 + crcLen + 1

func (e *Encoder) finish(id *Identity) error {
	e.raw(id.mid)
	if e.err == nil && len(e.buf)+maxSealed > MaxPublishedLine {
		e.err = ErrTooLarge
	}
	if e.err != nil {
		return e.err
	}
	e.crc = crc32.Update(e.crc, castagnoli, e.buf[e.known:])
	return nil
}

// fail notes the first error; what is written after it does not matter.
func (e *Encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *Encoder) raw(s string) { e.buf = append(e.buf, s...) }

func (e *Encoder) int(n int64) { e.buf = strconv.AppendInt(e.buf, n, 10) }

// room reports whether n more bytes may still fit, and ends the record if not.
// It keeps a giant value from being copied.
func (e *Encoder) room(n int) bool {
	if e.err == nil && len(e.buf)+n > MaxPublishedLine {
		e.err = ErrTooLarge
	}
	return e.err == nil
}

// push enters an object or array.
func (e *Encoder) push() bool {
	e.depth++
	e.hops = 0
	if e.depth > MaxDepth {
		e.fail(fmt.Errorf("%w: nested deeper than %d levels, or a cycle", ErrEncode, MaxDepth))
	}
	return e.err == nil
}

func (e *Encoder) pop() { e.depth-- }

func (e *Encoder) timestamp(t, now time.Time) {
	if t.IsZero() {
		t = now
	}
	// A time that no reader takes is a clock that lies: the nearest legal one
	// is written rather than a record that counts as damaged.
	sec, us := t.Unix(), uint32(t.Nanosecond())/1000
	if sec < 0 {
		sec, us = 0, 0
	} else if sec >= maxTime/1e6 {
		sec, us = maxTime/1e6-1, 999_999
	}
	if sec != e.second || len(e.secondText) == 0 {
		e.second, e.secondText = sec, strconv.AppendInt(e.secondText[:0], sec, 10)
	}
	b := append(append(e.buf, `,"timestamp":`...), e.secondText...)
	hi, mid, lo := us/10_000, us/100%100, us%100
	b = append(b, '.',
		byte('0'+hi/10), byte('0'+hi%10), byte('0'+mid/10), byte('0'+mid%10), byte('0'+lo/10), byte('0'+lo%10))
	for n := 0; n < 5 && b[len(b)-1] == '0'; n++ {
		b = b[:len(b)-1]
	}
	e.buf = b
}

// address begins a record of kind and writes its address behind the head.
func (e *Encoder) address(kind Kind, a *Address, system string) {
	f := formOf(a, system)
	e.begin(kind, f, system)
	switch {
	case f == formBare && a.Name != "":
		e.buf = append(e.buf, '"')
		e.text(a.System)
		e.buf = append(e.buf, ':')
		e.text(a.Name)
		e.buf = append(e.buf, '"')
	case f == formName:
		e.text(a.Name)
		e.buf = append(e.buf, '"')
	default:
		if f == formBare {
			e.raw(`{"system":`)
			e.str(a.System)
			e.raw(`,"actor_id":`)
		}
		e.int(a.ID)
		e.buf = append(e.buf, '}')
	}
}

// float writes a number as the shortest text that reads back to it.
func (e *Encoder) float(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		e.raw(`"NaN"`)
	case math.IsInf(f, 1):
		e.raw(`"Infinity"`)
	case math.IsInf(f, -1):
		e.raw(`"-Infinity"`)
	default:
		e.buf = appendFloat(e.buf, f, bits)
	}
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	} else if bits == 64 && a < 1e9 {
		if short, ok := appendShort(dst, f); ok {
			return short
		}
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

// appendShort appends a number below 1e9 that has at most six decimals, as
// prices, shares and seconds do, and reports whether f is one.
func appendShort(dst []byte, f float64) ([]byte, bool) {
	const decimals = 1e6
	n := int64(math.Abs(f)*decimals + 0.5)
	// Two numbers of at most 15 digits are never the same float64. So when n
	// millionths, correctly rounded by the division, are f, no shorter text and
	// no other one of the same length is.
	if f == 0 || float64(n)/decimals != math.Abs(f) {
		return dst, false
	}
	if f < 0 {
		dst = append(dst, '-')
	}
	whole, part := n/decimals, uint32(n%decimals)
	dst = strconv.AppendInt(dst, whole, 10)
	if part == 0 {
		return dst, true
	}
	hi, mid, lo := part/10_000, part/100%100, part%100
	dst = append(dst, '.',
		byte('0'+hi/10), byte('0'+hi%10), byte('0'+mid/10), byte('0'+mid%10), byte('0'+lo/10), byte('0'+lo%10))
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst, true
}

// payload writes the fields as an object, a value as itself, both as an object
// whose last member is "value".
func (e *Encoder) payload(fields []slog.Attr, value any) {
	if len(fields) == 0 {
		e.value(value)
		return
	}
	if !e.push() {
		return
	}
	e.buf = append(e.buf, '{')
	first := e.attrs(fields, true)
	if value != nil {
		e.name("value", first)
		e.value(value)
	}
	e.buf = append(e.buf, '}')
	e.pop()
}

// name writes a member's name, with a comma before it unless it is the first.
func (e *Encoder) name(name string, first bool) {
	b := e.buf
	if !first {
		b = append(b, ',')
	}
	if allPlain(name) && len(b)+len(name) <= MaxPublishedLine {
		e.buf = append(append(append(b, '"'), name...), '"', ':')
		return
	}
	e.buf = b
	e.str(name)
	e.buf = append(e.buf, ':')
}

// attrs writes fields as members, as log/slog does: an empty one is left out, a
// group without a name is inlined. It returns whether the next member is still
// the first.
func (e *Encoder) attrs(fields []slog.Attr, first bool) bool {
	for i := range fields {
		if e.err != nil {
			return first
		}
		a := &fields[i]
		v, kind := a.Value, a.Value.Kind()
		switch kind {
		case slog.KindString: // the most frequent ones first
			e.name(a.Key, first)
			e.str(v.String())
			first = false
			continue
		case slog.KindInt64:
			e.name(a.Key, first)
			e.int(v.Int64())
			first = false
			continue
		case slog.KindAny:
			if a.Key == "" && v.Any() == nil {
				continue
			}
		case slog.KindLogValuer:
			v = v.Resolve() // recovers panics and ends cycles by itself
			kind = v.Kind()
		}
		if kind == slog.KindGroup {
			if group := v.Group(); a.Key == "" {
				first = e.attrs(group, first)
				continue
			} else if len(group) == 0 {
				continue
			}
		}
		e.name(a.Key, first)
		first = false
		e.slogValue(v, kind)
	}
	return first
}

func (e *Encoder) slogValue(v slog.Value, kind slog.Kind) {
	switch kind {
	case slog.KindString:
		e.str(v.String())
	case slog.KindInt64:
		e.int(v.Int64())
	case slog.KindUint64:
		e.buf = strconv.AppendUint(e.buf, v.Uint64(), 10)
	case slog.KindFloat64:
		e.float(v.Float64(), 64)
	case slog.KindBool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case slog.KindDuration:
		e.int(int64(v.Duration()))
	case slog.KindTime:
		e.time(v.Time())
	case slog.KindGroup:
		if e.push() {
			e.buf = append(e.buf, '{')
			e.attrs(v.Group(), true)
			e.buf = append(e.buf, '}')
			e.pop()
		}
	default:
		e.value(v.Any())
	}
}

// time writes RFC 3339 with nanoseconds, as encoding/json does.
func (e *Encoder) time(t time.Time) {
	e.buf = append(e.buf, '"')
	e.buf = t.AppendFormat(e.buf, time.RFC3339Nano)
	e.buf = append(e.buf, '"')
}
