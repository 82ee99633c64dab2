package account_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/account"
)

type m = map[papyra.DropReason]uint64

type acts = map[string]uint64

var ranges = func(g ...papyra.Range) []papyra.Range { return g }

// Every reason that a number can have, in the events of one run.
func TestReasons(t *testing.T) {
	p := named("orders", "a")
	late := now.Add(-10 * time.Minute)
	removed := func(g ...papyra.Range) map[string][]papyra.RemovedRun {
		return map[string][]papyra.RemovedRun{"events": {{Node: p.node, Run: p.run, Ranges: g}}}
	}
	for _, tc := range []struct {
		name    string
		write   func(w *world)
		options func(o *account.Options)
		want    account.Counts
		state   account.RunState
		verdict account.Verdict
	}{
		{
			name: "everything is stored",
			write: func(w *world) {
				w.events(0, p, 1, 10)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 10, Confirmed: 10})
			},
			want:    account.Counts{Accepted: 10, Stored: 10},
			state:   account.RunClosed,
			verdict: account.Balanced,
		}, {
			name:    "a hole that nothing explains",
			write:   func(w *world) { w.events(0, p, 1, 4); w.events(0, p, 7, 10) },
			want:    account.Counts{Accepted: 10, Stored: 8, Missing: 2},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "the tail that only a report knows is missing",
			write: func(w *world) {
				w.events(0, p, 1, 4)
				w.published(0, p, 1, late, false, papyra.PublisherCategory{Accepted: 9, Confirmed: 9})
			},
			want:    account.Counts{Accepted: 9, Stored: 4, Missing: 5},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "dropped by the publisher, with ranges",
			write: func(w *world) {
				w.events(0, p, 1, 4)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 9, Confirmed: 4, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: {N: 2, Ranges: ranges(papyra.Range{5, 6})}, papyra.DropEncode: drops(1, 7), papyra.DropTooLarge: drops(1, 8), papyra.DropClosed: drops(1, 9),
				}})
			},
			want:    account.Counts{Accepted: 9, Stored: 4, Dropped: m{"queue_full": 2, "encode": 1, "too_large": 1, "closed": 1}},
			state:   account.RunClosed,
			verdict: account.Balanced,
		}, {
			name: "dropped by the publisher, counted only",
			write: func(w *world) {
				w.events(0, p, 1, 2)
				w.events(0, p, 6, 9)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 9, Confirmed: 6, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: drops(3, 4),
				}})
			},
			want:    account.Counts{Accepted: 9, Stored: 6, Dropped: m{"queue_full": 3}, Unnamed: 2},
			state:   account.RunClosed,
			verdict: account.Balanced,
		}, {
			name: "a count does not explain more than it counts",
			write: func(w *world) {
				w.events(0, p, 1, 2)
				w.events(0, p, 6, 9)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 9, Confirmed: 7, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: drops(2),
				}})
			},
			want:    account.Counts{Accepted: 9, Stored: 6, Dropped: m{"queue_full": 2}, Unnamed: 2, Missing: 1},
			state:   account.RunClosed,
			verdict: account.Missing,
		}, {
			name: "a count explains only what lies between its reports",
			write: func(w *world) {
				w.events(0, p, 1, 1)
				w.events(0, p, 4, 6)
				w.events(0, p, 8, 9)
				w.published(0, p, 1, late, false, papyra.PublisherCategory{Accepted: 5, Confirmed: 5})
				w.published(0, p, 2, late, true, papyra.PublisherCategory{Accepted: 9, Confirmed: 6, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: drops(3),
				}})
			},
			want:    account.Counts{Accepted: 9, Stored: 6, Dropped: m{"queue_full": 1}, Unnamed: 1, Missing: 2},
			state:   account.RunClosed,
			verdict: account.Missing,
		}, {
			name: "ranges of a report that was lost count by their number",
			write: func(w *world) {
				w.events(0, p, 1, 3)
				w.events(0, p, 6, 9)
				w.published(0, p, 1, late, false, papyra.PublisherCategory{Accepted: 3, Confirmed: 3})
				// The report with the range 4 to 5 is lost.
				w.published(0, p, 3, late, true, papyra.PublisherCategory{Accepted: 9, Confirmed: 7, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: drops(2),
				}})
			},
			want:    account.Counts{Accepted: 9, Stored: 7, Dropped: m{"queue_full": 2}, Unnamed: 2},
			state:   account.RunClosed,
			verdict: account.Missing, // the report itself
		}, {
			name: "stored wins over dropped, dropped over removed",
			write: func(w *world) {
				w.events(0, p, 1, 3)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 5, Confirmed: 3, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: {N: 2, Ranges: ranges(papyra.Range{3, 4})},
				}})
				w.removal(0, "act", papyra.ActCompact, removed(papyra.Range{2, 5}))
			},
			want:    account.Counts{Accepted: 5, Stored: 3, Dropped: m{"queue_full": 1}, Removed: acts{"compact": 1}},
			state:   account.RunClosed,
			verdict: account.Balanced,
		}, {
			name: "removed by each act",
			write: func(w *world) {
				w.events(0, p, 9, 10)
				w.removal(0, "act1", papyra.ActCompact, removed(papyra.Range{1, 2}))
				w.removal(0, "act2", papyra.ActRotate, removed(papyra.Range{3, 5}))
				w.removal(0, "act3", papyra.ActRecover, removed(papyra.Range{6, 6}))
				w.removal(0, "act4", "of tomorrow", removed(papyra.Range{6, 8}))
			},
			want:    account.Counts{Accepted: 10, Stored: 2, Removed: acts{"compact": 2, "rotate": 3, "recover": 1, "of tomorrow": 2}},
			state:   account.RunEnded,
			verdict: account.Balanced,
		}, {
			// Of each number a copy stayed: what became of that one is the question.
			name: "a dedupe explains no absence",
			write: func(w *world) {
				w.events(0, p, 9, 10)
				w.removal(0, "act1", papyra.ActCompact, removed(papyra.Range{1, 6}))
				w.removal(0, "act2", papyra.ActDedupe, removed(papyra.Range{5, 9}))
				w.removal(0, "act3", papyra.ActDedupe, map[string][]papyra.RemovedRun{"events": {{Run: p.run, Below: 12, N: 11}}})
			},
			want:    account.Counts{Accepted: 11, Stored: 2, Removed: acts{"compact": 6}, Missing: 3},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "removed below a number, with a count",
			write: func(w *world) {
				w.events(0, p, 4, 4)
				w.events(0, p, 9, 10)
				w.removal(0, "act", papyra.ActCompact, map[string][]papyra.RemovedRun{"events": {{Run: p.run, Below: 9, N: 6}}})
			},
			want:    account.Counts{Accepted: 10, Stored: 3, Removed: acts{"compact": 6}, Unnamed: 6, Missing: 1},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "removed below a number, how many is not known",
			write: func(w *world) {
				w.events(0, p, 9, 9)
				w.events(0, p, 11, 11)
				w.removal(0, "act", papyra.ActCompact, map[string][]papyra.RemovedRun{"events": {{Run: p.run, Below: 9}}})
			},
			want:    account.Counts{Accepted: 11, Stored: 2, Removed: acts{"compact": 8}, Unnamed: 8, Missing: 1},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "dropped by a sink: ranges, and a number beyond them",
			write: func(w *world) {
				w.events(0, p, 1, 3)
				w.events(0, p, 10, 10)
				w.sink(0, "archive", 1, late, papyra.SinkReport{Dropped: []papyra.SinkDrops{
					{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 4, Ranges: ranges(papyra.Range{4, 5})},
				}})
				w.sink(0, "archive", 2, late, papyra.SinkReport{State: "stopped", Dropped: []papyra.SinkDrops{
					{Reason: papyra.DropSinkRejected, System: p.system, Category: "events", Run: p.run, N: 1, Ranges: ranges(papyra.Range{9, 9})},
					{Reason: papyra.DropSinkFull, System: p.system, Category: "events", N: 5}, // of no run: explains nothing
				}})
			},
			want:    account.Counts{Accepted: 10, Stored: 4, Dropped: m{"sink_full": 4, "sink_rejected": 1}, Unnamed: 2, Missing: 1},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "a sink that dropped two copies of a record dropped one record",
			write: func(w *world) {
				w.events(0, p, 1, 3)
				w.events(0, p, 6, 6)
				w.sink(0, "archive", 1, late, papyra.SinkReport{State: "stopped", Dropped: []papyra.SinkDrops{
					{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 2, Ranges: ranges(papyra.Range{4, 4}, papyra.Range{4, 4})},
				}})
			},
			want:    account.Counts{Accepted: 6, Stored: 4, Dropped: m{"sink_full": 1}, Missing: 1},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "a run that only a sink's drop knows",
			write: func(w *world) {
				w.sink(0, "archive", 1, late, papyra.SinkReport{State: "stopped", Dropped: []papyra.SinkDrops{
					{Reason: papyra.DropSinkStopped, System: p.system, Category: "events", Run: p.run, N: 2, Ranges: ranges(papyra.Range{2, 3})},
				}})
			},
			want:    account.Counts{Accepted: 3, Dropped: m{"sink_stopped": 2}, Missing: 1},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "a category that the group does not take",
			write: func(w *world) {
				w.sink(0, "letters", 1, epoch, papyra.SinkReport{State: "stopped", Filters: []string{"category=dead_letters"}})
				w.put(0, p, papyra.KindDeadLetter, 1, late, "")
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 10, Confirmed: 10})
			},
			want:    account.Counts{Accepted: 10, Filtered: 10},
			state:   account.RunClosed,
			verdict: account.Balanced,
		}, {
			name: "a system that the group does not take",
			write: func(w *world) {
				w.sink(0, "some", 1, epoch, papyra.SinkReport{State: "stopped", Filters: []string{"system=billing", "system=users"}})
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 10, Confirmed: 10})
			},
			want:    account.Counts{Accepted: 10, Filtered: 10},
			state:   account.RunClosed,
			verdict: account.Balanced,
		}, {
			name: "two filters let through what one of them does",
			write: func(w *world) {
				w.sink(0, "some", 1, epoch, papyra.SinkReport{State: "stopped", Filters: []string{"system=orders", "category=audits"}})
				w.sink(1, "some", 1, epoch, papyra.SinkReport{State: "stopped", Filters: []string{"system=orders", "category=events"}})
				w.published(1, p, 1, late, true, papyra.PublisherCategory{Accepted: 10, Confirmed: 10})
			},
			want:    account.Counts{Accepted: 10, Missing: 10},
			state:   account.RunClosed,
			verdict: account.Missing,
		}, {
			name: "a run that began before the group",
			write: func(w *world) {
				w.report(0, named(papyra.SystemReserved, "sinkx"), 1, epoch.Add(500*time.Second), papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive", Uptime: 0})
				w.published(0, p, 50, epoch.Add(501*time.Second), false, papyra.PublisherCategory{Accepted: 500, Confirmed: 500})
				w.events(0, p, 503, 510)
				w.events(0, p, 513, 520)
			},
			// 501 and 502 were taken after the first report that the group has.
			want:    account.Counts{Accepted: 520, Stored: 16, Before: 500, Missing: 4},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "what was removed had come to the group",
			write: func(w *world) {
				w.report(0, named(papyra.SystemReserved, "sinkx"), 1, epoch.Add(500*time.Second), papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive"})
				w.published(0, p, 50, epoch.Add(501*time.Second), false, papyra.PublisherCategory{Accepted: 500, Confirmed: 500})
				w.events(0, p, 501, 510)
				w.removal(0, "act", papyra.ActRotate, removed(papyra.Range{101, 300}))
			},
			want:    account.Counts{Accepted: 510, Stored: 10, Removed: acts{"rotate": 200}, Before: 100, Missing: 200},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "what a sink dropped had come to the group",
			write: func(w *world) {
				w.report(0, named(papyra.SystemReserved, "sinkx"), 1, epoch.Add(500*time.Second), papyra.ReportSink, papyra.SinkReport{
					State: "stopped", Group: "archive", Dropped: []papyra.SinkDrops{{
						Reason: papyra.DropSinkFull, System: "orders", Category: "events", Run: p.run, N: 50, Ranges: ranges(papyra.Range{101, 150}),
					}},
				})
				w.published(0, p, 50, epoch.Add(501*time.Second), false, papyra.PublisherCategory{Accepted: 500, Confirmed: 500})
				w.events(0, p, 501, 510)
			},
			want:    account.Counts{Accepted: 510, Stored: 10, Dropped: m{"sink_full": 50}, Before: 100, Missing: 350},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "a sink whose reports are removed may have taken the stream",
			write: func(w *world) {
				w.report(0, named(papyra.SystemReserved, "sinkx"), 1, epoch.Add(500*time.Second), papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive"})
				w.published(0, p, 50, epoch.Add(501*time.Second), false, papyra.PublisherCategory{Accepted: 500, Confirmed: 500})
				w.events(0, p, 501, 510)
				w.removal(0, "act", papyra.ActRotate, map[string][]papyra.RemovedRun{
					"reports": {{Node: "sinkx", Run: named(papyra.SystemReserved, "gone").run, Ranges: ranges(papyra.Range{1, 3})}},
				})
			},
			want:    account.Counts{Accepted: 510, Stored: 10, Missing: 500},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "what a count explains before the group began explains nothing later",
			write: func(w *world) {
				w.report(0, named(papyra.SystemReserved, "sinkx"), 1, epoch.Add(500*time.Second), papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive"})
				w.published(0, p, 50, epoch.Add(501*time.Second), false, papyra.PublisherCategory{Accepted: 500, Confirmed: 400, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropTooLarge: drops(100),
				}})
				w.events(0, p, 501, 510)
				w.events(0, p, 513, 520)
			},
			want:    account.Counts{Accepted: 520, Stored: 18, Dropped: m{"too_large": 100}, Unnamed: 100, Before: 400, Missing: 2},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "young holes are pending",
			write: func(w *world) {
				w.events(0, p, 1, 4)
				w.put(0, p, papyra.KindEvent, 6, now.Add(-50*time.Second), "")
				w.put(0, p, papyra.KindEvent, 9, now.Add(-40*time.Second), "")
				w.published(0, p, 1, now.Add(-30*time.Second), false, papyra.PublisherCategory{Accepted: 12, Confirmed: 12})
			},
			want:    account.Counts{Accepted: 12, Stored: 6, Pending: 6},
			state:   account.RunOpen,
			verdict: account.Balanced,
		}, {
			name:    "a shorter time to settle",
			options: func(o *account.Options) { o.Settle = 45 * time.Second },
			write: func(w *world) {
				w.events(0, p, 1, 4)
				w.put(0, p, papyra.KindEvent, 6, now.Add(-50*time.Second), "")
				w.put(0, p, papyra.KindEvent, 9, now.Add(-40*time.Second), "")
			},
			want:    account.Counts{Accepted: 9, Stored: 6, Missing: 1, Pending: 2},
			state:   account.RunOpen,
			verdict: account.Missing,
		}, {
			name:    "no time to settle",
			options: func(o *account.Options) { o.Settle = -1 },
			write: func(w *world) {
				w.put(0, p, papyra.KindEvent, 2, now, "")
			},
			want:    account.Counts{Accepted: 2, Stored: 1, Missing: 1},
			state:   account.RunOpen,
			verdict: account.Missing,
		}, {
			name:    "no moment of judgement",
			options: func(o *account.Options) { o.At = time.Time{} },
			write: func(w *world) {
				w.put(0, p, papyra.KindEvent, 2, now, "")
			},
			want:    account.Counts{Accepted: 2, Stored: 1, Missing: 1},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "what a live publisher still holds is pending",
			write: func(w *world) {
				w.events(0, p, 1, 4)
				w.published(0, p, 1, now.Add(-90*time.Second), false, papyra.PublisherCategory{Accepted: 12, Confirmed: 6, Buffered: 4, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: drops(2, 10, 11),
				}})
			},
			// 7, 8, 9 and 12 are in the buffer, 5 and 6 were confirmed.
			want:    account.Counts{Accepted: 12, Stored: 4, Dropped: m{"queue_full": 2}, Pending: 4, Missing: 2},
			state:   account.RunOpen,
			verdict: account.Missing,
		}, {
			name: "what a dead publisher held is missing",
			write: func(w *world) {
				w.events(0, p, 1, 4)
				w.published(0, p, 1, now.Add(-5*time.Minute), false, papyra.PublisherCategory{Accepted: 12, Confirmed: 8, Buffered: 4})
			},
			want:    account.Counts{Accepted: 12, Stored: 4, Missing: 8},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "exact duplicates and conflicts, in one store and in two",
			write: func(w *world) {
				w.events(0, p, 1, 5)
				w.events(0, p, 2, 3)
				w.events(1, p, 3, 6)
				w.put(1, p, papyra.KindEvent, 5, epoch, "another")
				w.put(1, p, papyra.KindEvent, 5, epoch, "another")
				w.put(0, p, papyra.KindEvent, 6, epoch, "another")
				w.put(0, p, papyra.KindEvent, 6, epoch, "yet another")
			},
			want:    account.Counts{Accepted: 6, Stored: 6, Duplicates: 6, Conflicts: 3},
			state:   account.RunEnded,
			verdict: account.Balanced,
		}, {
			name:    "a window",
			options: func(o *account.Options) { o.Since = epoch.Add(20 * time.Minute) },
			write: func(w *world) {
				w.events(0, p, 5, 10)
				w.events(0, p, 12, 13)
				w.events(0, p, 10, 10)
				w.published(0, p, 1, epoch.Add(15*time.Minute), false, papyra.PublisherCategory{Accepted: 12, Confirmed: 11, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: drops(1),
				}})
				w.put(0, p, papyra.KindEvent, 20, epoch.Add(30*time.Minute), "")
				// What a runtime claims of a record's time is no evidence.
				w.put(0, p, papyra.KindEvent, 19, epoch, "")
				w.published(0, p, 2, epoch.Add(31*time.Minute), true, papyra.PublisherCategory{Accepted: 20, Confirmed: 18, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: drops(3, 14),
				}})
			},
			// 13 to 20: 13, 19, 20 stored, 14 and one more dropped, three missing.
			want:    account.Counts{Accepted: 8, Stored: 3, Dropped: m{"queue_full": 2}, Unnamed: 1, Missing: 3},
			state:   account.RunClosed,
			verdict: account.Missing,
		}, {
			name: "a sink's count explains only what lies where it says",
			write: func(w *world) {
				w.events(0, p, 1, 2)
				w.events(0, p, 5, 7)
				w.events(0, p, 10, 12)
				w.events(0, p, 15, 15)
				w.sink(0, "archive", 1, late, papyra.SinkReport{State: "stopped", Dropped: []papyra.SinkDrops{
					{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 3, Others: papyra.Range{8, 9}},
				}})
			},
			want:    account.Counts{Accepted: 15, Stored: 9, Dropped: m{"sink_full": 2}, Unnamed: 2, Missing: 4},
			state:   account.RunEnded,
			verdict: account.Missing,
		}, {
			name: "a count below its own ranges",
			write: func(w *world) {
				w.events(0, p, 1, 1)
				w.events(0, p, 5, 5)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 5, Confirmed: 3, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: drops(1, 2, 3), papyra.DropTooLarge: drops(1, 2, 3),
				}})
			},
			want:    account.Counts{Accepted: 5, Stored: 2, Dropped: m{"queue_full": 2}, Missing: 1},
			state:   account.RunClosed,
			verdict: account.Missing,
		}, {
			name: "exactly as old as the time to settle",
			write: func(w *world) {
				w.put(0, p, papyra.KindEvent, 2, now.Add(-time.Minute), "")
				w.put(0, p, papyra.KindEvent, 4, now.Add(-time.Minute+time.Microsecond), "")
			},
			want:    account.Counts{Accepted: 4, Stored: 2, Missing: 1, Pending: 1},
			state:   account.RunOpen,
			verdict: account.Missing,
		}, {
			name: "ranges that make no sense are not believed",
			write: func(w *world) {
				w.events(0, p, 1, 2)
				w.events(0, p, 5, 5)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 5, Confirmed: 5, Dropped: map[papyra.DropReason]*papyra.Drops{
					papyra.DropQueueFull: {N: 1, Ranges: ranges(papyra.Range{0, 3}, papyra.Range{5, 4}, papyra.Range{3, 1<<64 - 1}, papyra.Range{1, 9_999_999_999_999_999_999})},
					papyra.DropEncode:    nil,
				}})
			},
			want:    account.Counts{Accepted: 5, Stored: 3, Dropped: m{"queue_full": 1}, Unnamed: 1, Missing: 1},
			state:   account.RunClosed,
			verdict: account.Missing,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, 2)
			tc.write(w)
			o := w.options()
			if tc.options != nil {
				tc.options(&o)
			}
			r, err := w.judge(o)
			if err != nil {
				t.Fatal(err)
			}
			run, got := category(t, r, p, papyra.KindEvent)
			if diff := cmp.Diff(tc.want, got.Counts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if run.State != tc.state {
				t.Errorf("state %q, want %q", run.State, tc.state)
			}
			if r.Verdict != tc.verdict {
				t.Errorf("verdict %q, want %q", r.Verdict, tc.verdict)
			}
			// The order in which the stores come makes no difference.
			slices.Reverse(w.stores)
			for _, lines := range w.stores {
				slices.Reverse(lines)
			}
			back, err := w.judge(o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r.Runs, back.Runs); diff != "" {
				t.Errorf("read backwards (-forwards +backwards):\n%s", diff)
			}
		})
	}
}

