package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/papyra/papyra"
)

// storeIDWithin is how long a sink looks for the id of its store at the start.
const storeIDWithin = 5 * time.Second

// findStoreID returns the id that the store got when it was made. The last
// SinkReport in the store says it; where there is none, the store gets a new id.
// It fails only when ctx ends, because a sink that has seen nothing must not give
// the store another id.
//
// The last report is near the end of a store in which sinks have written: they
// report when they stop, and every few seconds while there is something to
// report. Only a large store without any, such as a file that somebody else
// has filled, is read to its beginning. When the time for that is over, or the
// store cannot be read, it gets a new id, which holds from then on. Nothing is
// lost by it: if there was another, the store has two, and an account shows
// both. So does a store whose reports were all removed, or one on a server that
// two sinks fill for the first time at the same moment.
func findStoreID(ctx context.Context, b Backend, instance string, log *slog.Logger) (string, error) {
	id, err := lookForStoreID(ctx, b)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("look for the id of the store: %w", ctx.Err())
	case id != "":
		return id, nil
	case err != nil:
		log.Warn("the id of the store cannot be found: it gets a new one", "error", err)
	}
	return papyra.NewIdentity(instance).Run(), nil
}

// lookForStoreID returns the id that the newest SinkReport of a store says, "" if there
// is none. The id holds whatever the error says.
func lookForStoreID(ctx context.Context, b Backend) (id string, err error) {
	limited, cancel := context.WithTimeout(ctx, storeIDWithin)
	defer cancel()
	q := papyra.Query{
		Kinds: []papyra.Kind{papyra.KindReport}, Systems: []string{papyra.SystemReserved}, Types: []string{papyra.ReportSink},
		Limit: 1, Reverse: true, // in append order a limit needs a second pass
	}
	_, err = b.Read(limited, q, func(rec *papyra.Record, _ papyra.Place) error {
		var r papyra.SinkReport
		if json.Unmarshal(rec.Payload, &r) == nil && papyra.CheckName("store", r.Store) == nil {
			id = r.Store
		}
		return nil
	})
	if errors.Is(err, papyra.ErrNotFound) {
		err = nil
	}
	return id, err
}
