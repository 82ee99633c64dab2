package account

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/papyra/papyra"
)

// ledger is what the stores of one group say together.
type ledger struct {
	*book
	group  string
	takers []taker
	// forgetful says that all reports of some run were removed.
	forgetful bool
	stores    []Store
	absent    []Absent
}

// taker is a filter that a sink of the group had, and since when.
type taker struct {
	systems map[string]bool // empty: every one
	kinds   []string        // likewise
	since   int64           // microseconds
}

// takes reports whether the filter lets a stream through. Reports always pass,
// and so does the system of a run of which only a removal is left: it was stored.
func (t *taker) takes(system string, kind papyra.Kind) bool {
	return kind == papyra.KindReport ||
		(len(t.systems) == 0 || system == "" || t.systems[system]) &&
			(len(t.kinds) == 0 || slices.Contains(t.kinds, kind.Category()))
}

// taken reports whether the group ever took a stream, and since when. If nothing
// is known about its filters, it took everything always. If reports of some run
// were removed and nothing else of that run is left, they may be a sink's first
// ones: then nobody knows since when, and the answer is "always", so that no
// absence is excused.
func (l *ledger) taken(system string, kind papyra.Kind) (since int64, ok bool) {
	if len(l.takers) == 0 {
		return math.MinInt64, true
	}
	since = math.MaxInt64
	for i := range l.takers {
		if l.takers[i].takes(system, kind) {
			since, ok = min(since, l.takers[i].since), true
		}
	}
	if ok && l.forgetful {
		since = math.MinInt64
	}
	return since, ok
}

// groups returns the groups that a store's sinks were of, with the time of the
// newest report of each.
func (b *book) groups() map[string]int64 {
	out := map[string]int64{}
	for _, s := range b.sinks {
		if last, ok := out[s.group]; !ok || s.last > last {
			out[s.group] = s.last
		}
	}
	return out
}

// joinBooks chooses the group and adds up the books of its stores.
func (a *Account) joinBooks() (*ledger, error) {
	for _, b := range a.books {
		b.announceOpen()
		b.settleRemovals()
	}
	a.book(0) // an account of no store is an account of an empty one
	group, err := a.chooseGroup()
	if err != nil {
		return nil, err
	}
	l := &ledger{group: group}
	for i, b := range a.books {
		groups := b.groups()
		_, member := groups[group]
		b.chosen = member || len(groups) == 0
		st := Store{
			Name: a.storeName(i), Judged: b.chosen, Groups: slices.Sorted(maps.Keys(groups)),
			Records: b.records, Unsealed: b.unsealed, UnknownKind: b.unknown, UnreadableReports: b.unreadable,
			Damaged: b.damaged, Incomplete: b.problem != "", Problem: b.problem,
		}
		ids := map[string]bool{}
		for _, s := range b.sinks {
			if s.group == group && s.store != "" {
				ids[s.store] = true
			}
		}
		st.IDs = slices.Sorted(maps.Keys(ids))
		l.stores = append(l.stores, st)
	}
	l.findAbsent(a)
	for _, b := range a.books {
		if !b.chosen {
			continue
		}
		b.chooseUnheard(group)
		if l.book == nil {
			l.book = b
		} else {
			l.absorb(b)
		}
	}
	l.findTakers()
	return l, nil
}

func (a *Account) storeName(i int) string {
	if i < len(a.o.Stores) {
		return a.o.Stores[i]
	}
	return fmt.Sprintf("store %d", i+1)
}

// chooseGroup returns the group to judge, "" when no store says one.
func (a *Account) chooseGroup() (string, error) {
	var common map[string]int64 // groups of every store that has any
	var list []string           // for the message
	for i, b := range a.books {
		groups := b.groups()
		if len(groups) == 0 {
			continue
		}
		list = append(list, fmt.Sprintf("%s (%s)", strings.Join(slices.Sorted(maps.Keys(groups)), ", "), a.storeName(i)))
		if common == nil {
			common = groups
			continue
		}
		maps.DeleteFunc(common, func(g string, _ int64) bool { _, ok := groups[g]; return !ok })
		for g := range common {
			common[g] = max(common[g], groups[g])
		}
	}
	if a.o.Group != "" {
		for _, b := range a.books {
			if _, ok := b.groups()[a.o.Group]; ok || len(b.groups()) == 0 {
				return a.o.Group, nil
			}
		}
		return "", fmt.Errorf("%w: no store belongs to group %q: they belong to %s", papyra.ErrUsage, a.o.Group, strings.Join(list, "; "))
	}
	if len(list) > 0 && len(common) == 0 {
		return "", fmt.Errorf("%w: the stores belong to different groups, each of which should hold every record: %s: choose one with --group",
			papyra.ErrUsage, strings.Join(list, "; "))
	}
	// A store that went from one group to another names both. The group that its
	// newest report names counts.
	newest, at := "", int64(math.MinInt64)
	for _, g := range slices.Sorted(maps.Keys(common)) {
		if common[g] > at {
			newest, at = g, common[g]
		}
	}
	return newest, nil
}

// findAbsent lists the stores that reports of the group name and nobody gave.
// In a window it is those that were named since its beginning.
func (l *ledger) findAbsent(a *Account) {
	given := map[string]bool{}
	for _, id := range a.o.Without {
		given[id] = true
	}
	for i := range l.stores {
		for _, id := range l.stores[i].IDs {
			given[id] = true
		}
	}
	absent := map[string]Absent{}
	for _, b := range a.books {
		for _, s := range b.sinks {
			if !b.chosen || s.group != l.group {
				continue
			}
			for p, at := range s.peers {
				if given[p.Store] || at < a.since {
					continue
				}
				// What says where the store is comes before what does not.
				named := Absent{ID: p.Store, Instance: p.Instance, Host: p.Host, URL: p.URL}
				if old, ok := absent[p.Store]; !ok || named.compare(&old) < 0 {
					absent[p.Store] = named
				}
			}
		}
	}
	l.absent = []Absent{}
	for _, id := range slices.Sorted(maps.Keys(absent)) {
		l.absent = append(l.absent, absent[id])
	}
}

// compare orders what reports say of one store, the best first.
func (a *Absent) compare(b *Absent) int {
	switch {
	case a.URL != "" && b.URL == "":
		return -1
	case a.URL == "" && b.URL != "":
		return 1
	}
	return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Host, b.Host), cmp.Compare(a.URL, b.URL))
}

// findTakers gathers the filters that the group's sinks had.
func (l *ledger) findTakers() {
	byText := map[string]int{}
	for _, s := range l.sinks {
		if s.group != l.group {
			continue
		}
		key := strings.Join(s.filters, "\x00")
		i, ok := byText[key]
		if !ok {
			t := taker{since: math.MaxInt64, systems: map[string]bool{}}
			for _, f := range s.filters {
				if system, ok := strings.CutPrefix(f, "system="); ok {
					t.systems[system] = true
				} else if category, ok := strings.CutPrefix(f, "category="); ok {
					t.kinds = append(t.kinds, category)
				}
			}
			i = len(l.takers)
			byText[key] = i
			l.takers = append(l.takers, t)
		}
		l.takers[i].since = min(l.takers[i].since, s.started)
	}
}
