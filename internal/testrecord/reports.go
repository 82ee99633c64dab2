package testrecord

import (
	"context"
	"encoding/json"

	"github.com/papyra/papyra"
)

// Reports returns the payloads of a store's reports of one name, in append order.
func Reports[P any](ctx context.Context, store papyra.Store, name string) (list []P, err error) {
	_, err = store.Read(ctx, papyra.Query{Types: []string{name}}, func(rec *papyra.Record, _ papyra.Place) error {
		var p P
		if err := json.Unmarshal(rec.Payload, &p); err != nil {
			return err
		}
		list = append(list, p)
		return nil
	})
	return list, err
}