func TestWithoutTheSecondReadingRepeatedNumbersAreDuplicates(t *testing.T) {
	w := newWorld(t, 2)
	p := named("orders", "a")
	w.events(0, p, 1, 5)
	w.events(0, p, 2, 2)
	w.events(1, p, 4, 6)
	w.put(1, p, papyra.KindEvent, 5, epoch, "another")
	a := account.New(w.options())
	for i := range w.stores {
		w.each(i, func(rec *papyra.Record) { a.Add(i, rec) })
	}
	q, again, err := a.Again()
	if err != nil || !again || !q.Duplicates || !slices.Equal(q.Nodes, []string{p.node}) || !slices.Equal(q.Kinds, []papyra.Kind{papyra.KindEvent}) {
		t.Fatalf("Again() = %+v, %v, %v, want the copies of the events of one node", q, again, err)
	}
	r, err := a.Result()
	if err != nil || r.Total.Duplicates != 4 || r.Total.Conflicts != 0 || r.Total.Stored != 6 {
		t.Errorf("got %+v, %v, want 6 stored and 4 duplicates", r.Total, err)
	}
}

func TestARunInTwoSystemsIsTwo(t *testing.T) {
	w := newWorld(t, 1)
	a, b := named("orders", "a"), named("billing", "a")
	for seq := uint64(1); seq <= 4; seq++ {
		w.events(0, a, seq, seq)
		w.events(0, b, seq, seq)
	}
	r, err := w.judge(w.options())
	if err != nil || r.Total.Stored != 8 || r.Total.Duplicates != 0 || len(r.Runs) != 2 {
		t.Errorf("got %+v, %v, want 8 stored of two runs", r, err)
	}
}

