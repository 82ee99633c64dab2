package papyra

import (
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"slices"
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
	crc       uint32 // CRC-32C of buf
	sanitized int
	depth     int
	hops      int    // pointers followed since the last level
	pairs     []pair // members of the maps being written
	err       error

	// What the last record had and the next one most likely has too.
	system     string // a system id
	systemJSON []byte // the same as a JSON string
	second     int64
	secondText []byte // its decimal digits
}

// Event encodes an event of system with fields of its payload. now is its time
// if it has none. Nothing that is passed is kept.
func (e *Encoder) Event(id *Identity, system string, ev *Event, fields []slog.Attr, now time.Time) error {
	e.begin(`{"kind":"event","system_id":`, system)
	e.raw(`,"actor_address":`)
	e.address(&ev.Actor, system)
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
	e.begin(`{"kind":"dead_letter","system_id":`, system)
	e.raw(`,"target":`)
	if d.Target.IsZero() {
		e.raw(`null`)
	} else {
		e.address(&d.Target, system)
	}
	e.raw(`,"message_type":`)
	e.str(d.MessageType)
	e.raw(`,"payload":`)
	e.payload(fields, d.Payload)
	return e.end(id, d.Time, now)
}

// Audit encodes an audit of system, as Event does.
func (e *Encoder) Audit(id *Identity, system string, a *Audit, now time.Time) error {
	e.begin(`{"kind":"audit","system_id":`, system)
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
	e.begin(`{"kind":"report","system_id":`, system)
	e.raw(`,"report":`)
	e.str(r.Name)
	e.raw(`,"payload":`)
	e.payload(nil, r.Payload)
	return e.end(id, r.Time, now)
}

// Sanitized returns how many invalid bytes of the last record were replaced.
func (e *Encoder) Sanitized() int { return e.sanitized }

// Len returns the length of the line that AppendLine would append.
func (e *Encoder) Len(seq uint64) int {
	digits := 1
	for n := seq; n >= 10; n /= 10 {
		digits++
	}
	return len(e.buf) + digits + crcLen + 1
}

// AppendLine appends the last record as line number seq, sealed and ended by a
// newline. It may be called only after an encoding call that returned nil.
func (e *Encoder) AppendLine(dst []byte, seq uint64) []byte {
	dst = append(dst, e.buf...)
	digits := len(dst)
	dst = strconv.AppendUint(dst, seq, 10)
	sum := crc32.Update(e.crc, castagnoli, dst[digits:])
	dst = append(dst, sealed.crc...)
	dst = hex8(dst, sum)
	return append(dst, "\"}\n"...)
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

func (e *Encoder) begin(head, system string) {
	if cap(e.buf) > 2*MaxPublishedLine {
		e.buf = nil
	}
	e.buf = append(e.buf[:0], head...)
	e.sanitized, e.depth, e.hops, e.err = 0, 1, 0, nil
	e.systemID(system)
}

// systemID writes a system id as a string; it is nearly always the one before.
func (e *Encoder) systemID(system string) {
	if system == e.system && len(e.systemJSON) > 0 && e.sanitized == 0 {
		e.buf = append(e.buf, e.systemJSON...)
		return
	}
	start := len(e.buf)
	if e.str(system); e.err == nil && e.sanitized == 0 {
		e.system, e.systemJSON = system, append(e.systemJSON[:0], e.buf[start:]...)
	}
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
	e.crc = crc32.Checksum(e.buf, castagnoli)
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
	us := min(max(t.UnixMicro(), 0), maxTime-1)
	sec := us / 1e6
	frac := uint32(us - sec*1e6)
	e.raw(`,"timestamp":`)
	if sec != e.second || len(e.secondText) == 0 {
		e.second, e.secondText = sec, strconv.AppendInt(e.secondText[:0], sec, 10)
	}
	e.buf = append(e.buf, e.secondText...)
	hi, mid, lo := frac/10_000, frac/100%100, frac%100
	e.buf = append(e.buf, '.',
		byte('0'+hi/10), byte('0'+hi%10), byte('0'+mid/10), byte('0'+mid%10), byte('0'+lo/10), byte('0'+lo%10))
	for n := 0; n < 5 && e.buf[len(e.buf)-1] == '0'; n++ {
		e.buf = e.buf[:len(e.buf)-1]
	}
}

func (e *Encoder) address(a *Address, system string) {
	if a.System != "" {
		system = a.System
	}
	if a.Name != "" {
		e.buf = append(e.buf, '"')
		e.text(system)
		e.buf = append(e.buf, ':')
		e.text(a.Name)
		e.buf = append(e.buf, '"')
		return
	}
	e.raw(`{"system":`)
	e.systemID(system)
	e.raw(`,"actor_id":`)
	e.int(a.ID)
	e.buf = append(e.buf, '}')
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
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
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
	if !first {
		e.buf = append(e.buf, ',')
	}
	if allPlain(name) && e.room(len(name)) {
		e.buf = append(append(append(e.buf, '"'), name...), '"', ':')
		return
	}
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
		if a.Key == "" && a.Value.Kind() == slog.KindAny && a.Value.Any() == nil {
			continue
		}
		v := a.Value
		if v.Kind() == slog.KindLogValuer {
			v = v.Resolve() // recovers panics and ends cycles by itself
		}
		if v.Kind() == slog.KindGroup {
			if group := v.Group(); a.Key == "" {
				first = e.attrs(group, first)
				continue
			} else if len(group) == 0 {
				continue
			}
		}
		e.name(a.Key, first)
		first = false
		e.slogValue(v)
	}
	return first
}

func (e *Encoder) slogValue(v slog.Value) {
	switch v.Kind() {
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

// sortPairs orders the members of a map by name, so that equal maps are equal
// bytes.
func sortPairs(pairs []pair) {
	slices.SortFunc(pairs, func(a, b pair) int {
		switch {
		case a.name < b.name:
			return -1
		case a.name > b.name:
			return 1
		}
		return 0
	})
}
