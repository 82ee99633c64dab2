package main

import (
	"slices"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/sink/inspect"
)

// showGroupLosses shows which consumer groups of other programs lose entries by
// an act.
func (c *call) showGroupLosses(groups []papyra.RemovedGroup, dry bool) {
	if len(groups) == 0 {
		return
	}
	verb := "lost"
	if dry {
		verb = "would lose"
	}
	c.out.printf("\nconsumer groups of other programs that %s entries:\n", verb)
	g := newGrid(c.out, column{title: "STREAM"}, column{title: "GROUP"}, column{title: "PENDING", right: true}, column{title: "UNDELIVERED", right: true})
	for i, r := range groups {
		if i == maxShown {
			break
		}
		_ = g.addRow(r.Stream, r.Group, human.Count(r.Pending), human.Count(r.Undelivered))
	}
	_ = g.writePage()
	if more := len(groups) - maxShown; more > 0 {
		c.out.printf("and %s more: --output json lists them\n", human.Count(int64(more)))
	}
}

// showGroups shows consumer groups, with their stores where there are several.
func (c *call) showGroups(list []inspect.Group) {
	if len(list) == 0 {
		return
	}
	several := slices.ContainsFunc(list, func(g inspect.Group) bool { return g.Backend != list[0].Backend })
	columns := []column{
		{title: "STREAM"}, {title: "GROUP"}, {title: "CONSUMERS", right: true},
		{title: "PENDING", right: true}, {title: "LAG", right: true},
	}
	if several {
		columns = append([]column{{title: "STORE"}}, columns...)
	}
	c.out.printf("\nconsumer groups of other programs:\n")
	g := newGrid(c.out, columns...)
	for i, group := range list {
		if i == maxShown {
			break
		}
		lag := "?" // the server does not know it
		if group.Lag != nil {
			lag = human.Count(*group.Lag)
		}
		cells := []string{group.Stream, group.Group, human.Count(group.Consumers), human.Count(group.Pending), lag}
		if several {
			cells = append([]string{group.Backend}, cells...)
		}
		_ = g.addRow(cells...)
	}
	_ = g.writePage()
	if more := len(list) - maxShown; more > 0 {
		c.out.printf("and %s more: --output json lists them\n", human.Count(int64(more)))
	}
	if slices.ContainsFunc(list[:min(len(list), maxShown)], func(g inspect.Group) bool { return g.Lag == nil }) {
		c.out.printf("?: the server does not know, because entries behind the last one delivered were removed, or it is older than Redis 7\n")
	}
}