// A report that lies in the store twice says what it says once.
func TestReportReadTwiceCountsOnce(t *testing.T) {
	w := newWorld(t, 2)
	p := named("orders", "a")
	w.events(0, p, 1, 1)
	w.events(0, p, 9, 9)
	for _, store := range []int{0, 0, 1} {
		w.sink(store, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Instance: "x", Dropped: []papyra.SinkDrops{
			{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 2, Others: papyra.Range{2, 8}},
		}})
		w.stores[store][len(w.stores[store])-1] = w.stores[0][2]
	}
	r, err := w.judge(w.options())
	if err != nil || r.Total.Dropped["sink_full"] != 2 || r.Total.Missing != 5 {
		t.Errorf("got %+v, %v, want 2 dropped and 5 missing", r.Total, err)
	}
}

func TestRunOfWhichOnlyARemovalIsLeft(t *testing.T) {
	w := newWorld(t, 1)
	p := named("orders", "gone")
	w.removal(0, "act", papyra.ActRotate, map[string][]papyra.RemovedRun{"events": {{Node: p.node, Run: p.run, Ranges: ranges(papyra.Range{1, 7})}}})
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	run, c := category(t, r, who{"", p.node, p.run}, papyra.KindEvent)
	if run.State != account.RunGone || run.Node != p.node || c.Removed["rotate"] != 7 || r.Verdict != account.Balanced {
		t.Errorf("got %+v, verdict %s, want 7 removed of a run that is gone", run, r.Verdict)
	}
	// The act's own run is accounted as well.
	if run, _ := category(t, r, named(papyra.SystemReserved, "act"), papyra.KindReport); run.State != account.RunAct {
		t.Errorf("state of the act: %q, want %q", run.State, account.RunAct)
	}
}

