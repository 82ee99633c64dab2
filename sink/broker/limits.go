package broker

import (
	"fmt"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/papyra/papyra"
)

const (
	// ownConnections is how many connections are kept for the process itself: two of
	// a sink, and the old ones while it reconnects.
	ownConnections = 8
	// ownDescriptors is how many descriptors are kept for the store, HTTP and so on.
	ownDescriptors = 64
	// maxArriving bounds the messages that are on their way into the server: each
	// client can have begun one.
	maxArriving    = 1 << 30
	minConnections = 4

	defaultSubscriptions = 1024
	// maxSubTokens bounds the tokens of a subscription's subject. Each takes memory.
	maxSubTokens = 32
	// maxClosed bounds the closed connections, with their subscriptions, that the
	// server remembers. The guard looks at them.
	maxClosed = 256
	// writeDeadline is how long a client may leave unread what the server writes to it.
	writeDeadline = 10 * time.Second
	// loginWithin is how long a client may take to log in, where there is a login.
	loginWithin = 2 * time.Second
	// pingEvery is how often a silent client is asked whether it is there. After two
	// questions without an answer it is disconnected.
	pingEvery = 30 * time.Second
)

// maxPending returns how many bytes may wait for a client before it is cut off.
func maxPending(maxPayload int) int64 {
	n := int64(maxPayload)
	return max(server.MAX_PENDING_SIZE, min(64*n, maxWaiting), 4*n)
}

// limitConnections checks the bounds on connections and subscriptions and fills in
// those that are left out.
func (c *Config) limitConnections() error {
	if c.MaxConnections < 0 || c.MaxSubscriptions < 0 {
		return fmt.Errorf("%w: the number of connections and of subscriptions cannot be negative", papyra.ErrConfig)
	}
	if c.MaxSubscriptions == 0 {
		c.MaxSubscriptions = defaultSubscriptions
	}
	descriptors := openFiles()
	if c.MaxConnections == 0 {
		c.MaxConnections = max(min(descriptors/2, maxArriving/c.MaxPayload), minConnections)
		return nil
	}
	if c.MaxConnections > descriptors-ownDescriptors {
		return fmt.Errorf("%w: %d connections: this process may open %d files and needs %d for itself: "+
			"give fewer with --max-connections, or raise the limit (ulimit -n, LimitNOFILE= of the unit)",
			papyra.ErrConfig, c.MaxConnections, descriptors, ownDescriptors)
	}
	return nil
}

// openFiles returns how many files this process may have open.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20)) //nolint:gosec // bounded
}
