package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/papyra/papyra"
)

// The states of the sinks of a group, as rows show them.
const (
	MemberDone    = "done"
	MemberRefused = "refused" // it, or the broker, does not allow it
	MemberSilent  = "silent"  // it ought to be there and does not answer
	MemberGone    = "gone"    // it ended meanwhile
	MemberFailed  = "failed"
	MemberWaiting = "not asked" // an earlier one did not come to a good end
)

// Member is one sink of a group that ought to be there.
type Member struct {
	Group    string
	Instance string
	// Known is what another sink of the group remembers of it; zero where none does.
	Known Expected
	// Store is the sink's store. That of a sink which does not answer fails with
	// papyra.ErrIncomplete, and of one that refuses with papyra.ErrDenied.
	Store papyra.Store
	// Err is why the sink cannot be asked; nil if it answers.
	Err error
}

// State returns what became of the sink, as of now.
func (m *Member) State() string {
	err := m.Problem()
	switch {
	case err == nil:
		return MemberDone
	case errors.Is(err, papyra.ErrDenied):
		return MemberRefused
	case errors.Is(err, ErrGone):
		return MemberGone
	case errors.Is(err, ErrSilent):
		return MemberSilent
	}
	return MemberFailed
}

// Problem returns why the sink cannot be asked, or the last error of what it was asked
// for; nil without any.
func (m *Member) Problem() error {
	if through, ok := m.Store.(*Store); ok && m.Err == nil {
		return through.lastProblem()
	}
	return m.Err
}

// Find says which sinks are wanted.
type Find struct {
	Group    string   // "": the only one there is
	Every    bool     // with Group "": every group that there is
	Instance string   // "": every one of the group
	Expect   []string // instances that ought to be there, whoever answers; with Every also GROUP/INSTANCE
	Verb     string   // as which records are read
}

const (
	// findAtLeast is how long answers are waited for when everybody who is known of
	// has answered: sinks that have just started may not know of each other.
	findAtLeast = 700 * time.Millisecond
	// findAtMost is how long those are waited for who do not answer.
	findAtMost = 2 * time.Second
	// maxFound bounds the sinks that are looked for.
	maxFound = 4096
)

// Find returns the sinks that ought to be there, by group and instance: those that answer, those
// that one of them remembers and that has not said that it stops, and those that are
// expected. Where a server allows one of the questions to nobody of this login:
// papyra.ErrDenied. Where nobody answers and nobody is expected:
// papyra.ErrUnavailable.
func (f *Fleet) Find(ctx context.Context, want Find) ([]Member, error) {
	s := &finding{fleet: f, want: want, found: map[memberName]*Member{}, ids: map[memberName]string{}, healths: make(chan *Member)}
	for _, name := range want.Expect {
		group, instance, both := strings.Cut(name, "/")
		if !both {
			group, instance = want.Group, name
		}
		err := papyra.CheckName("instance", instance)
		if both && err == nil {
			if err = papyra.CheckName("group", group); err == nil && want.Group != "" && group != want.Group {
				err = fmt.Errorf("sink %s is of another group than %s", name, want.Group)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", papyra.ErrUsage, err)
		}
		s.expect = append(s.expect, memberName{group, instance})
	}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	var list []Member
	for _, m := range s.found {
		list = append(list, *m)
	}
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Instance, b.Instance))
	})
	if len(list) == 0 {
		group := ""
		if want.Group != "" {
			group = " of group " + want.Group
		}
		return nil, fmt.Errorf("%w: no sink%s answers: see to the group's name and to the sinks, or name those that ought to be there with --expect", papyra.ErrUnavailable, group)
	}
	if len(list) > 1 {
		for i := range list {
			if through, ok := list[i].Store.(*Store); ok {
				through.url = list[i].Instance + ": " + through.url
			}
		}
	}
	return list, nil
}

// finding is one Find. One goroutine uses it.
type finding struct {
	fleet   *Fleet
	want    Find
	expect  []memberName // a group is "" where that is not known yet
	groups  []string     // of the sinks that answered
	found   map[memberName]*Member
	ids     map[memberName]string // of their announcements
	doubled []memberName          // names that several sinks have
	nobody  bool                  // the server says that no sink listens
	asked   int                   // of those whose health is asked for and not known yet
	healths chan *Member          // whose health is known
}

