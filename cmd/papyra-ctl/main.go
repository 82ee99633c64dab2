//go:build !manual

// Command papyra-ctl is the operator's tool: it scans, recovers, compacts and
// reads the stores that hold a fleet's records.
//
//	main ── cli.Run ── one verb ─┬─ backend.Open: the store, or several
//	                             ├─ inspect, doctor, account, transfer: what they
//	                             │  hold and how they are, as values
//	                             ├─ stdout: the result, a table or one JSON object
//	                             └─ stderr: progress on a terminal, messages
package main

import (
	"os"
	"runtime/debug"
	"time"

	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/backend/redis"
)

func main() {
	// A panic must not look like exit code 2, which means anomalies.
	debug.SetTraceback("crash")
	// Our own messages say what the Redis client library would print.
	redis.DiscardClientLogs()
	t := &tool{open: backend.Open, now: time.Now}
	os.Exit(cli.Run(t.app(), textBackends(os.Args), os.Stdout, os.Stderr))
}