func TestWindowLeavesOutWhatEndedBefore(t *testing.T) {
	w := newWorld(t, 1)
	w.events(0, named("orders", "old"), 2, 5)
	w.events(0, named("orders", "new"), 1, 1000)
	o := w.options()
	o.Since = epoch.Add(100 * time.Second)
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 1 || r.Runs[0].Run != named("", "new").run || r.Verdict != account.Balanced {
		t.Errorf("got %+v, want only the run that reaches into the window", r.Runs)
	}
}

func TestGroups(t *testing.T) {
	p := named("orders", "a")
	two := func(t *testing.T) *world {
		w := newWorld(t, 3)
		w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "stopped"})
		w.events(0, p, 1, 10)
		w.sink(1, "live", 1, epoch, papyra.SinkReport{State: "stopped"})
		w.events(1, p, 1, 5)
		w.events(1, p, 7, 10)
		return w
	}
	t.Run("different ones are refused", func(t *testing.T) {
		w := two(t)
		_, err := w.judge(w.options())
		if !errors.Is(err, papyra.ErrUsage) || !strings.Contains(err.Error(), "archive (memory:0); live (memory:1)") || !strings.Contains(err.Error(), "--group") {
			t.Errorf("got %v, want a refusal that names both", err)
		}
	})
	t.Run("unless one is chosen", func(t *testing.T) {
		for group, missing := range map[string]uint64{"archive": 0, "live": 1} {
			w := two(t)
			o := w.options()
			o.Group = group
			r, err := w.judge(o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Group != group || r.Total.Missing != missing || r.Total.Duplicates != 0 {
				t.Errorf("group %s: got %s with %d missing and %d duplicates, want %d and none", group, r.Group, r.Total.Missing, r.Total.Duplicates, missing)
			}
			for i, s := range r.Stores {
				// The store that says nothing is taken for one of the group.
				if want := i == 2 || s.Groups[0] == group; s.Judged != want {
					t.Errorf("group %s: store %d judged %v, want %v", group, i, s.Judged, want)
				}
			}
		}
	})
	t.Run("one that no store is of", func(t *testing.T) {
		w := two(t)
		w.stores = w.stores[:2]
		o := w.options()
		o.Group = "liv"
		if _, err := w.judge(o); !errors.Is(err, papyra.ErrUsage) || !strings.Contains(err.Error(), `"liv"`) {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("a store that changed its group is of both", func(t *testing.T) {
		w := two(t)
		w.report(1, named(papyra.SystemReserved, "later"), 1, epoch.Add(time.Second), papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive"})
		r, err := w.judge(w.options())
		if err != nil || r.Group != "archive" {
			t.Errorf("got %v, %v, want archive", r, err)
		}
	})
	t.Run("nothing at all", func(t *testing.T) {
		w := newWorld(t, 0)
		r, err := w.judge(w.options())
		if err != nil || r.Verdict != account.Balanced || r.Total.Accepted != 0 || len(r.Notes) != 1 {
			t.Errorf("got %+v, %v, want an empty account with a note", r, err)
		}
	})
}

func TestIncomplete(t *testing.T) {
	p := named("orders", "a")
	t.Run("a store that a report names was not given", func(t *testing.T) {
		w := newWorld(t, 1)
		w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Store: "s1", Peers: []papyra.Peer{{Instance: "eu-2", Store: "s2"}, {Instance: "eu-1", Store: "s1"}}})
		w.events(0, p, 1, 3)
		r, err := w.judge(w.options())
		if err != nil {
			t.Fatal(err)
		}
		if want := []account.Absent{{ID: "s2", Instance: "eu-2"}}; r.Verdict != account.Incomplete || !slices.Equal(r.Absent, want) {
			t.Errorf("got %s with %v absent, want incomplete with %v", r.Verdict, r.Absent, want)
		}
	})
	t.Run("given, it is complete", func(t *testing.T) {
		w := newWorld(t, 2)
		w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Store: "s1", Peers: []papyra.Peer{{Instance: "eu-2", Store: "s2"}}})
		w.sink(1, "archive", 1, epoch, papyra.SinkReport{State: "stopped", Store: "s2", Peers: []papyra.Peer{{Instance: "eu-1", Store: "s1"}}})
		r, err := w.judge(w.options())
		if err != nil || r.Verdict != account.Balanced || len(r.Absent) != 0 {
			t.Errorf("got %+v, %v, want balanced", r, err)
		}
	})
	t.Run("a part could not be read", func(t *testing.T) {
		a := account.New(account.Options{At: now, Stores: []string{"json:x"}})
		w := newWorld(t, 1)
		w.events(0, p, 1, 3)
		w.each(0, func(rec *papyra.Record) { a.Add(0, rec) })
		a.Unread(0, 2, errPart)
		r, err := a.Result()
		if err != nil || r.Verdict != account.Incomplete || r.Stores[0].Damaged != 2 || r.Stores[0].Problem != errPart.Error() {
			t.Errorf("got %+v, %v, want incomplete", r, err)
		}
	})
}

