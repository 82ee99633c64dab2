package admin

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/papyra/papyra"
)

// The verbs of a sink. Those that change nothing are a viewer's.
const (
	VerbHealth  = "health"  // what the store and the sink say of themselves
	VerbStats   = "stats"   // the sink's counts
	VerbInspect = "inspect" // records
	VerbSummary = "summary" // records, for a summary
	VerbAccount = "account" // records, for an account
	VerbScan    = "scan"
	VerbRejects = "rejects" // the reject files
	VerbJobs    = "jobs"    // the jobs there are and were
	VerbResult  = "result"  // what became of a job

	VerbRecover = "recover"
	VerbCompact = "compact"
	VerbForget  = "forget" // another sink of the group is not expected any more
	VerbCancel  = "cancel" // ends the job of somebody else
)

// verbs returns every verb.
func verbs() []string {
	return []string{
		VerbHealth, VerbStats, VerbInspect, VerbSummary, VerbAccount, VerbScan, VerbRejects, VerbJobs, VerbResult,
		VerbRecover, VerbCompact, VerbForget, VerbCancel,
	}
}

// isAct reports whether a verb changes something, so that who asked is written down in
// the store.
func isAct(verb string) bool { return worksOnStore(verb) || verb == VerbForget }

// worksOnStore reports whether a verb may change more of the store than that: one of
// these runs at a time.
func worksOnStore(verb string) bool { return verb == VerbRecover || verb == VerbCompact }

// isQuestion reports whether a verb is answered without reading the store.
func isQuestion(verb string) bool {
	switch verb {
	case VerbHealth, VerbStats, VerbJobs, VerbResult, VerbCancel:
		return true
	}
	return false
}

// The times and bounds of the protocol.
const (
	heartbeat = time.Second // between two frames of a job, at most
	// patience is how long a read goes on, or an act waits for an approval, without a
	// sign of life of who asked.
	patience = 15 * time.Second
	renewal  = 4 * time.Second // between two signs of life

	firstCredits = 8 // parts that are sent before anybody asks for more

	// maxRequest bounds a request; a longer one is refused.
	maxRequest = 64 << 10
	// maxFrame bounds a frame on a socket. On NATS the server's max payload does.
	maxFrame = 256 << 10
	// headRoom is the room for the head of a frame beside a piece of a body.
	headRoom = 4 << 10
	// maxText bounds the text of an error, and names that somebody claims.
	maxText = 2 << 10
)

// request is what whoever asks sends.
type request struct {
	Op   string          `json:"op"`           // opStart, opMore, opCancel or opEnd
	Verb string          `json:"verb"`         // with opStart
	Job  string          `json:"job"`          // made by who asks
	By   string          `json:"by,omitempty"` // who asks, as he says
	Args json.RawMessage `json:"args,omitempty"`

	Credits int    `json:"credits,omitempty"` // with opMore: so many more parts
	Answer  string `json:"answer,omitempty"`  // with opMore: to a plan, answerYes or answerNo
	To      string `json:"to,omitempty"`      // the sink that is meant, as its frames name it; "" with a start: whichever hears it
}

// checkLength returns an error for a request that has more bytes than a sink takes.
func checkLength(n int) error {
	if n > maxRequest {
		return fmt.Errorf("%w: the request has %d bytes, at most %d are allowed: give fewer names", papyra.ErrUsage, n, maxRequest)
	}
	return nil
}

// What a request wants.
const (
	opStart  = "start"
	opMore   = "more"   // a sign of life
	opCancel = "cancel" // the job is to end, and to say how
	opEnd    = "end"    // nobody wants more of a read

	answerYes = "yes"
	answerNo  = "no"
)

// The kinds of frames.
const (
	frameAccepted = "accepted"
	frameProgress = "progress"
	framePart     = "part"
	frameResult   = "result"
	frameError    = "error"
)

// The states that a progress frame may tell.
const (
	stateRunning  = "running"
	stateApprove  = "approve"  // the parts since the last frame of this kind, and the body, are a plan
	stateStopping = "stopping" // the job was told to end
)

// frame is one answer: a head in JSON, a newline, and a body, which a reader
// understands by the kind of the frame and the verb.
type frame struct {
	Job   string `json:"job"`
	From  string `json:"from"` // the sink: random at each of its starts
	N     uint64 `json:"n"`    // from 1
	Kind  string `json:"kind"`
	Part  uint64 `json:"part,omitempty"` // of a part: from 1; of the last frame: how many there were
	State string `json:"state,omitempty"`
	Done  int64  `json:"done,omitempty"`
	Total int64  `json:"total,omitempty"`
	Error *fault `json:"error,omitempty"`

	body []byte
}

// encode returns the bytes of a frame.
func (f *frame) encode() []byte {
	head, err := json.Marshal(f)
	if err != nil {
		head = []byte(`{"kind":"error"}`) // cannot be: there is nothing in a frame that JSON cannot show
	}
	return append(append(head, '\n'), f.body...)
}

// decodeFrame is the reverse. The body is a part of b.
func decodeFrame(b []byte) (*frame, error) {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	f := &frame{body: body}
	if !ok {
		return nil, errors.New("an answer without a head")
	}
	if err := json.Unmarshal(head, f); err != nil {
		return nil, fmt.Errorf("read an answer: %w", err)
	}
	return f, nil
}

// newID returns a random id.
func newID() string { return rand.Text() }

// checkID reports whether an id may be one of newID's, or of another client's.
func checkID(id string) bool { return papyra.CheckName("job", id) == nil }

// clip bounds a text that comes from elsewhere.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
