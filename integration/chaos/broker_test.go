package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/papyra/papyra/internal/natstest"
	"github.com/papyra/papyra/internal/testkit"
)

// The logins of the publishers, in force and revoked, and of the sinks.
const (
	logins  = `authorization: { users: [ {user: pub, password: pub}, {user: sink, password: sink} ] }`
	revoked = `authorization: { users: [ {user: pub, password: other}, {user: sink, password: sink} ] }`
)

// broker is a NATS server in its own process.
type broker struct {
	*natstest.Server
	t       *testing.T
	monitor int
	killed  func()          // is told
	done    func(faultKind) // is told of each fault
	http    http.Client
}

func newBroker(t *testing.T) *broker {
	b := &broker{
		t: t, monitor: testkit.FreePort(t),
		http: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testkit.Patience},
	}
	b.Server = natstest.Start(t, b.config(logins))
	return b
}

// url is for the sinks.
func (b *broker) url() string { return "nats://sink:sink@" + b.Addr() }

func (b *broker) config(users string) string {
	return fmt.Sprintf("http: \"127.0.0.1:%d\"\n%s", b.monitor, users)
}

// must marks the test as failed, on any goroutine.
func (b *broker) must(what string, err error) {
	if err != nil {
		b.t.Errorf("%s the broker: %v", what, err)
	}
}

// harm does a fault, to its end.
func (b *broker) harm(f fault) {
	switch f.kind {
	case brokerStop:
		b.must("stop", b.Signal(syscall.SIGSTOP))
		time.Sleep(f.long)
		b.must("continue", b.Signal(syscall.SIGCONT))
	case brokerKill:
		b.Kill()
		b.killed()
		time.Sleep(f.long)
		b.must("start", b.Start())
	case brokerRevoke:
		b.must("reload", b.Reload(b.config(revoked)))
		time.Sleep(f.long)
		b.must("reload", b.Reload(b.config(logins)))
	}
	b.done(f.kind)
}

// subscriptions returns how many subscriptions each sink has, by the name of its
// connection, without the common beginning; nil when the broker does not answer.
func (b *broker) subscriptions() map[string]int {
	res, err := b.http.Get(fmt.Sprintf("http://127.0.0.1:%d/connz?limit=10000", b.monitor))
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var list struct {
		Connections []struct {
			Name          string `json:"name"`
			Subscriptions int    `json:"subscriptions"`
		} `json:"connections"`
	}
	if json.NewDecoder(res.Body).Decode(&list) != nil {
		return nil
	}
	subs := map[string]int{}
	for _, c := range list.Connections {
		if name, ok := strings.CutPrefix(c.Name, "papyra-sink "); ok {
			subs[name] += c.Subscriptions
		}
	}
	return subs
}