func TestGaps(t *testing.T) {
	p := named("orders", "a")
	at := func(seq uint64) float64 { return float64(epoch.Unix() + int64(seq)) }
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, epoch, papyra.SinkReport{State: "started"})
	w.sink(0, "archive", 2, epoch.Add(95*time.Second), papyra.SinkReport{LostMessages: 0})
	w.sink(0, "archive", 3, epoch.Add(105*time.Second), papyra.SinkReport{LostMessages: 3})
	// It dies at 300 s, and another one starts at 310 s.
	w.sink(0, "archive", 4, epoch.Add(300*time.Second), papyra.SinkReport{LostMessages: 3, Disconnects: 0})
	w.report(0, named(papyra.SystemReserved, "second"), 1, epoch.Add(310*time.Second), papyra.ReportSink, papyra.SinkReport{State: "started", Group: "archive"})
	w.report(0, named(papyra.SystemReserved, "second"), 2, epoch.Add(400*time.Second), papyra.ReportSink, papyra.SinkReport{Group: "archive", Disconnects: 1, Uptime: 90})
	w.report(0, named(papyra.SystemReserved, "second"), 3, epoch.Add(3000*time.Second), papyra.ReportSink, papyra.SinkReport{State: "stopped", Group: "archive", Disconnects: 1, Uptime: 2690})
	hole := map[uint64]bool{}
	for _, g := range []papyra.Range{{20, 20}, {50, 60}, {100, 101}, {305, 305}, {350, 350}} {
		for n := g[0]; n <= g[1]; n++ {
			hole[n] = true
		}
	}
	for n := uint64(1); n <= 500; n++ {
		if !hole[n] {
			w.events(0, p, n, n)
		}
	}
	outages := []papyra.Outage{{From: at(55), To: at(58)}, {From: at(200), To: at(210)}}
	w.report(0, p, 1, epoch.Add(56*time.Second), papyra.ReportPublisher, papyra.PublisherReport{
		Uptime: 56, Categories: map[string]papyra.PublisherCategory{"events": {Accepted: 56}},
		Outages: []papyra.Outage{{From: at(55)}},
	})
	w.report(0, p, 2, epoch.Add(510*time.Second), papyra.ReportPublisher, papyra.PublisherReport{
		Uptime: 510, Categories: map[string]papyra.PublisherCategory{"events": {Accepted: 505}}, Outages: outages,
	})
	o := w.options()
	o.Gaps = true
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	gap := func(first, last uint64, causes ...account.Cause) account.Gap {
		g := account.Gap{
			System: p.system, Node: p.node, Run: p.run, Category: "events",
			First: first, Last: last, Count: last - first + 1, After: at(first - 1), Causes: causes,
		}
		if last < 500 {
			g.Before = at(last + 1)
		}
		return g
	}
	want := []account.Gap{
		gap(20, 20, account.CauseUnknown),
		gap(50, 60, account.CauseDisconnection),
		gap(100, 101, account.CauseSinkLost),
		gap(305, 305, account.CauseSinkStopped),
		gap(350, 350, account.CauseSinkCut),
		gap(501, 505, account.CauseProcessEnd),
	}
	want[1].Outages = outages[:1]
	if diff := cmp.Diff(want, r.Gaps, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if r.GapsTotal != 6 || r.Total.Missing != 21 || r.LostMessages != 3 {
		t.Errorf("got %d gaps with %d missing, %d messages lost, want 6, 21 and 3", r.GapsTotal, r.Total.Missing, r.LostMessages)
	}
	o.MaxGaps = 2
	if r, err = w.judge(o); err != nil || len(r.Gaps) != 2 || r.GapsTotal != 6 {
		t.Errorf("with MaxGaps 2: %d listed of %d, %v, want 2 of 6", len(r.Gaps), r.GapsTotal, err)
	}
}

