package cli

import (
	"strings"
	"testing"
)

// Lesson 52: no password in logs and messages.
func TestLesson52RedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"nats://127.0.0.1:4222":                   "nats://127.0.0.1:4222",
		"nats://me:canary@host":                   "nats://me:xxxxx@host",
		"nats://canary@host":                      "nats://xxxxx@host",
		"nats://a:canary@h1,nats://b:canary@h2":   "nats://a:xxxxx@h1,nats://b:xxxxx@h2",
		"redis://:canary@host/0?prefix=p":         "redis://:xxxxx@host/0?prefix=p",
		"redis://host/0?password=canary&prefix=p": "redis://host/0?password=xxxxx&prefix=p",
		"redis://host/0?Sentinel_Password=canary": "redis://host/0?Sentinel_Password=xxxxx",
		"redis://u:can%zzary@host":                "redis://xxxxx@host",
		"nats://u:canary#canary@host":             "nats://xxxxx@host",
		"u:canary\x00@host":                       "xxxxx@host",
		"json:/var/lib/papyra/records.ndjson":     "json:/var/lib/papyra/records.ndjson",
		"rotating:./data/r.ndjson?max_bytes=50MB": "rotating:./data/r.ndjson?max_bytes=50MB",
		"": "",
		"json:./papyra-data/records.ndjson?sync=none": "json:./papyra-data/records.ndjson?sync=none",
	} {
		got := RedactURL(in)
		if got != want {
			t.Errorf("RedactURL(%q) = %q, want %q", in, got, want)
		}
		if strings.Contains(got, "canary") {
			t.Errorf("RedactURL(%q) = %q shows the secret", in, got)
		}
	}
}
