package redis

import (
	"context"

	"github.com/papyra/papyra"
)

// Examine returns nothing: what a store on a server needs are the server, which
// Scan must reach, and its settings, which Warnings names.
func (s *Store) Examine(context.Context) []papyra.Check { return nil }
