package backend_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A path stands in a URL as it is.
func TestPathsAsTheyAre(t *testing.T) {
	for _, name := range []string{
		"records.ndjson", "with space", "[brackets]", "a#b", "ünïcode", "100%", "50%off", "a:b", "a&b=c", "-dash", "a+b", "not-utf8-\xff", "%2F",
		"a\\b", `\x41\n`,
	} {
		path := filepath.Join(t.TempDir(), name)
		b, err := backend.Open("json:" + path)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		a, err := b.Appender(context.Background())
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if _, err := a.Append(context.Background(), testrecord.Batch(testrecord.New(1).Event())); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("%q: close: %v", name, err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if got := b.URL(); got != strings.ReplaceAll("json:"+path, "\xff", `\xff`) { // text, whatever the name is
			t.Errorf("%q calls itself %q", name, got)
		}
		if got, want := b.RejectFile(), filepath.Join(filepath.Dir(path), "."+name+".rejected"); got != want {
			t.Errorf("%q: rejects go to %q, want %q", name, got, want)
		}
	}
}

// Any path survives being escaped into a URL, parameters behind it or not.
func TestEscapePath(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringOfN(rapid.SampledFrom([]rune("%?325Ff&= aé")), 1, 12, -1).Draw(rt, "name")
		for _, query := range []string{"", "?sync=none"} {
			b, err := backend.Open("json:" + backend.EscapePath(filepath.Join(dir, name)) + query)
			if err != nil {
				rt.Fatalf("%q: %v", name, err)
			}
			defer b.Close()
			if got, want := filepath.Base(b.RejectFile()), "."+name+".rejected"; got != want {
				rt.Errorf("%q%s: rejects go to %q, want %q", name, query, got, want)
			}
		}
	})
}

// What is wrong with a URL is named, with what is allowed instead.
func TestWrongURLs(t *testing.T) {
	for _, c := range []struct {
		url     string
		options backend.Options
		says    []string
	}{
		{"", nil, []string{"json:PATH", "memory:"}},
		{"records.ndjson", nil, []string{"json:PATH"}},
		{"file:records", nil, []string{"json:PATH"}},
		{"json", nil, []string{"json:PATH"}},
		{"json:", nil, []string{"empty"}},
		{"json:?sync=batch", nil, []string{"empty"}},
		{"json:dir/", nil, []string{"slash"}},
		{"json:.", nil, []string{"directory"}},
		{"json:..", nil, []string{"directory"}},
		{"json:/", nil, []string{"slash"}},
		{"json:a\x00b", nil, []string{"NUL"}},
		{"json:" + strings.Repeat("x", 240), nil, []string{"bytes"}},
		{"json:a?sink=batch", nil, []string{`"sink"`, "sync"}},
		{"json:a?Sync=batch", nil, []string{`"Sync"`, "sync"}},
		{"json:a?sync=batch&sync=none", nil, []string{`"sync"`, "twice"}},
		{"json:a?sync=batch", backend.Options{"sync": "none"}, []string{`"sync"`, "twice"}},
		{"json:a?sync=", nil, []string{`"sync"`, "empty"}},
		{"json:a?sync", nil, []string{`"sync"`, "empty"}},
		{"json:a?sync=always", nil, []string{`"always"`, "none, interval and batch"}},
		{"json:a?sync=%zz", nil, []string{`"sync"`, "escape"}},
		{"json:a?max_bytes=5MB", nil, []string{`"max_bytes"`, "allowed are sync"}},
		{"json:a", backend.Options{"max_files": "5"}, []string{`"max_files"`, "allowed are sync"}},
		{"memory:name", nil, []string{`memory:`}},
		{"memory:?sync=batch", nil, []string{`"sync"`, "none"}},
	} {
		_, err := backend.OpenWith(c.url, c.options)
		if !errors.Is(err, papyra.ErrConfig) {
			t.Errorf("%q: got %v, want papyra.ErrConfig", c.url, err)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q does not say %q", c.url, err, part)
			}
		}
	}
}

// An open needs nothing and makes nothing.
func TestOpenTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	b, err := backend.Open("json:" + filepath.Join(dir, "sub", "records"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v; want nothing", entries, err)
	}
}

func TestRedact(t *testing.T) {
	const canary = "s3cr3t"
	for url, want := range map[string]string{
		"json:/a/b?sync=batch":                "json:/a/b?sync=batch",
		"json:/a@b:c":                         "json:/a@b:c",
		"redis://host:6379/0?prefix=p":        "redis://host:6379/0?prefix=p",
		"redis://user:s3cr3t@host/0":          "redis://user:xxxxx@host/0",
		"redis://:s3cr3t@host/0":              "redis://:xxxxx@host/0",
		"redis://s3cr3t@host/0":               "redis://xxxxx@host/0",
		"redis://user:s3c@r3t/s3cr3t@host/0":  "redis://user:xxxxx@host/0",
		"redis://host?password=s3cr3t&db=1":   "redis://host?password=xxxxx&db=1",
		"redis://host?Sentinel_Pass=s3cr3t":   "redis://host?Sentinel_Pass=xxxxx",
		"redis://host?password=x@s3cr3t&db=1": "xxxxx@xxxxx&db=1",
		"redis://u:s3cr3t?s3cr3t@host":        "redis://u:xxxxx@xxxxx",
		"://user:s3cr3t@":                     "://user:xxxxx@",
		"":                                    "",
	} {
		got := backend.Redact(url)
		if want == "xxxxx@xxxxx&db=1" {
			want = "redis://" + want
		}
		if got != want || strings.Contains(got, canary) {
			t.Errorf("Redact(%q) = %q, want %q", url, got, want)
		}
	}
}

// The zero appender of an adapter is nil, not an interface that holds nil.
func TestAppenderErrorIsNil(t *testing.T) {
	b, err := backend.Open("memory:")
	if err != nil {
		t.Fatal(err)
	}
	first, err := b.Appender(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := first.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if a, err := b.Appender(context.Background()); a != nil || !errors.Is(err, papyra.ErrBusy) {
		t.Errorf("got %v, %v; want nil and papyra.ErrBusy", a, err)
	}
}

func ExampleOpen() {
	ctx := context.Background()
	store, err := backend.Open("memory:")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	appender, err := store.Appender(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	var batch papyra.Batch
	stream := batch.StreamIndex(papyra.Stream{System: "orders", Kind: papyra.KindEvent})
	batch.Append(stream, []byte(`{"kind":"event","system_id":"orders","actor_address":"orders:cart","event_type":"ActorStarted","payload":{},"timestamp":1700000000.5}`))
	if _, err := appender.Append(ctx, &batch); err != nil {
		fmt.Println(err)
	}
	_, err = store.Read(ctx, papyra.Query{Limit: 10}, func(r *papyra.Record, _ papyra.Place) error {
		fmt.Printf("%s %s %s\n", r.Timestamp().Format("15:04:05.0"), r.Actor, r.Type)
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: 22:13:20.5 "orders:cart" ActorStarted
}
