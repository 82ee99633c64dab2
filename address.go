package papyra

import (
	"bytes"
	"strconv"

	"github.com/papyra/papyra/internal/jsontext"
)

// Address names an actor. With a Name it is written as the string
// "system:name", without one as {"system":…,"actor_id":ID}. An empty System
// means the system of the publisher. The zero Address is no address: a dead
// letter's target is then null.
type Address struct {
	System string
	Name   string
	ID     int64
}

// IsZero reports whether a is no address at all.
func (a Address) IsZero() bool { return a == Address{} }

// String returns "system:id", the form that filters compare with.
func (a Address) String() string {
	if a.Name != "" {
		return a.System + ":" + a.Name
	}
	return a.System + ":" + strconv.FormatInt(a.ID, 10)
}

// Address returns the address of the record's actor or target. It is false
// where the record has none, or one of a form that this version does not know.
func (r *Record) Address() (Address, bool) {
	raw := r.Actor
	if len(raw) == 0 {
		return Address{}, false
	}
	switch raw[0] {
	case '"':
		text := string(jsontext.Unquote(raw, bytes.IndexByte(raw, '\\') >= 0))
		for i := range len(text) {
			if text[i] == ':' {
				return Address{System: text[:i], Name: text[i+1:]}, true
			}
		}
		return Address{Name: text}, true
	case '{':
		return parseAddress(raw)
	}
	return Address{}, false
}

// parseAddress reads {"system":…,"actor_id":…}, which was checked as JSON.
func parseAddress(raw []byte) (a Address, ok bool) {
	s := jsontext.Scanner{Text: raw}
	i, more := s.FirstMember(0)
	for more {
		end, escaped := s.ScanString(i)
		start := s.ScanColon(end)
		if start < 0 || start >= len(raw) {
			return Address{}, false
		}
		name := string(jsontext.Unquote(raw[i:end], escaped))
		if raw[start] == '"' {
			end, escaped = s.ScanString(start)
		} else {
			end = s.ScanValue(start, MaxDepth)
		}
		if end < 0 {
			return Address{}, false
		}
		value := raw[start:end]
		switch {
		case name == nameAddressSystem && value[0] == '"':
			a.System = string(jsontext.Unquote(value, escaped))
		case name == nameAddressID && value[0] == '"':
			a.Name, ok = string(jsontext.Unquote(value, escaped)), true
		case name == nameAddressID:
			id, err := strconv.ParseInt(string(value), 10, 64)
			if a.ID, ok = id, err == nil; !ok {
				return Address{}, false
			}
		}
		i, more = s.NextMember(end)
	}
	return a, ok
}

// withoutSystem is the address without its system.
func (a Address) withoutSystem() string {
	if a.Name != "" {
		return a.Name
	}
	return strconv.FormatInt(a.ID, 10)
}
