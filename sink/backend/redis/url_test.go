package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
)

func TestParseURL(t *testing.T) {
	base := func(change func(*address)) *address {
		a := &address{scheme: "redis", network: "tcp", hosts: []string{"h:6379"}, prefix: "papyra", timeout: 5 * time.Second}
		change(a)
		return a
	}
	for _, c := range []struct {
		url, name string
		want      *address
	}{
		{"redis://h", "redis://h:6379/0?prefix=papyra", base(func(*address) {})},
		{"redis://h:1/3?prefix=a:b", "redis://h:1/3?prefix=a:b", base(func(a *address) {
			a.hosts, a.db, a.dbGiven, a.prefix = []string{"h:1"}, 3, true, "a:b"
		})},
		{"redis://[::1]", "redis://[::1]:6379/0?prefix=papyra", base(func(a *address) { a.hosts = []string{"[::1]:6379"} })},
		{"redis://[::1]:7/", "redis://[::1]:7/0?prefix=papyra", base(func(a *address) { a.hosts = []string{"[::1]:7"} })},
		{"redis://u:p%40%2F%3F%25@h?timeout=1m", "redis://h:6379/0?prefix=papyra", base(func(a *address) {
			a.user, a.password, a.timeout = "u", "p@/?%", time.Minute
		})},
		{"redis://:secret@h", "redis://h:6379/0?prefix=papyra", base(func(a *address) { a.password = "secret" })},
		{"redis://h?user=u&password_file=/run/p%26w", "redis://h:6379/0?prefix=papyra", base(func(a *address) { a.user, a.passwordFile = "u", "/run/p&w" })},
		{"rediss://h?tls_ca=/ca&tls_cert=/c&tls_key=/k&tls_server_name=n", "rediss://h:6379/0?prefix=papyra", base(func(a *address) {
			a.scheme, a.tls, a.ca, a.cert, a.key, a.tlsName = "rediss", true, "/ca", "/c", "/k", "n"
		})},
		{"unix:///run/r%20s?db=2", "unix:///run/r%20s?prefix=papyra&db=2", base(func(a *address) {
			a.scheme, a.network, a.hosts, a.db, a.dbGiven = "unix", "unix", []string{"/run/r s"}, 2, true
		})},
		{"redis+sentinel://a,b:1/main/4?sentinel_user=s&sentinel_password_file=/f", "redis+sentinel://a:26379,b:1/main/4?prefix=papyra", base(func(a *address) {
			a.scheme, a.hosts, a.master, a.db, a.dbGiven = "redis+sentinel", []string{"a:26379", "b:1"}, "main", 4, true
			a.sentinelUser, a.sentinelPasswordFile = "s", "/f"
		})},
		{"rediss+cluster://u:p@a,b:7", "rediss+cluster://a:6379,b:7?prefix=papyra", base(func(a *address) {
			a.scheme, a.tls, a.cluster, a.hosts, a.user, a.password = "rediss+cluster", true, true, []string{"a:6379", "b:7"}, "u", "p"
		})},
	} {
		t.Run(c.url, func(t *testing.T) {
			got, err := parseURL(c.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(address{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.String() != c.name {
				t.Errorf("named %s, want %s", got, c.name)
			}
			// What names the store can be opened again, without the secrets.
			if again, err := parseURL(got.String(), nil); err != nil || again.String() != c.name {
				t.Errorf("the name opens as %v, %v", again, err)
			}
		})
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, c := range []struct{ url, says string }{
		{"redis:h", "must be one of"},
		{"http://h", "must be one of"},
		{"redis+cluster+sentinel://h", "must be one of"},
		{"redis://", `host ""`},
		{"redis://h:", "HOST:PORT"},
		{"redis://h:0", "HOST:PORT"},
		{"redis://h:65536", "HOST:PORT"},
		{"redis://h:x", "HOST:PORT"},
		{"redis://::1", "HOST:PORT"},
		{"redis://[h]", "HOST:PORT"},
		{"redis://a,b", "several hosts"},
		{"redis://h/x", "database"},
		{"redis://h/-1", "database"},
		{"redis://h/01", "database"},
		{"redis://h/1?db=1", "twice"},
		{"redis://h#x", "fragment"},
		{"redis+cluster://h/1", "database 0"},
		{"redis+sentinel://h", "name the master"},
		{"redis+sentinel://h//1", "name the master"},
		{"unix://relative", "absolute"},
		{"redis://h?foo=1", `"foo" is unknown`},
		{"redis://h?keep_records=1", "unknown"},
		{"redis://h?prefix=a&prefix=a", "given twice"},
		{"redis://h?prefix=", "empty"},
		{"redis://h?prefix", "empty"},
		{"redis://h?prefix=%zz", "escape"},
		{"redis://h?prefix=a%7Bb", "brace"},
		{"redis://h?prefix=a}", "brace"},
		{"redis://h?prefix=a%20b", "control"},
		{"redis://h?prefix=a%0a", "control"},
		{"redis://h?timeout=0s", "timeout"},
		{"redis://h?timeout=-1s", "timeout"},
		{"redis://h?timeout=1h", "timeout"},
		{"redis://h?timeout=5", "timeout"},
		{"redis://h?tls_ca=/x", "rediss"},
		{"rediss://h?tls_cert=/x", "belong together"},
		{"redis://h?sentinel_user=x", "redis+sentinel"},
		{"redis://:p@h?password_file=/f", "not both"},
	} {
		_, err := parseURL(c.url, nil)
		if !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want papyra.ErrConfig that says %q", c.url, err, c.says)
		}
	}
	if _, err := Open("redis://h?prefix=a", Config{Parameters: map[string]string{"prefix": "b"}}); !errors.Is(err, papyra.ErrConfig) {
		t.Errorf("a parameter in both places: %v", err)
	}
	s, err := Open("redis://h", Config{Parameters: map[string]string{"prefix": "b", "db": "7"}})
	if err != nil || s.URL() != "redis://h:6379/7?prefix=b" {
		t.Errorf("parameters beside the URL: %v, %v", s, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://u:p@h:1/2?prefix=x")
	f.Add("redis+sentinel://[::1],b/m/1?user=x%20y")
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := parseURL(raw, nil)
		if err != nil {
			if !errors.Is(err, papyra.ErrConfig) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		again, err := parseURL(a.String(), nil)
		if err != nil || again.String() != a.String() {
			t.Fatalf("%q is named %s, which opens as %v, %v", raw, a, again, err)
		}
	})
}
