package redact_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/papyra/papyra/internal/redact"
)

func TestURLHidesSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"":                                        "",
		"nats://127.0.0.1:4222":                   "nats://127.0.0.1:4222",
		"nats://me:canary@host":                   "nats://me:xxxxx@host",
		"NATS://me:canary@host":                   "NATS://me:xxxxx@host",
		"nats://canary@host":                      "nats://xxxxx@host",
		"me:canary@host:4222":                     "me:xxxxx@host:4222",
		"canary@host:4222":                        "xxxxx@host:4222",
		"me:canary://canary@host":                 "me:xxxxx@host",
		"my canary://canary@host":                 "xxxxx@host",
		"u:canary\x00@host":                       "u:xxxxx@host",
		"redis://:canary@host/0?prefix=p":         "redis://:xxxxx@host/0?prefix=p",
		"redis://u:@host/0":                       "redis://u:xxxxx@host/0",
		"redis://u:can%zzary@host":                "redis://u:xxxxx@host",
		"redis://u:canary/canary?canary@host":     "redis://u:xxxxx@xxxxx",
		"redis://user:canary,canary@host:1/0":     "redis://user:xxxxx@host:1/0",
		"redis://u:canary@canary:canary@host":     "redis://u:xxxxx@host",
		"redis://u:canary,nats://canary@host":     "redis://u:xxxxx@host",
		"redis://u:canary canary@host":            "redis://u:xxxxx@host",
		"redis://canary/x:y@host":                 "redis://xxxxx@host",
		"redis://größe:canary@host":               "redis://größe:xxxxx@host",
		"nats://u:canary#canary@host":             "nats://u:xxxxx@host",
		"json:redis://u:canary@host":              "json:redis://u:xxxxx@host",
		"unix://u:canary@/run/redis.sock":         "unix://u:xxxxx@/run/redis.sock",
		"redis+sentinel://u:canary@a:1,b:2/m/0":   "redis+sentinel://u:xxxxx@a:1,b:2/m/0",
		"redis+sentinel://a:1,b:2/m/0":            "redis+sentinel://a:1,b:2/m/0",
		"redis://host/0?password=canary&prefix=p": "redis://host/0?password=xxxxx&prefix=p",
		"redis://host/0?Sentinel_Password=canary": "redis://host/0?Sentinel_Password=xxxxx",
		"redis://h?pass%77ord=canary#canary;c=d":  "redis://h?pass%77ord=xxxxx",
		"redis://h?%zz=canary&db=1":               "redis://h?%zz=xxxxx&db=1",
		"redis://h?a=b;token=canary&c=d":          "redis://h?a=b;token=xxxxx&c=d",
		"redis://h?password=x@canary&db=1":        "redis://xxxxx@xxxxx&db=1",
		"redis://h:1?password=x@y&token=canary":   "redis://h:xxxxx@xxxxx&token=xxxxx",
		"redis://h?password=can:ary@canary":       "redis://xxxxx@xxxxx",
		"redis://h/0#password=canary":             "redis://h/0#password=xxxxx",
		"h:6379?password=canary":                  "h:6379?password=xxxxx",
		"redis://user:canary":                     "redis://user:xxxxx",
		"redis://user:canary/0?canary":            "redis://user:xxxxx",
		"redis://[::1]:6379/0":                    "redis://[::1]:6379/0",
		"redis://[::1]/0":                         "redis://[::1]/0",
		"redis://[::1]:canary":                    "redis://[::1]:xxxxx",
		"rediss+cluster://a:1,b:canary":           "rediss+cluster://a:1,b:xxxxx",

		// Lists.
		"nats://a:canary@h1,nats://b:canary@h2":             "nats://a:xxxxx@h1,nats://b:xxxxx@h2",
		"nats://user:p,canary@a:4222,nats://user:pw@b:4222": "nats://user:xxxxx@a:4222,nats://user:xxxxx@b:4222",
		"nats://a:4222, TLS://canary@b":                     "nats://a:4222, TLS://xxxxx@b",
		"nats://canary@a:4222,u:canary@b":                   "nats://xxxxx@b",
		"a:4222,nats://u:canary@b":                          "a:xxxxx@b",
		"a:4222,b:4222":                                     "a:4222,b:4222",
		"nats://a?token=canary,nats://b":                    "nats://a?token=xxxxx,nats://b",

		// Paths.
		"json:/var/lib/papyra/records.ndjson":         "json:/var/lib/papyra/records.ndjson",
		"json:/a@b:c":                                 "json:/a@b:c",
		"json:/a/b?sync=batch":                        "json:/a/b?sync=batch",
		"json:./papyra-data/records.ndjson?sync=none": "json:./papyra-data/records.ndjson?sync=none",
		"rotating:./data/r.ndjson?max_bytes=50MB":     "rotating:./data/r.ndjson?max_bytes=50MB",
		"memory:":                            "memory:",
		"connection refused: 127.0.0.1:4222": "connection refused: 127.0.0.1:4222",
	} {
		got := redact.URL(in)
		if got != want {
			t.Errorf("URL(%q) = %q, want %q", in, got, want)
		}
		if strings.Contains(got, "canary") {
			t.Errorf("URL(%q) = %q shows the secret", in, got)
		}
	}
}

// The place of a password takes any text, and none of it comes out again: the
// canary is in it as often as the fuzzer likes.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{"", "a", ",", "/", "?", "@", ":", "#", "%", "%zz", " ", "&", ";", "=", "://", "x://", "?a=b", "@h:1/0", "&password=", "json:", "\n", "\x00", "ß"} {
		f.Add("redis", seed, seed, "host:6379/0")
		f.Add("nats", seed, "", "a:4222,nats://b:4222")
		f.Add("", "", seed, "host")
	}
	end := regexp.MustCompile(`(?i),\s*(nats|tls|wss?)://`)
	f.Fuzz(func(t *testing.T, scheme, before, after, host string) {
		const canary = "cAnArY-42"
		if strings.Contains(host, canary) || strings.ContainsAny(scheme, "@,:?&;#=") {
			t.Skip("not the place of a password")
		}
		password := before + canary + after
		if end.MatchString(password) {
			t.Skip("the NATS client ends a URL there")
		}
		if scheme != "" {
			scheme += "://"
		}
		host = strings.NewReplacer("@", "", "?", "", "&", "").Replace(host)
		value := strings.ReplaceAll(password, "&", "") // which ends a value
		for _, text := range []string{
			scheme + "user:" + password + "@" + host,
			scheme + ":" + password + "@" + host,
			scheme + strings.ReplaceAll(password, ":", "") + "@" + host,
			"redis://host?password=" + value,
			"redis://host?a=b&Token=" + value + "&c=d",
			"redis://host?a=b;secret=" + value,
		} {
			out := redact.URL(text)
			if strings.Contains(out, canary) {
				t.Fatalf("URL(%q) = %q shows the secret", text, out)
			}
			if again := redact.URL(out); again != out {
				t.Fatalf("URL(%q) = %q, and of that %q", text, out, again)
			}
		}
		if plain := before + after + host; !strings.ContainsAny(plain, "@?&;#") && !strings.Contains(plain, "://") {
			if out := redact.URL(plain); out != plain {
				t.Fatalf("URL(%q) = %q: there was nothing to hide", plain, out)
			}
		}
	})
}
