package cli

import (
	"time"

	"github.com/papyra/papyra/sink/backend/units"
)

// ParseSize reads a number of bytes, as [units.ParseSize] says.
func ParseSize(s string) (int64, error) { return units.ParseSize(s) }

// ParseDuration reads a duration, as [units.ParseDuration] says.
func ParseDuration(s string) (time.Duration, error) { return units.ParseDuration(s) }
