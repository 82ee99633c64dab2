package main

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/papyra/papyra"
)

// removedCount is what acts of one name have removed of one category, as the
// RemovalReports say.
type removedCount struct {
	Act string `json:"act"` // "other" for acts of a later version
	// Category may also be "unknown", for records of a kind of a later version,
	// and "damaged", for lines of no category.
	Category string `json:"category"`
	Records  int64  `json:"records"`
	Bytes    int64  `json:"bytes"`
}

const (
	actOther        = "other"
	categoryDamaged = "damaged"
)

// removedSum adds RemovalReports up. Those that are carried count too: what they
// repeat is no longer in the store. An act that was interrupted counts whole, as
// its report was written before.
type removedSum map[removedKey]*removedCount

// removedKey has few values, whatever the reports say.
type removedKey struct{ act, category string }

func (s removedSum) add(rec *papyra.Record) {
	if rec.Kind != papyra.KindReport || string(rec.Type) != papyra.ReportRemoval || string(rec.System) != papyra.SystemReserved {
		return
	}
	var r papyra.RemovalReport
	if json.Unmarshal(rec.Payload, &r) != nil {
		return // of another form: inspect reports shows it as it is
	}
	act := r.Act
	if !slices.Contains([]string{papyra.ActCompact, papyra.ActDedupe, papyra.ActRecover, papyra.ActRotate}, act) {
		act = actOther
	}
	for name, c := range r.Categories {
		s.count(act, papyra.ParseCategory(name).Category(), c.Records, c.Bytes)
	}
	s.count(act, categoryDamaged, r.Damaged, r.DamagedBytes)
}

func (s removedSum) count(act, category string, records, bytes int64) {
	if records <= 0 && bytes <= 0 {
		return
	}
	key := removedKey{act, category}
	c := s[key]
	if c == nil {
		c = &removedCount{Act: act, Category: category}
		s[key] = c
	}
	c.Records += max(records, 0)
	c.Bytes += max(bytes, 0)
}

// list returns the counts by act, the categories in their usual order.
func (s removedSum) list() (list []*removedCount) {
	for _, c := range s {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *removedCount) int {
		return cmp.Or(compareStreams(a.Act, a.Category, b.Act, b.Category), -strings.Compare(a.Category, b.Category))
	})
	return list
}

func (c *call) showRemoved(list []*removedCount) {
	if len(list) == 0 {
		return
	}
	c.out.printf("\nremoved so far:\n")
	g := newGrid(c.out, column{title: "ACT"}, column{title: "CATEGORY"}, column{title: "RECORDS", right: true}, column{title: "SIZE", right: true})
	for _, r := range list {
		_ = g.add(r.Act, r.Category, showCount(r.Records), showBytes(r.Bytes))
	}
	_ = g.end()
}
