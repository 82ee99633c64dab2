// Package jsonfile stores records in one file, a line each: the backend
// "json:PATH".
package jsonfile

import (
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/fileset"
)

// Config says how a file is opened. The zero Config is the default.
type Config struct {
	// Sync is when stored records are made durable: "none", "interval" (the
	// default: at each call of Sync, which a sink makes every second) or "batch"
	// (before Append returns).
	Sync string
	// URL is what the store calls itself in reports; empty means "json:" and the
	// path.
	URL string
	Now func() time.Time // nil means time.Now
}

// Store is one file of records. Its methods may be called concurrently; their
// contract is that of papyra.Store.
type Store struct{ *fileset.Store }

// Open returns the store at path without touching the disk. The error wraps
// papyra.ErrConfig.
func Open(path string, c Config) (*Store, error) {
	if c.URL == "" {
		c.URL = "json:" + escape.EncodeName(path)
	}
	s, err := fileset.Open(fileset.Config{Path: path, URL: c.URL, Sync: fileset.Sync(c.Sync), Now: c.Now})
	if err != nil {
		return nil, fmt.Errorf("open json store: %w", err)
	}
	return &Store{s}, nil
}

var _ papyra.Store = (*Store)(nil)
