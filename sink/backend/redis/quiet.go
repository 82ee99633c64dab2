package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// DiscardClientLogs keeps the Redis client library, which otherwise writes a line
// to standard error for every connection that it cannot make, from logging. What
// it would say is in the errors of this package too. It is for the main function
// of a program: it holds for the whole process.
func DiscardClientLogs() { goredis.SetLogger(discard{}) }

type discard struct{}

func (discard) Printf(context.Context, string, ...any) {}
