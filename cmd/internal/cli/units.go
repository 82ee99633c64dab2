package cli

import (
	"time"

	"github.com/papyra/papyra/internal/human"
)

// ParseSize reads a number of bytes, as [human.ParseSize] says.
func ParseSize(s string) (int64, error) { return human.ParseSize(s) }

// ParseDuration reads a duration, as [human.ParseDuration] says.
func ParseDuration(s string) (time.Duration, error) { return human.ParseDuration(s) }
