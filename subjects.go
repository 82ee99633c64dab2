package papyra

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/papyra/papyra/internal/escape"
)

// Subjects of version 1. This file is the only place that spells one.
const (
	recordsPrefix = "papyra.v1.records."
	auditPrefix   = "papyra.v1.audit."
	heardPrefix   = "papyra.v1.heard."
	queuePrefix   = "papyra-"

	// SubjectAllRecords is what a sink without filters subscribes to.
	SubjectAllRecords = recordsPrefix + "*.*"

	// SubjectAllHeard is what a sink publishes to when it answers publishers, for
	// permissions.
	SubjectAllHeard = heardPrefix + ">"

	// SinkService is the name of every sink on the NATS services framework.
	SinkService = "papyra-sink"
	// SinkInbox begins the subjects on which sinks answer each other, so that
	// permissions can allow these answers and no others.
	SinkInbox = "_INBOX_papyra-sink"
	// ToolInbox begins the subjects on which sinks answer those who ask for a verb
	// of the admin service.
	ToolInbox = "_INBOX_papyra-ctl"

	adminPrefix = "papyra.v1.sink."
)

// SystemReserved is the system of the pipeline's own reports (all but
// PublisherReport). A sink rejects it from the wire.
const SystemReserved = "papyra"

const (
	// MaxSystemBytes bounds a system id; a longer one is refused by
	// [CheckSystem] and makes a record damaged.
	MaxSystemBytes = 64
	// MaxNameBytes bounds group, instance and node names.
	MaxNameBytes = 64
)

// CheckSystem returns an error unless system is 1 to [MaxSystemBytes] bytes of
// UTF-8 without control characters.
func CheckSystem(system string) error {
	switch {
	case system == "":
		return fmt.Errorf("system id is empty: give it 1 to %d bytes", MaxSystemBytes)
	case len(system) > MaxSystemBytes:
		return fmt.Errorf("system id has %d bytes: at most %d are allowed", len(system), MaxSystemBytes)
	case !utf8.ValidString(system):
		return fmt.Errorf("system id %q is not valid UTF-8", system)
	}
	for _, r := range system {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return fmt.Errorf("system id %q has a control character", system)
		}
	}
	return nil
}

// checkSystem is CheckSystem for text that is known to be UTF-8, without an
// allocation. It returns what is wrong, or nothing.
func checkSystem(system []byte) string {
	if len(system) == 0 || len(system) > MaxSystemBytes {
		return "does not have 1 to " + strconv.Itoa(MaxSystemBytes) + " bytes"
	}
	for i := 0; i < len(system); {
		if c := system[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return "has a control character"
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(system[i:])
		if r < 0xa0 {
			return "has a control character"
		}
		i += n
	}
	return ""
}

// CheckName returns an error unless name is a legal group or instance name:
// [A-Za-z0-9_-]{1,64}.
func CheckName(what, name string) error {
	if name == "" || len(name) > MaxNameBytes {
		return fmt.Errorf("%s name %q must have 1 to %d characters", what, name, MaxNameBytes)
	}
	for i := range len(name) {
		if !tokenByte(name[i]) {
			return fmt.Errorf("%s name %q: only letters, digits, - and _ are allowed", what, name)
		}
	}
	return nil
}

// RecordsSubject returns the subject of a system's records of one kind:
// papyra.v1.records.<system>.<category>.
func RecordsSubject(system string, kind Kind) string {
	return recordsPrefix + EncodeToken(system) + "." + kind.Category()
}

// CategorySubject returns the wildcard for every system's records of one kind.
func CategorySubject(kind Kind) string { return recordsPrefix + "*." + kind.Category() }

// SystemSubject returns the wildcard for every kind of one system's records.
func SystemSubject(system string) string { return recordsPrefix + EncodeToken(system) + ".*" }

// AuditSubject returns the subject that asks the runtimes of a system for an
// audit now.
func AuditSubject(system string) string { return auditPrefix + EncodeToken(system) }

// AdminSubject returns the subject on which the sink of a group takes requests for a
// verb: papyra.v1.sink.<group>.<instance>.<verb>.
func AdminSubject(group, instance, verb string) string {
	return adminPrefix + group + "." + instance + "." + verb
}

// IsAdminSubject reports whether a subject, or a pattern of some, is of the admin
// service.
func IsAdminSubject(subject string) bool { return strings.HasPrefix(subject, adminPrefix) }

// MayAnswerOn reports whether a sink may send what it was asked for to a reply subject:
// whoever asks may not make it say something to publishers, sinks or the server, which
// he himself is perhaps not allowed to.
func MayAnswerOn(reply string) bool {
	for _, prefix := range []string{"papyra.", SinkInbox + ".", "$"} {
		if strings.HasPrefix(reply, prefix) {
			return false
		}
	}
	return reply != ""
}

// StoppedSubject returns the subject on which a sink that stops as it was told to
// says so to the others of its group.
func StoppedSubject(group string) string { return SinkInbox + ".stopped." + group }

// QueueGroup returns the NATS queue group of a sink group.
func QueueGroup(group string) string { return queuePrefix + group }

// ParseRecordsSubject is the reverse of [RecordsSubject]. It returns an error
// for any subject that RecordsSubject cannot have made: a token that is not the
// canonical encoding, an unknown category, an illegal system.
func ParseRecordsSubject(subject string) (Stream, error) {
	rest, ok := strings.CutPrefix(subject, recordsPrefix)
	if !ok {
		return Stream{}, fmt.Errorf("subject %q does not begin with %q", subject, recordsPrefix)
	}
	token, category, ok := strings.Cut(rest, ".")
	if !ok {
		return Stream{}, fmt.Errorf("subject %q has no category", subject)
	}
	kind := ParseCategory(category)
	if kind == KindUnknown {
		return Stream{}, fmt.Errorf("subject %q: unknown category %q", subject, category)
	}
	system, err := DecodeToken(token)
	if err != nil {
		return Stream{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	if err := CheckSystem(system); err != nil {
		return Stream{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	return Stream{System: system, Kind: kind}, nil
}

// tokenByte reports whether b stands for itself in a subject token.
func tokenByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_'
}

func notTokenByte(b byte) bool { return !tokenByte(b) }

// EncodeToken writes an id as one subject token: each byte outside
// [A-Za-z0-9_-] becomes =HH. The encoding is reversible, and no two ids share
// one.
func EncodeToken(id string) string { return escape.Encode(id, notTokenByte) }

// DecodeToken is the reverse of [EncodeToken]; any spelling but the canonical
// one is an error.
func DecodeToken(token string) (string, error) {
	if token == "" {
		return "", fmt.Errorf("empty subject token")
	}
	id, bad := escape.Decode(token, notTokenByte)
	if bad >= 0 {
		return "", fmt.Errorf("subject token %q is not canonical at byte %d", token, bad)
	}
	return id, nil
}