func TestGapsOfWhichOnlySomeAreMissing(t *testing.T) {
	p := named("orders", "a")
	w := newWorld(t, 1)
	w.events(0, p, 1, 2)
	w.events(0, p, 5, 6)
	w.events(0, p, 9, 10)
	w.published(0, p, 1, now.Add(-time.Minute*5), true, papyra.PublisherCategory{Accepted: 10, Confirmed: 9, Dropped: map[papyra.DropReason]*papyra.Drops{papyra.DropQueueFull: drops(1)}})
	o := w.options()
	o.Gaps = true
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Gaps) != 2 || !r.Gaps[0].Partly || r.Gaps[0].Missing != 3 || r.Gaps[0].Of != 4 || r.Gaps[1].First != 7 {
		t.Errorf("got %+v, want two gaps of which 3 of 4 numbers are missing", r.Gaps)
	}
}

func TestWeakCauses(t *testing.T) {
	p := named("orders", "a")
	w := newWorld(t, 1)
	w.sink(0, "archive", 1, now, papyra.SinkReport{State: "stopped", Store: "s1", Peers: []papyra.Peer{{Instance: "b", Store: "s2"}}})
	w.events(0, p, 1, 2)
	w.events(0, p, 4, 5)
	w.published(0, p, 2, now.Add(-5*time.Minute), true, papyra.PublisherCategory{Accepted: 6, Confirmed: 5, Unconfirmed: 1})
	a := account.New(account.Options{At: now, Gaps: true})
	w.each(0, func(rec *papyra.Record) { a.Add(0, rec) })
	a.Unread(0, 3, nil)
	r, err := a.Result()
	if err != nil {
		t.Fatal(err)
	}
	var got [][]account.Cause
	for _, g := range r.Gaps {
		if g.Category == "events" {
			got = append(got, g.Causes)
		}
	}
	weak := []account.Cause{account.CauseStoreNotGiven, account.CauseDamage, account.CauseReportsLost}
	want := [][]account.Cause{weak, append([]account.Cause{account.CauseUnconfirmed}, weak...)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}

// Records of a time in which no sink of the group ran are missing for it without
// anybody's fault: those of another group confirmed them.
func TestGapWithoutASink(t *testing.T) {
	p := named("orders", "a")
	sink := func(name, instance, store string) func(w *world, state string, from, at int) {
		seq := uint64(0)
		return func(w *world, state string, from, at int) {
			seq++
			w.report(0, named(papyra.SystemReserved, name), seq, epoch.Add(time.Duration(at)*time.Second), papyra.ReportSink,
				papyra.SinkReport{State: state, Group: "archive", Instance: instance, Store: store, Uptime: float64(at - from)})
		}
	}
	second := func(n int) float64 { return float64(epoch.Unix() + int64(n)) }
	for name, tt := range map[string]struct {
		sinks func(w *world)
		want  []account.Cause
		down  []papyra.Outage
	}{
		"stopped and started": {func(w *world) {
			a, b := sink("one", "w1", "s1"), sink("two", "w1", "s1")
			a(w, "started", 0, 0)
			a(w, "stopped", 0, 100)
			b(w, "started", 300, 300)
		}, []account.Cause{account.CauseNoSink}, []papyra.Outage{{From: second(100), To: second(300)}}},
		"killed and started": {func(w *world) {
			a, b := sink("one", "w1", "s1"), sink("two", "w2", "s1")
			a(w, "running", 0, 90)
			b(w, "started", 300, 300)
		}, []account.Cause{account.CauseNoSink, account.CauseSinkStopped}, []papyra.Outage{{From: second(90), To: second(300)}}},
		"stopped for good": {func(w *world) {
			sink("one", "w1", "s1")(w, "stopped", 0, 100)
		}, []account.Cause{account.CauseNoSink}, []papyra.Outage{{From: second(100)}}},
		"another one ran": {func(w *world) {
			a, b, c := sink("one", "w1", "s1"), sink("two", "w1", "s1"), sink("three", "w2", "s2")
			a(w, "stopped", 0, 100)
			b(w, "started", 300, 300)
			c(w, "running", 50, 400)
		}, []account.Cause{account.CauseUnknown}, nil},
		"another one ran that says nothing more": {func(w *world) {
			a, c := sink("one", "w1", "s1"), sink("three", "w2", "s2")
			a(w, "stopped", 0, 100)
			c(w, "started", 50, 50)
		}, []account.Cause{account.CauseUnknown}, nil},
		"down at another time": {func(w *world) {
			a, b := sink("one", "w1", "s1"), sink("two", "w1", "s1")
			a(w, "stopped", 0, 300)
			b(w, "started", 400, 400)
		}, []account.Cause{account.CauseUnknown}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			tt.sinks(w)
			w.events(0, p, 1, 149)
			w.events(0, p, 160, 170)
			o := w.options()
			o.Gaps = true
			r, err := w.judge(o)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Gaps) != 1 || r.Verdict != account.Missing {
				t.Fatalf("%s with gaps %+v, want one", r.Verdict, r.Gaps)
			}
			if diff := cmp.Diff(tt.want, r.Gaps[0].Causes); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.down, r.Gaps[0].Downtimes); diff != "" {
				t.Errorf("downtimes (-want +got):\n%s", diff)
			}
		})
	}
}

