package papyra

import "github.com/papyra/papyra/internal/jsontext"

// Sender returns who sent the message of a dead letter, or the message that led to an
// event. It is false where the record names nobody, and follows the rules of
// [Record.Address]. It reads the line again, since few ask for it.
func (r *Record) Sender() (Address, bool) {
	s := jsontext.Scanner{Text: r.Line}
	i, more := s.FirstMember(s.SkipSpace(0))
	for more {
		end, escaped := s.ScanString(i)
		start := s.ScanColon(end)
		if end < 0 || start < 0 {
			return Address{}, false
		}
		name := jsontext.Unquote(r.Line[i:end], escaped)
		if end = s.ScanValue(start, MaxDepth); end < 0 {
			return Address{}, false
		}
		if string(name) == nameSender {
			return readAddress(r.Line[start:end], string(r.System), true)
		}
		i, more = s.NextMember(end)
	}
	return Address{}, false
}
