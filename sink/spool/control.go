package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
)

// controlName is the file that says what the spool is and for which store. Its lock is
// that of the spool.
const controlName = "spool" + extension

// control is the spool's own file: a store that holds a SpoolBound each time that the
// spool was bound to a store. The newest one holds. It is safe for concurrent use.
type control struct {
	log      *slog.Logger
	store    *fileset.Store
	appender papyra.Appender
	clock    func() time.Time

	mu       sync.Mutex
	bound    papyra.SpoolBound
	checked  bool // the open store is the one
	reported bool // the store took a report of a sink, which names it
	identity *papyra.Identity
	seq      uint64
}

// openControl takes the spool, makes it if it does not exist, and reads which store it
// is for.
func (s *Spool) openControl(ctx context.Context) (*control, error) {
	store, err := s.store(filepath.Join(s.config.Dir, controlName))
	if err != nil {
		return nil, err
	}
	c := &control{log: s.log, store: store, clock: s.config.Now, identity: papyra.NewIdentity("spool")}
	if c.appender, err = store.Appender(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	q := papyra.Query{Systems: []string{papyra.SystemReserved}, Types: []string{papyra.ReportSpoolBound}, Limit: 1, Reverse: true}
	_, err = store.Read(ctx, q, func(rec *papyra.Record, _ papyra.Place) error {
		if !rec.Sealed {
			return nil
		}
		return json.Unmarshal(rec.Payload, &c.bound)
	})
	if err != nil && !errors.Is(err, papyra.ErrNotFound) {
		return nil, errors.Join(err, c.close())
	}
	if c.bound.Spool == "" {
		c.bound.Spool = c.identity.Run()
		if err := c.write(ctx, c.bound); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *control) close() error {
	var err error
	if c.appender != nil {
		err = c.appender.Close()
	}
	return errors.Join(err, c.store.Close())
}

// write makes a binding durable. The caller holds mu, or nobody else has c.
func (c *control) write(ctx context.Context, bound papyra.SpoolBound) error {
	c.seq++
	line, err := papyra.SealedReport(c.identity, papyra.SystemReserved, c.seq, &papyra.Report{Name: papyra.ReportSpoolBound, Payload: bound}, c.clock())
	if err != nil {
		return err
	}
	b := &papyra.Batch{}
	b.Append(b.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}), line[:len(line)-1])
	if _, err := c.appender.Append(ctx, b); err != nil {
		return err
	}
	return c.appender.Sync(ctx)
}

// bind notes for which store the spool is. Where that cannot be written it holds for
// this process: what waits must not stay for that. The caller holds mu.
func (c *control) bind(ctx context.Context, store string, isNew bool) {
	c.bound.Store, c.bound.New, c.checked = store, isNew, true
	if err := c.write(ctx, c.bound); err != nil {
		c.log.Warn("the spool cannot note which store it is for: the next start may ask", "error", err)
	}
}

// bindStore makes sure that the store that is open is the one for which records wait.
//
//	the spool is for     the store is        something waits    then
//	none yet             any                 any                it is for that store
//	X                    X                   any                goes on
//	X, new               without an id       any                goes on: it never got one
//	X                    Y, or without one   no                 it is for that store
//	X                    Y, or without one   yes                an error, but with Config.Adopt
func (c *control) bindStore(ctx context.Context, config *Config, waits bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checked {
		return nil
	}
	id, err := config.StoreID(ctx)
	if err != nil {
		return fmt.Errorf("look for the id of the store: %w", err)
	}
	switch {
	case c.bound.Store != "" && (id == c.bound.Store || id == "" && c.bound.New):
		c.checked = true
	case c.bound.Store == "" || !waits || config.Adopt:
		isNew := id == ""
		if isNew {
			id = papyra.NewIdentity("").Run()
		}
		c.bind(ctx, id, isNew)
	default:
		what := "store " + id
		if id == "" {
			what = "a store that says no id: it is new or was emptied"
		}
		return fmt.Errorf("%w: the records that wait in the spool %s are for store %s, and this is %s: "+
			"name that store or another spool, or say with --spool-adopt that they belong here", papyra.ErrConfig, config.Dir, c.bound.Store, what)
	}
	return nil
}

// noteReported notes that the store took lines of a batch.
func (c *control) noteReported(b *papyra.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.bound.New || c.reported {
		return
	}
	for i := range b.Len() {
		if _, stream := b.Line(i); stream.System == papyra.SystemReserved {
			c.reported = true
			return
		}
	}
}

// noteNamed notes, after a sync of the store, that it holds a report that names it.
func (c *control) noteNamed(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checked && c.bound.New && c.reported {
		c.bind(ctx, c.bound.Store, false)
	}
}

// id returns the id of the spool, and of the store for which it is, "" if none is known
// yet.
func (c *control) id() (spool, store string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bound.Spool, c.bound.Store
}
