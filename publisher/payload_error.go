package publisher

import (
	"errors"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/papyra/papyra"
)

// maxPayloadError bounds the text of a papyra.PayloadError, in bytes.
const maxPayloadError = 512

// An event or a dead letter whose payload cannot be encoded is still worth keeping:
// that it happened, when, to whom. So these encode it again with the reason in the
// payload's place, and return why not even that can be kept: err, the reason. What
// is too large is not replaced.

func (p *Publisher) replaceEventPayload(s *scratch, e *papyra.Event, at time.Time, err error) error {
	if !errors.Is(err, papyra.ErrEncode) {
		return err
	}
	kept := *e
	kept.Payload = nil
	if s.enc.Event(p.id, p.system, &kept, payloadError(err), at) != nil {
		return err
	}
	s.replaced = 1
	return nil
}

func (p *Publisher) replaceDeadLetterPayload(s *scratch, d *papyra.DeadLetter, at time.Time, err error) error {
	if !errors.Is(err, papyra.ErrEncode) {
		return err
	}
	kept := *d
	kept.Payload = nil
	if s.enc.DeadLetter(p.id, p.system, &kept, payloadError(err), at) != nil {
		return err
	}
	s.replaced = 1
	return nil
}

// payloadError returns the fields of the payload that stands for one which cannot
// be encoded because of err.
func payloadError(err error) []slog.Attr {
	text := err.Error()
	if n := maxPayloadError; len(text) > n {
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n] + "…"
	}
	return []slog.Attr{slog.String(papyra.PayloadError, text)}
}
