package papyra

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A sink answers a message with records on the reply subject of the message, when
// its lines are stored, or rejected and accounted for:
//
//	publisher                                                     sink of group "archive"
//	  papyra.v1.records.orders.events ─────────────────────────────►
//	      reply: papyra.v1.heard.orders.k3f9x2ab7q04mzt1.17         append, then
//	  ◄───────────────────────── papyra.v1.heard.orders.k3f9x2ab7q04mzt1.17
//	      {"group":"archive","categories":["events","reports"],"heard":[[15,17]]}
//
// Numbers of messages are of one run of a publisher, of all categories together.

// MaxHeardAnswer bounds an answer, in bytes: a sink makes no longer one, and a
// publisher reads no longer one.
const MaxHeardAnswer = 4 << 10

// MaxHeardRanges is how many ranges of messages an answer names at most: so many fit
// in [MaxHeardAnswer], whatever the numbers.
const MaxHeardRanges = 64

// HeardAnswer is what a sink answers a publisher.
type HeardAnswer struct {
	// Group is the group of the sink.
	Group string `json:"group"`
	// Categories are those that the sink takes of the publisher's system, so that the
	// publisher knows for which records it waits for this group.
	Categories []string `json:"categories"`
	// Heard are the numbers of the messages. The one that the subject of the answer
	// names belongs to them without being said. A sink that does not see the numbers,
	// because another account hides them, says none.
	Heard []Range `json:"heard,omitempty"`
}

// AppendJSON appends the answer to b.
func (a *HeardAnswer) AppendJSON(b []byte) []byte {
	b = append(append(append(b, `{"group":"`...), a.Group...), `","categories":[`...)
	for i, c := range a.Categories {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), c...), '"')
	}
	b = append(b, ']')
	for i, r := range a.Heard {
		if i == 0 {
			b = append(b, `,"heard":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(strconv.AppendUint(append(b, '['), r[0], 10), ',')
		b = append(strconv.AppendUint(b, r[1], 10), ']')
	}
	if len(a.Heard) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

// ParseHeardAnswer is the reverse of [HeardAnswer.AppendJSON]. It returns an error for
// everything that is not an answer of a sink; what else can come on the subject of an
// answer, as the acknowledgement of a JetStream, has no group. Unknown members and
// categories are passed over. It allocates at most a few times the length of data.
func ParseHeardAnswer(data []byte) (a HeardAnswer, err error) {
	if len(data) > MaxHeardAnswer {
		return a, fmt.Errorf("the answer has %d bytes: at most %d are allowed", len(data), MaxHeardAnswer)
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("the answer is no JSON object of a sink: %w", err)
	}
	if err := CheckName("group", a.Group); err != nil {
		return a, err
	}
	a.Categories = slices.DeleteFunc(a.Categories, func(c string) bool { return ParseCategory(c) == KindUnknown })
	for _, r := range a.Heard {
		if r[0] > r[1] {
			return a, fmt.Errorf("the answer names messages %d to %d, which is no range", r[0], r[1])
		}
	}
	return a, nil
}

// HeardSubject returns the subject on which sinks answer message n of a run, n from
// 1: papyra.v1.heard.<system>.<run>.<n>.
func HeardSubject(system, run string, n uint64) string {
	return heardPrefix + EncodeToken(system) + "." + run + "." + strconv.FormatUint(n, 10)
}

// HeardByRun returns the wildcard for the answers to all messages of a run.
func HeardByRun(system, run string) string {
	return heardPrefix + EncodeToken(system) + "." + run + ".*"
}

// HeardBySystem returns the wildcard for the answers to all messages of a system, for
// permissions.
func HeardBySystem(system string) string { return heardPrefix + EncodeToken(system) + ".>" }

// HeardMessage is [ParseHeardSubject] for somebody who knows the system: wildcard is
// its HeardBySystem. It allocates nothing.
func HeardMessage(subject, wildcard string) (run string, n uint64, ok bool) {
	rest, ok := strings.CutPrefix(subject, wildcard[:len(wildcard)-1])
	if !ok {
		return "", 0, false
	}
	return parseHeardEnd(rest)
}

// parseHeardEnd reads "<run>.<n>".
func parseHeardEnd(rest string) (run string, n uint64, ok bool) {
	run, digits, _ := strings.Cut(rest, ".")
	if digits == "" || digits[0] < '1' || digits[0] > '9' || !legalRun([]byte(run)) {
		return "", 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return run, n, err == nil
}

// ParseHeardSubject is the reverse of [HeardSubject]. It returns an error for any
// subject that HeardSubject cannot have made.
func ParseHeardSubject(subject string) (system, run string, n uint64, err error) {
	rest, ok := strings.CutPrefix(subject, heardPrefix)
	if !ok {
		return "", "", 0, fmt.Errorf("subject %q does not begin with %q", subject, heardPrefix)
	}
	token, rest, _ := strings.Cut(rest, ".")
	system, err = DecodeToken(token)
	if err == nil {
		err = CheckSystem(system)
	}
	if err != nil {
		return "", "", 0, fmt.Errorf("subject %q: %w", subject, err)
	}
	if run, n, ok = parseHeardEnd(rest); !ok {
		return "", "", 0, fmt.Errorf("subject %q does not end in a run and the number of a message", subject)
	}
	return system, run, n, nil
}
