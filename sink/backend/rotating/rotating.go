// Package rotating stores records in a bounded set of files, a record on each
// line: the backend "rotating:PATH". PATH is the file that is appended to,
// PATH.1 the newest one before it, and the highest number the oldest.
//
// The bound takes precedence over everything else that keeps records: when the
// set is full, the oldest file goes with all that it holds. What goes is
// written into the store before, as a RemovalReport, and counted in
// papyra.AppendStats.
package rotating

import (
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset"
)

// The defaults of [Config].
const (
	DefaultMaxBytes = 50_000_000
	DefaultMaxFiles = 5
)

// Config says how a set is opened. The zero Config is the default. MaxBytes and
// MaxFiles bound only what is appended: they may be changed from one opening to
// the next, and take effect at the next rotation; whoever only reads, scans,
// recovers or compacts sees every file of the set, whatever they are.
type Config struct {
	// MaxBytes is the size that no file exceeds, unless one record alone does:
	// that gets a file of its own. Only behind the RemovalReport of a rotation,
	// which begins the new file, one record has room in any case. 0 means
	// DefaultMaxBytes.
	MaxBytes int64
	// MaxFiles is how many files there are at most, PATH included; at least 2. 0
	// means DefaultMaxFiles. When a rotation finds more, the oldest go.
	MaxFiles int
	// Sync is when stored records are made durable: "none", "interval" (the
	// default: at each call of Sync, which a sink makes every second) or "batch"
	// (before Append returns). A rotation syncs in every mode.
	Sync string
	// URL is what the store calls itself in reports; empty means "rotating:" and
	// the path.
	URL string
	Now func() time.Time // nil means time.Now
}

// Store is a set of files. Its methods may be called concurrently; their
// contract is that of papyra.Store.
type Store struct{ *fileset.Store }

// Open returns the store at path without touching the disk. The error wraps
// papyra.ErrConfig.
func Open(path string, c Config) (*Store, error) {
	if c.URL == "" {
		c.URL = "rotating:" + escape.EncodeName(path)
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = DefaultMaxFiles
	}
	s, err := fileset.Open(fileset.Config{
		Path: path, URL: c.URL, Numbered: true, MaxBytes: c.MaxBytes, MaxFiles: c.MaxFiles, Sync: fileset.Sync(c.Sync), Now: c.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("open rotating store: %w", err)
	}
	return &Store{s}, nil
}

var _ papyra.Store = (*Store)(nil)