// memberName names a sink.
type memberName struct{ group, instance string }

// absent returns the sink of that name as one that cannot be asked.
func (n memberName) absent(err error) *Member {
	return &Member{Group: n.group, Instance: n.instance, Store: absentStore(fmt.Sprintf("sink %s of group %s", n.instance, n.group), err), Err: err}
}

func (s *finding) run(ctx context.Context) error {
	subject, err := micro.ControlSubject(micro.PingVerb, papyra.SinkService, "")
	if err != nil {
		return err
	}
	nc := s.fleet.nc
	inbox, pings := nc.NewInbox(), make(chan *nats.Msg, 4096)
	sub, err := nc.ChanSubscribe(inbox, pings)
	if err == nil {
		defer func() { _ = sub.Unsubscribe() }() // fails on a connection that is closed
		err = nc.PublishRequest(subject, inbox, nil)
	}
	if err != nil {
		return fmt.Errorf("%w: look for the sinks: %w", papyra.ErrUnavailable, err)
	}
	// The server says what it refuses before it answers what comes behind.
	if err := nc.FlushTimeout(answerWithin); err != nil {
		return fmt.Errorf("%w: look for the sinks: %w", papyra.ErrUnavailable, err)
	}
	least, most := time.After(findAtLeast), time.After(findAtMost)
	early := s.want.Instance != "" // nobody else may have to be waited for
	for {
		if err := s.fleet.refusal(subject, inbox); err != nil {
			s.waitForHealths()
			return err
		}
		if s.nobody || early && s.asked == 0 && s.complete() {
			break
		}
		select {
		case m := <-pings:
			s.hearPing(ctx, m)
			continue
		case m := <-s.healths:
			s.asked--
			s.hearHealth(m)
			continue
		case <-least:
			early = true
			continue
		case <-most:
		case <-ctx.Done():
			s.waitForHealths()
			return context.Cause(ctx)
		}
		break
	}
	return s.conclude(ctx)
}

// complete reports whether everybody who is known of has answered.
func (s *finding) complete() bool {
	for _, m := range s.found {
		if m.Store == nil {
			return false
		}
	}
	return !slices.ContainsFunc(s.expected(), func(name memberName) bool { return !s.has(name) })
}

// has reports whether a sink is known of, in any group where its own is not known.
func (s *finding) has(name memberName) bool {
	if name.group != "" {
		return s.found[name] != nil
	}
	for other := range s.found {
		if other.instance == name.instance {
			return true
		}
	}
	return false
}

// expected returns who is to answer whatever the others say.
func (s *finding) expected() []memberName {
	if s.want.Instance != "" {
		return []memberName{{s.want.Group, s.want.Instance}}
	}
	return s.expect
}

// wants reports whether a sink is one of those that are wanted.
func (s *finding) wants(group, instance string) bool {
	return (s.want.Group == "" || group == s.want.Group) && (s.want.Instance == "" || instance == s.want.Instance)
}

// hearPing takes the answer of a sink.
func (s *finding) hearPing(ctx context.Context, m *nats.Msg) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		s.nobody = true
		return
	}
	var p micro.Ping
	if len(m.Data) > maxRequest || json.Unmarshal(m.Data, &p) != nil || p.Type != micro.PingResponseType || p.Name != papyra.SinkService {
		return
	}
	group, instance := p.Metadata[metaGroup], p.Metadata[metaInstance]
	if papyra.CheckName("group", group) != nil || papyra.CheckName("instance", instance) != nil {
		return
	}
	if !slices.Contains(s.groups, group) && len(s.groups) < 64 {
		s.groups = append(s.groups, group)
	}
	if !s.wants(group, instance) {
		return
	}
	name := memberName{group, instance}
	switch id := s.ids[name]; {
	case id != "" && id != p.ID:
		s.doubled = append(s.doubled, name)
	case id == "" && len(s.ids) < 4096:
		s.ids[name] = p.ID
	}
	if s.found[name] == nil {
		s.found[name] = &Member{Group: group, Instance: instance}
		s.askHealth(ctx, name, true)
	}
}

