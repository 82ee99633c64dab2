package papyra

import (
	"bytes"
	"strconv"
	"strings"

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

// isZero is IsZero without a copy.
func (a *Address) isZero() bool { return a.ID == 0 && a.Name == "" && a.System == "" }

// String returns "system:id", the form that filters compare with.
func (a Address) String() string {
	if a.Name != "" {
		return a.System + ":" + a.Name
	}
	return a.System + ":" + strconv.FormatInt(a.ID, 10)
}

// Address returns the address of the record's actor or target. It is false
// where the record has none, or one of a form that this version does not know, or
// one without an id, as "" or "orders:". In "system:id" the system ends at the
// first colon, or where the record's own system ends: "eu:shop:cart" is an actor of
// eu:shop in a record of that system. A number from 2^63 to 2^64-1, which does not
// fit in an ID, is the Name, as it is written. The Python implementation dumps its
// reference to an actor where it has no more: then the address is the reference's
// member "_address".
func (r *Record) Address() (Address, bool) {
	return readAddress(r.Actor, string(r.System), true)
}

// readAddress reads an address that was checked as JSON. reference says that it may
// be one that a reference to an actor holds.
func readAddress(raw []byte, own string, reference bool) (Address, bool) {
	if len(raw) == 0 {
		return Address{}, false
	}
	switch raw[0] {
	case '"':
		text := string(jsontext.Unquote(raw, bytes.IndexByte(raw, '\\') >= 0))
		a := splitAddress(text, own)
		return a, a.Name != ""
	case '{':
		return parseAddress(raw, own, reference)
	}
	return Address{}, false
}

// splitAddress cuts "system:id". An id may hold colons, and so may a system.
func splitAddress(text, own string) Address {
	if name, ok := strings.CutPrefix(text, own+":"); ok {
		return Address{System: own, Name: name}
	}
	system, name, ok := strings.Cut(text, ":")
	if !ok {
		return Address{Name: text}
	}
	return Address{System: system, Name: name}
}

// parseAddress reads {"system":…,"actor_id":…}, or the address that stands in a
// reference and has no actor_id beside it.
func parseAddress(raw []byte, own string, reference bool) (a Address, ok bool) {
	var (
		held    []byte // by the reference
		foreign = true // there is no actor_id
	)
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
		case name == nameHeldAddress:
			held = value
		case name == nameAddressSystem && value[0] == '"':
			a.System = string(jsontext.Unquote(value, escaped))
		case name == nameAddressID && value[0] == '"':
			a.Name = string(jsontext.Unquote(value, escaped))
			ok, foreign = a.Name != "", false
		case name == nameAddressID:
			foreign = false
			if a.ID, a.Name, ok = parseID(string(value)); !ok {
				return Address{}, false
			}
		}
		i, more = s.NextMember(end)
	}
	if foreign && reference {
		return readAddress(held, own, false)
	}
	return a, ok
}

// parseID reads a number of 64 bits, as a name where it needs them without a sign.
func parseID(number string) (id int64, name string, ok bool) {
	id, err := strconv.ParseInt(number, 10, 64)
	if err == nil {
		return id, "", true
	}
	if _, err := strconv.ParseUint(number, 10, 64); err != nil {
		return 0, "", false
	}
	return 0, number, true
}

// withoutSystem is the address without its system.
func (a Address) withoutSystem() string {
	if a.Name != "" {
		return a.Name
	}
	return strconv.FormatInt(a.ID, 10)
}

// ParseAddress reads an address as people write it: "system:id", or only the id of an
// actor of the system own. An id that is a 64-bit number is an ID, any other text is
// a Name. It returns false for a text without an id.
func ParseAddress(text, own string) (Address, bool) {
	a := splitAddress(text, own)
	if a.System == "" {
		a.System = own
	}
	if id, err := strconv.ParseInt(a.Name, 10, 64); err == nil && strconv.FormatInt(id, 10) == a.Name {
		return Address{System: a.System, ID: id}, true
	}
	return a, a.Name != ""
}
