package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/maintain"
)

// Config says how a store is opened. The zero Config is the default.
type Config struct {
	// Parameters are given beside the URL, as flags are, by the names that they
	// have in it. One that is given in both places is an error.
	Parameters map[string]string
	Now        func() time.Time // nil means time.Now
}

// Store is a set of Redis streams under one prefix. Its methods may be called
// concurrently; their contract is that of papyra.Store, but for what the
// package comment says of appenders.
type Store struct {
	address *address
	keys    keyspace
	now     func() time.Time

	life *maintain.Life

	mu sync.Mutex // guards what follows
	// Reads are sent again after a lost connection, appends are not: an appender
	// knows itself what became of them.
	reader, writer goredis.UniversalClient // nil until they are needed
	appender       *Appender               // the open one
}

// Open returns the store that a URL names, without touching disk or network.
// The error wraps papyra.ErrConfig and shows no secret.
func Open(rawURL string, c Config) (*Store, error) {
	a, err := parseURL(rawURL, c.Parameters)
	if err != nil {
		return nil, fmt.Errorf("open redis store: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Store{
		address: a, keys: keyspace{prefix: a.prefix, cluster: a.cluster}, now: c.Now,
	}
	s.life = maintain.NewLife(&papyra.StoreError{Op: "use", Path: s.URL(), Offset: -1, Err: papyra.ErrClosed})
	return s, nil
}

// URL returns what names the store, without user and password.
func (s *Store) URL() string { return s.address.String() }

// Traits returns nothing: how durable a record is, and how long it stays, is the
// server's to decide.
func (s *Store) Traits() papyra.Traits { return papyra.Traits{} }

// RejectFile returns "": a Redis store has no place for rejected lines.
func (s *Store) RejectFile() string { return "" }

// Close closes an open appender, ends what is running on the store, waits for
// its recovery or compaction, and makes every later call fail with
// papyra.ErrClosed. It is safe to call twice.
func (s *Store) Close() error {
	s.mu.Lock()
	a := s.appender
	s.mu.Unlock()
	var err error
	if a != nil {
		err = a.Close()
	}
	s.life.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range []goredis.UniversalClient{s.reader, s.writer} {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	s.reader, s.writer = nil, nil
	return err
}

// readRetries is how often a command is sent again after its connection was
// lost. Every command for which this holds may be done twice.
const readRetries = 2

// clients returns the client for reads and acts, and the one for appends.
func (s *Store) clients() (reader, writer goredis.UniversalClient, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.life.Closed(); err != nil {
		return nil, nil, err
	}
	if s.reader == nil {
		if s.reader, err = s.address.client(readRetries); err != nil {
			return nil, nil, err
		}
	}
	if s.writer == nil {
		if s.writer, err = s.address.client(-1); err != nil {
			return nil, nil, err
		}
	}
	return s.reader, s.writer, nil
}

// session is one call on the store: its context also ends when the store is
// closed.
type session struct {
	*Store
	ctx    context.Context
	client goredis.UniversalClient // for reads and acts

	strangers []string // keys under the prefix that are none of this version's
}

// begin begins a call. The caller calls end when it is over.
func (s *Store) begin(ctx context.Context) (sn *session, end context.CancelFunc, err error) {
	ctx, end, err = s.life.Begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	sn, err = s.newSession(ctx)
	if err != nil {
		end()
		return nil, nil, err
	}
	return sn, end, nil
}

// newSession returns the session of a call whose context also ends with the
// store.
func (s *Store) newSession(ctx context.Context) (*session, error) {
	client, _, err := s.clients()
	if err != nil {
		return nil, err
	}
	return &session{Store: s, ctx: ctx, client: client}, nil
}

// ended returns why the call has to end, or nil.
func (sn *session) ended() error {
	if sn.ctx.Err() == nil {
		return nil
	}
	return context.Cause(sn.ctx)
}

// failed is the error of a command within the call.
func (sn *session) failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if sn.ctx.Err() != nil {
		return context.Cause(sn.ctx)
	}
	return failed(sn.ctx, op, path, err)
}

// makeStore gives the store its id, if it has none, so that it exists.
func (sn *session) makeStore() error {
	// A server whose memory is full answers a look, and refuses to set even what is
	// there.
	if n, err := sn.client.Exists(sn.ctx, sn.keys.marker()).Result(); err == nil && n > 0 {
		return nil
	}
	err := sn.client.SetNX(sn.ctx, sn.keys.marker(), randomID(), 0).Err()
	return sn.failed("make the store", sn.keys.marker(), err)
}

func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// eachMaster calls visit for every server that holds a part of the keys, from
// one goroutine at a time, until it returns an error.
func (sn *session) eachMaster(visit func(ctx context.Context, c *goredis.Client) error) error {
	switch c := sn.client.(type) {
	case *goredis.ClusterClient:
		var mu sync.Mutex
		return c.ForEachMaster(sn.ctx, func(ctx context.Context, c *goredis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return visit(ctx, c)
		})
	case *goredis.Client:
		return visit(sn.ctx, c)
	default:
		return fmt.Errorf("a client of type %T: %w", c, papyra.ErrConfig)
	}
}

// sortedKeys returns the keys of m in order.
func sortedKeys(m map[string]streamKey) []streamKey {
	out := make([]streamKey, 0, len(m))
	for _, name := range sortedNames(maps.Keys(m)) {
		out = append(out, m[name])
	}
	return out
}
