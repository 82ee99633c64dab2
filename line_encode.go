package papyra

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/papyra/papyra/internal/checksum"
	"github.com/papyra/papyra/internal/jsontext"
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
	out    jsontext.Writer // the line up to and with `"seq":`
	sum    uint32          // checksum of the line, or of its head while the record is made
	summed int             // how many bytes of the line sum covers while the record is made

	// What the last record had, and the next one most likely has too.
	heads headCache
	times timestampWriter
}

// Event encodes an event of system with fields of its payload. now is its time
// if it has none. Nothing that is passed is kept.
func (e *Encoder) Event(id *Identity, system string, ev *Event, fields []slog.Attr, now time.Time) error {
	e.beginAddress(KindEvent, &ev.Actor, system)
	e.out.WriteRaw(beforeEventType)
	e.out.WriteString(ev.Type)
	e.out.WriteRaw(beforePayload)
	if ev.Payload == nil && len(fields) == 0 {
		e.out.WriteRaw(`{}`)
	} else {
		e.writePayload(fields, ev.Payload)
	}
	if !ev.Sender.isZero() {
		e.writeSender(&ev.Sender, system)
	}
	e.times.writeTime(&e.out, ev.Time, now)
	return e.endLine(id)
}

// DeadLetter encodes a dead letter of system, as Event does.
func (e *Encoder) DeadLetter(id *Identity, system string, d *DeadLetter, fields []slog.Attr, now time.Time) error {
	if d.Target.IsZero() {
		e.beginLine(KindDeadLetter, headSystem, system)
		e.out.WriteRaw(`null`)
	} else {
		e.beginAddress(KindDeadLetter, &d.Target, system)
	}
	e.out.WriteRaw(beforeMessageType)
	e.out.WriteString(d.MessageType)
	e.out.WriteRaw(beforePayload)
	e.writePayload(fields, d.Payload)
	if !d.Sender.isZero() {
		e.writeSender(&d.Sender, system)
	}
	e.times.writeTime(&e.out, d.Time, now)
	return e.endLine(id)
}

// Audit encodes an audit of system, as Event does.
func (e *Encoder) Audit(id *Identity, system string, a *Audit, now time.Time) error {
	e.beginLine(KindAudit, headSystem, system)
	e.times.writeTime(&e.out, a.Time, now)
	e.out.WriteRaw(beforeTotal)
	e.out.WriteInt(a.TotalActors)
	e.out.WriteRaw(beforeAlive)
	e.out.WriteInt(a.AliveActors)
	e.out.WriteRaw(beforeStopping)
	e.out.WriteInt(a.StoppingActors)
	e.out.WriteRaw(beforeRestarting)
	e.out.WriteInt(a.RestartingActors)
	e.out.WriteRaw(beforeRegistrySize)
	e.out.WriteInt(a.RegistrySize)
	e.out.WriteRaw(beforeOrphans)
	e.out.WriteStrings(a.RegistryOrphans)
	e.out.WriteRaw(beforeDead)
	e.out.WriteStrings(a.RegistryDead)
	e.out.WriteRaw(beforeDeadLetters)
	e.out.WriteInt(a.DeadLetters)
	return e.endLine(id)
}

// Report encodes a report of system, as Event does.
func (e *Encoder) Report(id *Identity, system string, r *Report, now time.Time) error {
	e.beginLine(KindReport, headSystem, system)
	e.out.WriteString(r.Name)
	e.out.WriteRaw(beforePayload)
	e.writePayload(nil, r.Payload)
	e.times.writeTime(&e.out, r.Time, now)
	return e.endLine(id)
}

// Sanitized returns how many invalid bytes of the last record were replaced.
func (e *Encoder) Sanitized() int { return e.out.Sanitized }

// Len returns the length of the line that AppendLine would append.
func (e *Encoder) Len(seq uint64) int {
	return len(e.out.Buf) + jsontext.CountDigits(seq) + checksum.TailLen + 1
}

// AppendLine appends the last record as line number seq, sealed and ended by a
// newline. It may be called only after an encoding call that returned nil.
func (e *Encoder) AppendLine(dst []byte, seq uint64) []byte {
	dst = append(dst, e.out.Buf...)
	end := len(dst)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = checksum.AppendTail(dst, checksum.Extend(e.sum, dst[end:]))
	return append(dst, '\n')
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

// beginLine begins a record of kind with its head.
func (e *Encoder) beginLine(kind Kind, reach headReach, system string) {
	e.summed, e.sum = e.heads.beginLine(&e.out, kind, reach, system)
}

// beginAddress begins a record of kind and writes its address.
func (e *Encoder) beginAddress(kind Kind, a *Address, system string) {
	reach := headReachOf(a, system)
	e.beginLine(kind, reach, system)
	switch reach {
	case headSystem:
		e.writeAddress(a, a.System)
	case headName:
		e.out.WriteText(a.Name)
		e.out.WriteRaw(`"`)
	default:
		e.out.WriteInt(a.ID)
		e.out.WriteRaw(`}`)
	}
}

// writeSender writes the sender of a record.
func (e *Encoder) writeSender(a *Address, system string) {
	if a.System != "" {
		system = a.System
	}
	e.out.WriteRaw(beforeSender)
	e.writeAddress(a, system)
}

// writeAddress writes an address as one of system.
func (e *Encoder) writeAddress(a *Address, system string) {
	if a.Name != "" {
		e.out.WriteRaw(`"`)
		e.out.WriteText(system)
		e.out.WriteRaw(`:`)
		e.out.WriteText(a.Name)
		e.out.WriteRaw(`"`)
		return
	}
	e.out.WriteRaw(beforeAddressSystem)
	e.out.WriteString(system)
	e.out.WriteRaw(beforeAddressID)
	e.out.WriteInt(a.ID)
	e.out.WriteRaw(`}`)
}

// writePayload writes the fields as an object, a value as itself, both as an
// object whose last member is "value".
func (e *Encoder) writePayload(fields []slog.Attr, value any) {
	if len(fields) == 0 {
		e.out.WriteValue(value)
		return
	}
	if !e.out.OpenObject() {
		return
	}
	first := e.out.WriteAttrs(fields, true)
	if value != nil {
		e.out.WriteName("value", first)
		e.out.WriteValue(value)
	}
	e.out.CloseObject()
}

// maxTail is how many bytes AppendLine appends at most behind what is encoded.
const maxTail = len("18446744073709551615") + checksum.TailLen + 1

// endLine ends what can be written of the line without its number.
func (e *Encoder) endLine(id *Identity) error {
	e.out.WriteRaw(id.mid)
	if !e.out.HasRoom(maxTail) {
		return encodeError(e.out.Err())
	}
	e.sum = checksum.Extend(e.sum, e.out.Buf[e.summed:])
	return nil
}

// encodeError returns an error of the writer as one of an Encoder.
func encodeError(err error) error {
	if errors.Is(err, jsontext.ErrTooLarge) {
		return ErrTooLarge
	}
	return fmt.Errorf("%w: %w", ErrEncode, err)
}
