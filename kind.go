package papyra

// Kind says what a record tells of. Its zero value is [KindUnknown].
type Kind uint8

// The kinds of version 1. Each kind has exactly one category, the plural that
// subjects, Redis keys and commands use.
const (
	KindUnknown    Kind = iota // a kind that this version does not know
	KindEvent                  // "event", category "events"
	KindAudit                  // "audit", category "audits"
	KindDeadLetter             // "dead_letter", category "dead_letters"
	KindReport                 // "report", category "reports"

	// KindCount is the number of Kind values, for arrays indexed by Kind.
	KindCount = iota
)

var (
	kindNames     = [KindCount]string{"unknown", "event", "audit", "dead_letter", "report"}
	categoryNames = [KindCount]string{"unknown", "events", "audits", "dead_letters", "reports"}
)

// Kinds returns the known kinds in the order in which tools list them.
func Kinds() []Kind { return []Kind{KindEvent, KindAudit, KindDeadLetter, KindReport} }

// String returns the value of a record's "kind" member.
func (k Kind) String() string {
	if k >= KindCount {
		k = KindUnknown
	}
	return kindNames[k]
}

// Category returns the kind's plural, as in subjects and keys.
func (k Kind) Category() string {
	if k >= KindCount {
		k = KindUnknown
	}
	return categoryNames[k]
}

// ParseKind returns the kind that a record's "kind" member names, or
// KindUnknown.
func ParseKind(name string) Kind { return kindOf([]byte(name)) }

// kindOf is ParseKind without an allocation.
func kindOf(name []byte) Kind {
	for k := KindEvent; k < KindCount; k++ {
		if kindNames[k] == string(name) {
			return k
		}
	}
	return KindUnknown
}

// ParseCategory returns the kind of a category, or KindUnknown.
func ParseCategory(name string) Kind {
	for _, k := range Kinds() {
		if categoryNames[k] == name {
			return k
		}
	}
	return KindUnknown
}

// Stream is one system's records of one kind: the unit of retention, of append
// order and of a Redis key.
type Stream struct {
	System string
	Kind   Kind
}

// String returns "system/category" for people.
func (s Stream) String() string { return s.System + "/" + s.Kind.Category() }