// A damaged line has no number that could be trusted: what a recovery moved away
// is a probable cause of a gap, and no reason.
func TestGapOfWhatARecoveryMoved(t *testing.T) {
	p := named("orders", "a")
	w := newWorld(t, 1)
	w.events(0, p, 1, 9)
	w.events(0, p, 11, 19)
	w.events(0, p, 23, 30)
	act := func(name, kind string, after int, lines int64) account.Quarantine {
		at := epoch.Add(time.Duration(after) * time.Second)
		w.report(0, named(papyra.SystemReserved, name), 1, at, papyra.ReportRemoval, papyra.RemovalReport{Act: kind, ID: name, Damaged: lines})
		return account.Quarantine{Act: name, At: float64(at.Unix()), Lines: lines}
	}
	act("early", papyra.ActRecover, 5, 7)
	one := act("one", papyra.ActRecover, 100, 1)
	three := act("three", papyra.ActRecover, 200, 3)
	act("none", papyra.ActRecover, 300, 0)
	act("rotation", papyra.ActRotate, 300, 9)
	o := w.options()
	o.Gaps = true
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Gaps) != 2 || r.Verdict != account.Missing || r.Total.Missing != 4 {
		t.Fatalf("%s with %d missing in %+v, want two gaps of 1 and 3", r.Verdict, r.Total.Missing, r.Gaps)
	}
	for i, want := range [][]account.Quarantine{{one, three}, {three}} {
		if diff := cmp.Diff(want, r.Gaps[i].Quarantines); diff != "" || !slices.Equal(r.Gaps[i].Causes, []account.Cause{account.CauseQuarantined}) {
			t.Errorf("gap %d: causes %v, quarantines (-want +got):\n%s", i, r.Gaps[i].Causes, diff)
		}
	}
}

