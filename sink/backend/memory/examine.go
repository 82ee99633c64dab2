package memory

import (
	"context"

	"github.com/papyra/papyra"
)

// Examine returns nothing: a memory has neither a place nor rights.
func (s *Store) Examine(context.Context) []papyra.Check { return nil }
