package inspect

import (
	"context"
	"slices"

	"github.com/papyra/papyra"
)

// Group is a consumer group that some other program has on a stream of a store.
type Group struct {
	Backend string `json:"backend"` // the URL of the store
	papyra.ConsumerGroup
}

// listGroups lists the consumer groups of the stores that have some, of systems
// or, with none, of all. A store that could not be read is not asked; one that
// was read and does not tell its groups gets a GroupsErr.
func listGroups(ctx context.Context, sources []*Source, systems []string) (list []Group) {
	for _, s := range sources {
		if s.Err != nil {
			continue
		}
		groups, err := s.Store.Groups(ctx)
		s.GroupsErr = err
		for _, g := range groups {
			if len(systems) == 0 || slices.Contains(systems, g.System) {
				list = append(list, Group{s.Store.URL(), g})
			}
		}
	}
	return list
}
