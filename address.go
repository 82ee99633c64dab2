package papyra

import (
	"bytes"
	"strconv"
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
		text := string(unquote(raw, bytes.IndexByte(raw, '\\') >= 0))
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
	s := scanner{b: raw}
	i := s.space(1)
	for i < len(raw) && raw[i] == '"' {
		end, escaped := s.str(i)
		name := string(unquote(raw[i:end], escaped))
		start := s.colon(end)
		if start < 0 || start >= len(raw) {
			return Address{}, false
		}
		if raw[start] == '"' {
			i, escaped = s.str(start)
		} else {
			i = s.value(start, 1)
		}
		if i < 0 {
			return Address{}, false
		}
		value := raw[start:i]
		switch {
		case name == "system" && value[0] == '"':
			a.System = string(unquote(value, escaped))
		case name == "actor_id" && value[0] == '"':
			a.Name, ok = string(unquote(value, escaped)), true
		case name == "actor_id":
			id, err := strconv.ParseInt(string(value), 10, 64)
			if a.ID, ok = id, err == nil; !ok {
				return Address{}, false
			}
		}
		if i = s.space(i); i < len(raw) && raw[i] == ',' {
			i = s.space(i + 1)
		}
	}
	return a, ok
}

// bare is the address without its system.
func (a Address) bare() string {
	if a.Name != "" {
		return a.Name
	}
	return strconv.FormatInt(a.ID, 10)
}
