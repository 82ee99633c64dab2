//go:build !manual

// Command papyra-sink receives a fleet's records from NATS and appends them to a
// store.
//
//	publishers ──► NATS server ──► sink.Sink ──► backend.Open(--backend)
//	               embedded, or      │  └──► reject file
//	               --server          ├──► progress and logs on stderr
//	                                 └──◄ /metrics, /livez, /readyz at --http
//
// With no flags the server is an embedded one on 127.0.0.1:4222 and the store
// the file ./papyra-data/records.ndjson.
package main

import (
	"os"
	"runtime/debug"

	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/sink/backend/redis"
)

func main() {
	// A panic must not look like exit code 2, which means anomalies.
	debug.SetTraceback("crash")
	// Our own messages say what the Redis client library would print.
	redis.DiscardClientLogs()
	os.Exit(cli.Run(newApp(os.Stderr), os.Args, os.Stdout, os.Stderr))
}