func TestRecordsWithoutANumber(t *testing.T) {
	w := newWorld(t, 1)
	w.line(0, []byte(`{"kind":"event","system_id":"x","actor_address":"x:1","event_type":"T","payload":{},"timestamp":1.0}`+"\n"))
	w.line(0, []byte(`{"kind":"hologram","system_id":"x","timestamp":1.0}`+"\n"))
	w.line(0, []byte(`{"kind":"report","system_id":"x","report":"PublisherReport","payload":{"categories":{"events":{"accepted":5}}},"timestamp":1.0}`+"\n"))
	w.report(0, named("x", "bad"), 1, epoch, papyra.ReportPublisher, "not an object")
	r, err := w.judge(w.options())
	if err != nil {
		t.Fatal(err)
	}
	s := r.Stores[0]
	if s.Records != 4 || s.Unsealed != 2 || s.UnknownKind != 1 || s.UnreadableReports != 1 || r.Total.Accepted != 1 {
		t.Errorf("got %+v and %d accepted, want 2 unsealed, 1 unknown, 1 unreadable and only the report itself", s, r.Total.Accepted)
	}
}

// What the JSON of an account looks like is a promise.
func TestResultIsStable(t *testing.T) {
	w := newWorld(t, 1)
	p := named("orders", "a")
	w.sink(0, "archive", 1, epoch.Add(9*time.Second), papyra.SinkReport{State: "stopped", Store: "s1"})
	w.events(0, p, 1, 2)
	w.put(0, p, papyra.KindEvent, 4, epoch.Add(4*time.Second), "")
	o := w.options()
	o.Gaps = true
	r, err := w.judge(o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	counts := func(accepted, stored, missing string) string {
		return `"accepted":` + accepted + `,"stored":` + stored + `,"dropped":{},"removed":{},"filtered":0,"before":0,"pending":0,"missing":` + missing + `,"unnamed":0,"duplicates":0,"conflicts":0`
	}
	want := `{"group":"archive","at":1700003600,"settle":60,"verdict":"missing","total":{` + counts("5", "4", "1") + `},` +
		`"runs":[{"system":"orders","node":"node-a","run":"a000000000000000","state":"ended","started":1700000001,"last":1700000004,"reports":0,` +
		`"categories":[{"category":"events","first":1,"highest":4,` + counts("4", "3", "1") + `}]},` +
		`{"system":"papyra","node":"node-sinkarchive0","run":"sinkarchive00000","state":"closed","started":1700000009,"last":1700000009,"reports":0,` +
		`"categories":[{"category":"reports","first":1,"highest":1,` + counts("1", "1", "0") + `}]}],` +
		`"stores":[{"name":"memory:0","judged":true,"groups":["archive"],"ids":["s1"],"records":4,"unsealed":0,"unknown_kind":0,"unreadable_reports":0,"damaged":0,"incomplete":false}],` +
		`"absent":[],"gaps":[{"system":"orders","node":"node-a","run":"a000000000000000","category":"events","first":3,"last":3,"count":1,"after":1700000002,"before":1700000004,"causes":["unknown"]}],` +
		`"gaps_total":1,"lost_messages":0,"notes":[]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}
