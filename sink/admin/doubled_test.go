package admin

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/sink/backend/memory"
)

// Where two sinks have one name, nobody is shown one of the two stores as if it were all,
// and no act is done in both.
func TestTwoSinksOfOneName(t *testing.T) {
	t.Parallel()
	url := natstest.Embedded(t, nil).ClientURL()
	runs := make(chan string, 8)
	for _, name := range []string{"one", "two"} {
		w := &notingWorker{}
		w.store = &actStore{memory.New(nil).Open(), func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
			runs <- name
			return &papyra.CompactReport{}, nil
		}}
		announceServer(t, url, "eu-1", w)
	}
	announceServer(t, url, "eu-2", &notingWorker{fakeWorker: fakeWorker{memory.New(nil).Open()}})
	fleet, err := Connect(FleetConfig{URL: url, By: "tester"})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	members, err := fleet.Find(t.Context(), Find{Group: "archive", Verb: VerbInspect})
	if err != nil || len(members) != 2 {
		t.Fatalf("found %+v, %v; want two names", members, err)
	}
	for i, want := range []string{MemberFailed, MemberDone} {
		if m := &members[i]; m.State() != want {
			t.Errorf("%s is %s, %v; want %s", m.Instance, m.State(), m.Problem(), want)
		}
	}
	if _, err := members[0].Store.Compact(t.Context(), papyra.CompactOptions{Dedupe: true}); !errors.Is(err, papyra.ErrIncomplete) {
		t.Errorf("an act on the name of two: %v, want ErrIncomplete", err)
	}
	if err := OthersReady(t.Context(), members, 1); !errors.Is(err, papyra.ErrIncomplete) {
		t.Errorf("before an act on the other: %v, want ErrIncomplete", err)
	}
	// Who has not seen that there are two acts in one of them.
	through, err := openThrough(t.Context(), &natsDoor{fleet: fleet, group: "archive", instance: "eu-1", announced: true}, VerbInspect, "tester", "", false)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := through.Compact(t.Context(), papyra.CompactOptions{Dedupe: true}); err != nil {
			t.Fatal(err)
		}
	}
	// A request behind those of the acts has been answered by both.
	for range 2 {
		if _, err := through.Ask(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(runs) != 3 {
		t.Errorf("three acts ran %d times", len(runs))
	}
}

// replacedDoor leads to another sink from the second exchange about an act on.
type replacedDoor struct {
	directDoor
	next *Server
	acts int
}

func (d *replacedDoor) open(ctx context.Context, verb string) (exchange, error) {
	x, err := d.directDoor.open(ctx, verb)
	if isAct(verb) {
		direct, _ := x.(*directExchange)
		direct.from.send = func([]byte) {} // nothing is heard of it any more
		if d.acts++; d.acts == 1 {
			d.server = d.next
			direct.from.send = func(raw []byte) {
				if f, err := decodeFrame(raw); err == nil && f.Kind == frameAccepted {
					direct.deliver(raw)
				}
			}
		}
	}
	return x, err
}

// An act whose sink has been replaced, and which that one may not have written down, does
// not begin anew in the other.
func TestActOfASinkThatWasReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, m *memory.Memory) {
		runs := make(chan string, 8)
		var servers []*Server
		for _, name := range []string{"one", "two"} {
			w := &notingWorker{}
			w.store = &actStore{memory.New(nil).Open(), func(context.Context, papyra.CompactOptions) (*papyra.CompactReport, error) {
				runs <- name
				return &papyra.CompactReport{}, nil
			}}
			s, stop := serveWorker(t, w)
			defer stop()
			servers = append(servers, s)
		}
		through := storeOf(t, servers[0])
		through.door = &replacedDoor{directDoor: directDoor{servers[0], maxFrame}, next: servers[1]}
		began := time.Now()
		if _, err := through.Compact(t.Context(), papyra.CompactOptions{Dedupe: true}); !errors.Is(err, ErrGone) || !errors.Is(err, papyra.ErrIncomplete) {
			t.Errorf("got %v, want ErrGone", err)
		}
		if took := time.Since(began); took > silence+heartbeat {
			t.Errorf("it was known after %v", took)
		}
		if len(runs) != 1 {
			t.Errorf("it ran %d times", len(runs))
		}
	})
}
