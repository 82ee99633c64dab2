package admin

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
)

// Over NATS the arguments are the body of a message and the rest stands in headers, so
// that somebody without this package can ask too:
//
//	nats request papyra.v1.sink.archive.eu-1.health '' --replies 3
const (
	headerJob     = "Papyra-Job"
	headerBy      = "Papyra-By"
	headerOp      = "Papyra-Op"
	headerTo      = "Papyra-To"
	headerCredits = "Papyra-Credits"
	headerAnswer  = "Papyra-Answer"

	// headerInfo is what a server says of who asks through a service import.
	headerInfo = "Nats-Request-Info"
)

const (
	// Requests that wait for the sink; further ones are lost, and asked for again.
	maxWaiting      = 1024
	maxWaitingBytes = 8 << 20
)

// The metadata of a sink's announcement.
const (
	metaGroup    = "group"
	metaInstance = "instance"
)

// Register adds an endpoint for each verb; see [sink.Admin].
func (s *Server) Register(announced micro.Service, nc *nats.Conn) error {
	meta := announced.Info().Metadata
	for _, verb := range verbs() {
		err := announced.AddEndpoint(verb, micro.HandlerFunc(func(r micro.Request) { s.handleMessage(verb, r, nc) }),
			micro.WithEndpointSubject(papyra.AdminSubject(meta[metaGroup], meta[metaInstance], verb)),
			micro.WithEndpointQueueGroupDisabled(), micro.WithEndpointPendingLimits(maxWaiting, maxWaitingBytes))
		if err != nil {
			return fmt.Errorf("offer %s over NATS: %w", verb, err)
		}
	}
	return nil
}

// handleMessage takes a request for a verb. Without a reply subject nobody could hear
// of it, and nothing is done; nor where an answer could be taken for something else.
func (s *Server) handleMessage(verb string, r micro.Request, nc *nats.Conn) {
	reply, h := r.Reply(), r.Headers()
	if !papyra.MayAnswerOn(reply) {
		return
	}
	from := &asker{verb: verb, room: int(min(nc.MaxPayload(), maxFrame))}
	from.send = func(frame []byte) { _ = nc.Publish(reply, frame) } // whether anybody hears it NATS does not tell
	if s.config.TrustRequestInfo {
		from.by, from.proven = requestInfo(h.Get(headerInfo))
	}
	q := &request{Op: h.Get(headerOp), Verb: verb, Job: h.Get(headerJob), By: h.Get(headerBy), To: h.Get(headerTo), Answer: h.Get(headerAnswer)}
	if q.Op == "" {
		q.Op, q.Args = opStart, r.Data()
	}
	if q.Job == "" && q.Op == opStart {
		q.Job = newID()
	}
	q.Credits, _ = strconv.Atoi(h.Get(headerCredits)) // what is no number is none
	switch {
	case len(r.Data()) > maxRequest:
		s.refuse(from, q.Job, fmt.Errorf("%w: the request has more than %d bytes", papyra.ErrUsage, maxRequest))
	case len(q.Args) > 0 && !json.Valid(q.Args):
		s.refuse(from, q.Job, fmt.Errorf("%w: the arguments are no JSON", papyra.ErrUsage))
	default:
		s.handle(q, from)
	}
}

// requestInfo returns who asks, as the broker says; "" where it does not.
func requestInfo(text string) (by, proven string) {
	var info struct {
		Account string `json:"acc"`
		User    string `json:"user"`
		Name    string `json:"name"`
	}
	if text == "" || json.Unmarshal([]byte(text), &info) != nil || info.Account == "" && info.User == "" {
		return "", ""
	}
	by = info.User
	if by == "" {
		by = "a login"
	}
	return clip(by+" of account "+info.Account, maxText), papyra.ProvenBroker
}
