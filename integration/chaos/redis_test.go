package chaos

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	goredis "github.com/redis/go-redis/v9"
)

// redisServer is the server of a run's Redis stores. The sinks come through a
// proxy and with a login of their own; the test looks at it directly.
type redisServer struct {
	t      *testing.T
	server *redistest.Server
	proxy  *testkit.Proxy
	forgot func()          // is told while everything is gone
	gone   atomic.Bool     // everything was, at least once
	done   func(faultKind) // is told of each fault
}

// The sinks' login.
const redisUser, redisPassword = "papyra", "pw"

// newRedis starts a server that has on disk what it has acknowledged.
func newRedis(t *testing.T) *redisServer {
	s := &redisServer{t: t, server: redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")}
	s.proxy = testkit.NewProxy(t, s.server.Addr())
	s.permit()
	return s
}

// url names a store for the sinks.
func (s *redisServer) url(prefix string) string {
	return "redis://" + redisUser + ":" + redisPassword + "@" + s.proxy.Addr() + "/0?prefix=" + prefix
}

// admin runs a command, past the proxy.
func (s *redisServer) admin(args ...any) {
	c := goredis.NewClient(&goredis.Options{Addr: s.server.Addr()})
	defer c.Close()
	if err := c.Do(context.Background(), args...).Err(); err != nil && !errors.Is(err, goredis.Nil) {
		s.t.Errorf("redis %v: %v", args, err)
	}
}

func (s *redisServer) permit() {
	s.admin("ACL", "SETUSER", redisUser, "reset", "on", ">"+redisPassword, "~*", "&*", "+@all")
}

// harm does a fault, to its end.
func (s *redisServer) harm(f fault) {
	switch f.kind {
	case redisStop:
		s.server.Pause()
		time.Sleep(f.long)
		s.server.Resume()
	case redisKill:
		s.server.Kill()
		time.Sleep(f.long)
		s.again()
	case redisForget:
		s.server.Kill()
		if err := os.RemoveAll(filepath.Join(s.server.Dir, "appendonlydir")); err != nil {
			s.t.Error(err)
		}
		s.gone.Store(true)
		s.forgot()
		time.Sleep(f.long)
		s.again()
	case redisFull:
		s.admin("CONFIG", "SET", "maxmemory", "1")
		time.Sleep(f.long)
		s.admin("CONFIG", "SET", "maxmemory", "0")
	case redisRevoke:
		s.admin("ACL", "DELUSER", redisUser) // which ends its connections
		time.Sleep(f.long)
		s.permit()
	case redisCut:
		s.proxy.CutAll()
	}
	s.done(f.kind)
}

func (s *redisServer) again() {
	// Restart ends the goroutine of the test that it is given when it fails.
	s.server.Restart(s.t)
	s.permit()
}

// try runs a command and reports whether it was done.
func (s *redisServer) try(args ...any) bool {
	c := goredis.NewClient(&goredis.Options{Addr: s.server.Addr()})
	defer c.Close()
	return c.Do(context.Background(), args...).Err() == nil
}
