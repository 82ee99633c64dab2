package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/sink/backend"
)

// The consumer groups of other programs are told by summary, and by what takes
// entries away from them: dry or not, for people and for scripts, safe for a
// terminal whatever their names are.
func TestGroupsOfOtherPrograms(t *testing.T) {
	ctx := context.Background()
	s := redistest.Start(t)
	c := s.Client(t)
	url := "redis://" + s.Addr()
	run := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		tool := &tool{open: backend.Open, now: testClock}
		if code := cli.Run(tool.app(), append(append([]string{"papyra-ctl"}, args...), "--backend", url), &stdout, &stderr); code != want {
			t.Fatalf("%q: code %d, want %d\n%s%s", args, code, want, &stdout, &stderr)
		}
		return stdout.String()
	}
	wants := func(what, text string, lines ...string) {
		t.Helper()
		var have []string // whatever the widths of the columns
		for line := range strings.Lines(text) {
			have = append(have, strings.Join(strings.Fields(line), " "))
		}
		for _, line := range lines {
			if !slices.Contains(have, line) {
				t.Errorf("%s has no line %q:\n%s", what, line, text)
			}
		}
	}
	line := func(seq uint64) string {
		id, err := papyra.NewIdentityRun("eu-1", "k3f9x2ab7q04mzt1")
		if err != nil {
			t.Fatal(err)
		}
		var e papyra.Encoder
		if err := e.Event(id, "orders", &papyra.Event{Actor: papyra.Address{ID: 1}, Type: papyra.ActorStarted, Payload: "x"}, nil, testClock()); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(e.AppendLine(nil, seq)), "\n")
	}
	const key = "papyra:orders:events"
	add := func(data string) string {
		return c.XAdd(ctx, &goredis.XAddArgs{Stream: key, Values: []any{"data", data}}).Val()
	}
	for _, seq := range []uint64{1, 2, 3, 1, 2} {
		add(line(seq))
	}
	if out := run(0, "inspect", "summary"); strings.Contains(out, "consumer groups") {
		t.Errorf("groups where there are none:\n%s", out)
	}
	if out := run(0, "inspect", "summary", "-o", "json"); strings.Contains(out, `"groups"`) {
		t.Errorf("groups where there are none: %s", out)
	}
	hostile := "\x1b[2Jwiped\u202e\n"
	for _, group := range []string{hostile, "behind"} {
		if err := c.XGroupCreate(ctx, key, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: "behind", Consumer: "c", Streams: []string{key, ">"}, Count: 1}).Err(); err != nil {
		t.Fatal(err)
	}

	shown := `\x1b[2Jwiped\u202e\n`
	wants("summary", run(0, "inspect", "summary"),
		"consumer groups of other programs:",
		"STREAM GROUP CONSUMERS PENDING LAG",
		key+" "+shown+" 0 0 5",
		key+" behind 1 1 4")
	if out := run(0, "inspect", "summary", "--system", "billing"); strings.Contains(out, "consumer groups") {
		t.Errorf("groups of another system:\n%s", out)
	}

	// The first two go, of which the one is pending and the other to come.
	losses := []string{
		key + " " + shown + " 0 2",
		key + " behind 1 1",
	}
	wants("dry run", run(0, "compact", "--dedupe", "--dry-run"), append(losses, "consumer groups of other programs that would lose entries:")...)
	var dry, wet struct{ Groups []papyra.RemovedGroup }
	if err := json.Unmarshal([]byte(run(0, "compact", "--dedupe", "--dry-run", "-o", "json")), &dry); err != nil {
		t.Fatal(err)
	}
	wants("compact", run(0, "compact", "--dedupe"), append(losses, "consumer groups of other programs that lost entries:")...)
	if len(dry.Groups) != 2 || dry.Groups[0].Group != hostile || dry.Groups[1].Pending != 1 || dry.Groups[1].Undelivered != 1 {
		t.Errorf("groups of the dry run %+v", dry.Groups)
	}

	// A hole behind the last delivered entry makes the lag unknown.
	if err := c.XDel(ctx, key, c.XRange(ctx, key, "-", "+").Val()[1].ID).Err(); err != nil {
		t.Fatal(err)
	}
	wants("summary", run(0, "inspect", "summary"), key+" behind 1 1 ?")
	var sum struct {
		Groups []map[string]any
	}
	if err := json.Unmarshal([]byte(run(0, "inspect", "summary", "-o", "json")), &sum); err != nil {
		t.Fatal(err)
	}
	if len(sum.Groups) != 2 || sum.Groups[1]["lag"] != nil || sum.Groups[1]["pending"] != 1.0 || sum.Groups[1]["system"] != "orders" || sum.Groups[1]["backend"] != url+"/0?prefix=papyra" {
		t.Errorf("groups in the JSON: %v", sum.Groups)
	}

	add("junk")
	wants("dry recovery", run(2, "recover", "--dry-run"), key+" behind 0 1")
	if err := json.Unmarshal([]byte(run(0, "recover", "-o", "json")), &wet); err != nil {
		t.Fatal(err)
	}
	if len(wet.Groups) != 2 || wet.Groups[1] != (papyra.RemovedGroup{Stream: key, Group: "behind", Undelivered: 1}) {
		t.Errorf("groups of the recovery %+v", wet.Groups)
	}
}
