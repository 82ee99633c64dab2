package redis_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/redis"
)

// documentedUser returns the rules of ../README.md for a user of Redis.
func documentedUser(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^    ACL SETUSER papyra on >PASSWORD ([^\n]*)\\\n((?:        [^\n]*\n)*)`).FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("no rules for a user in ../README.md")
	}
	return strings.Fields(strings.ReplaceAll(found[1]+found[2], "\\", ""))
}

// The user that the documents describe can do everything that a sink and the
// tools do; with the streams' keys alone it cannot append.
func TestDocumentedUser(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client(t)
	rules := documentedUser(t)
	s.Do(t, words("ACL SETUSER papyra reset on >pw "+strings.Join(rules, " "))...)
	url := "redis://papyra:pw@" + s.Addr() + "?prefix=papyra"
	damagedStore(t, s, c, "papyra")
	s.Do(t, "XGROUP", "CREATE", "papyra:orders:events", "others", "0")
	store := open(t, url)
	ctx := context.Background()
	src := testrecord.New(9)
	line := src.Line("orders", papyra.KindEvent, "x")
	fill(t, store, line, line, src.Line("a:b", papyra.KindDeadLetter, "y"))

	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := store.Read(ctx, papyra.Query{}, func(*papyra.Record, papyra.Place) error { return nil })
	check("read", err)
	_, err = store.Read(ctx, papyra.Query{Reverse: true, Limit: 3}, func(*papyra.Record, papyra.Place) error { return nil })
	check("read backwards", err)
	_, err = store.Scan(ctx, papyra.ScanOptions{Full: true})
	check("scan", err)
	_, err = store.Compact(ctx, papyra.CompactOptions{Dedupe: true, Retention: papyra.Retention{General: papyra.Limits{Records: 10}}, At: time.Now()})
	check("compact", err)
	_, err = store.Recover(ctx, papyra.RecoverOptions{Now: time.Now()})
	check("recover", err)
	fill(t, store, src.Line("orders", papyra.KindEvent, "after"))
	warnings, err := store.Warnings(ctx, papyra.Retention{})
	check("warnings", err)
	for _, w := range warnings {
		if strings.Contains(w, "NOPERM") || strings.Contains(w, "permission") {
			t.Errorf("warning: %s", w)
		}
	}
	_, err = store.Groups(ctx)
	check("groups", err)
	if log, ok := s.Do(t, "ACL", "LOG").([]any); !ok || len(log) > 0 {
		t.Errorf("the server refused something: %v", log)
	}

	s.Do(t, "ACL", "SETUSER", "papyra", "resetkeys", "~papyra:*")
	a, err := open(t, url).Appender(ctx)
	if err == nil {
		defer a.Close()
		_, err = a.Append(ctx, testrecord.Batch(line))
	}
	if redis.CauseOf(err) != papyra.CauseNOPERM {
		t.Errorf("append without the keys of fences: %v, want NOPERM", err)
	}
}
