package natswire

import (
	"strings"
	"testing"
)

func TestCheckServers(t *testing.T) {
	t.Parallel()
	const canary = "hunter2"
	for _, c := range []struct {
		servers string
		wrong   string // a part of the error; "" if there is none
	}{
		{"", ""},
		{"nats://127.0.0.1:4222", ""},
		{"localhost", ""},
		{"NATS://host:65535, tls://other:1", ""},
		{"nats://[::1]:4222,nats://u:p%2Fw@host", ""},
		{"ws://host:80/path,wss://host", ""},
		{"host:", ""},
		{"http://127.0.0.1:4222", "server 1 has a scheme"},
		{"nats://a,https://user:" + canary + "@b", "server 2 has a scheme"},
		{"redis://host/0", "scheme"},
		{canary + "://host", "scheme"},
		{"nats://host:99999", "port"},
		{"host:99999", "port"},
		{"ws://host:65536", "port"},
		{"nats://host:0", "port"},
		{"nats://" + canary + ":18446744073709551616", "port"},
		{"nats://host:-1", "cannot be read"},
		{"nats://host:port", "cannot be read"},
		{"nats://", "cannot be read"},
		{"nats://:4222", "cannot be read"},
		{"nats://u:" + canary + "@", "cannot be read"},
		{"nats://u:" + canary + "%zz@host", "cannot be read"},
		{"nats://u:" + canary + "/x@host", "cannot be read"},
		{"nats://a, ws://b", "in part websockets"},
		{"a,ws://b", "in part websockets"},
	} {
		err := CheckServers(ServersOf(c.servers))
		switch {
		case (err == nil) != (c.wrong == ""):
			t.Errorf("%s: got %v, want %q", c.servers, err, c.wrong)
		case err != nil && !strings.Contains(err.Error(), c.wrong):
			t.Errorf("%s: got %v, want %q", c.servers, err, c.wrong)
		case err != nil && strings.Contains(err.Error(), canary):
			t.Errorf("%s: the error shows a secret: %v", c.servers, err)
		}
	}
}
