package natsflags

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
)

// A verb that the broker does not allow ends with 77 at once, and a broker that is not
// there is 69.
func TestConnect(t *testing.T) {
	s := natstest.Embedded(t, &server.Options{Users: []*server.User{
		{Username: "viewer", Password: "secret", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"allowed"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"allowed"}},
		}},
	}})
	login := func(user, password string) NATS {
		return NATS{URL: s.ClientURL(), Timeout: 5 * time.Second, Options: []nats.Option{nats.UserInfo(user, password)}}
	}
	t.Run("login", func(t *testing.T) {
		_, err := login("viewer", "canary").Connect(t.Context(), "tool")
		if code := cli.ExitCode(err); code != cli.CodeDenied || strings.Contains(err.Error(), "canary") {
			t.Errorf("code %d, want 77: %v", code, err)
		}
	})
	for _, what := range []string{"publish", "subscribe"} {
		t.Run(what, func(t *testing.T) {
			nc, err := login("viewer", "secret").Connect(t.Context(), "tool")
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if what == "publish" {
				err = nc.Publish("forbidden", nil)
			} else {
				_, err = nc.SubscribeSync("forbidden")
			}
			if err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-nc.Denied():
				if cli.ExitCode(err) != cli.CodeDenied || !strings.Contains(err.Error(), "forbidden") {
					t.Errorf("code %d, want 77 and the subject: %v", cli.ExitCode(err), err)
				}
			case <-time.After(testkit.Patience):
				t.Error("the refusal was not heard")
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		n := NATS{URL: "nats://u:canary@127.0.0.1:1", Options: []nats.Option{nats.Timeout(time.Second)}}
		_, err := n.Connect(t.Context(), "tool")
		if code := cli.ExitCode(err); code != cli.CodeUnavailable || strings.Contains(err.Error(), "canary") {
			t.Errorf("code %d, want 69: %v", code, err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // says nothing
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n := NATS{URL: "nats://" + l.Addr().String(), Options: []nats.Option{nats.Timeout(testkit.Patience)}}
		if _, err := n.Connect(ctx, "tool"); err == nil {
			t.Error("connected to nobody")
		}
	})
}