// askHealth asks a sink how it is, meanwhile.
func (s *finding) askHealth(ctx context.Context, name memberName, announced bool) {
	s.asked++
	door := &natsDoor{fleet: s.fleet, group: name.group, instance: name.instance, announced: announced}
	go func() {
		store, err := openThrough(ctx, door, s.want.Verb, s.fleet.by, "", false)
		if err != nil {
			s.healths <- name.absent(err)
			return
		}
		s.healths <- &Member{Group: name.group, Instance: name.instance, Store: store}
	}()
}

// hearHealth takes what a sink said of itself, and of the others that it remembers.
func (s *finding) hearHealth(m *Member) {
	name := memberName{m.Group, m.Instance}
	if old := s.found[name]; old != nil {
		m.Known = old.Known
	}
	s.found[name] = m
	through, ok := m.Store.(*Store)
	if !ok {
		return
	}
	for _, other := range through.health.Expects {
		name := memberName{m.Group, other.Instance}
		if papyra.CheckName("instance", other.Instance) != nil || !s.wants(name.group, name.instance) {
			continue
		}
		if s.found[name] == nil && len(s.found) < maxFound {
			s.found[name] = &Member{Group: name.group, Instance: name.instance}
		}
		if known := s.found[name]; known != nil && other.Heard >= known.Known.Heard {
			known.Known = other
		}
	}
}

// waitForHealths waits for the questions that are on their way.
func (s *finding) waitForHealths() {
	for ; s.asked > 0; s.asked-- {
		s.hearHealth(<-s.healths)
	}
}

// conclude asks those once more that have not answered, and names them if they still do
// not.
func (s *finding) conclude(ctx context.Context) error {
	s.waitForHealths()
	slices.Sort(s.groups)
	if s.want.Group == "" && len(s.groups) > 1 && !s.want.Every {
		return fmt.Errorf("%w: there are sinks of several groups: give --group, one of %s", papyra.ErrUsage, strings.Join(s.groups, ", "))
	}
	group := s.want.Group
	if group == "" && len(s.groups) == 1 {
		group = s.groups[0]
	}
	if group == "" {
		group = "default"
	}
	for _, name := range s.expected() {
		switch {
		case s.has(name):
			continue
		case name.group == "" && len(s.groups) > 1:
			return fmt.Errorf("%w: there are sinks of several groups: say of which %s is, like %s/%s", papyra.ErrUsage, name.instance, s.groups[0], name.instance)
		case name.group == "":
			name.group = group
		}
		s.found[name] = &Member{Group: name.group, Instance: name.instance}
	}
	for !s.complete() {
		for name, m := range s.found {
			if m.Store == nil {
				// The answer to the first question may have been lost.
				s.askHealth(ctx, name, false)
			}
		}
		s.waitForHealths()
	}
	for _, name := range s.doubled {
		// Which of them would answer is chance, and the others' stores nobody would see.
		s.found[name] = name.absent(fmt.Errorf("several sinks of group %s are called %s: give each a name of its own with --instance: %w",
			name.group, name.instance, papyra.ErrIncomplete))
	}
	return nil
}

// OthersReady asks the sinks of a group but one how they are. Its error names the first
// that does not answer or cannot do its work: while it is away, nothing is to be done to
// that one, which may itself be in need of it.
func OthersReady(ctx context.Context, members []Member, but int) error {
	for i := range members {
		m := &members[i]
		if i == but {
			continue
		}
		through, ok := m.Store.(*Store)
		if !ok {
			return fmt.Errorf("%s: %w", m.Store.URL(), m.Err)
		}
		h, err := through.Ask(ctx)
		if err != nil {
			return fmt.Errorf("sink %s: %w", m.Instance, err)
		}
		if h.NotReady != "" {
			return fmt.Errorf("sink %s is not ready: %s: %w", m.Instance, h.NotReady, papyra.ErrIncomplete)
		}
	}
	return nil
}
