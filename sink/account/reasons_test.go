package account_test

import (
	"slices"
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
			// Its publisher sends it again, and what was removed had been stored.
			name: "removed wins over what a sink dropped and a group did not answer",
			write: func(w *world) {
				w.sink(0, "archive", 1, late, papyra.SinkReport{State: "started", Dropped: []papyra.SinkDrops{
					{Reason: papyra.DropSinkFull, System: p.system, Category: "events", Run: p.run, N: 3, Ranges: ranges(papyra.Range{2, 4})},
				}})
				w.events(0, p, 1, 2)
				w.published(0, p, 1, late, true, papyra.PublisherCategory{Accepted: 7, Confirmed: 7, UnheardBy: map[string]*papyra.Drops{
					"archive": {N: 4, Ranges: ranges(papyra.Range{4, 7})},
				}})
				w.removal(0, "act", papyra.ActCompact, removed(papyra.Range{3, 3}, papyra.Range{5, 6}))
			},
			want:    account.Counts{Accepted: 7, Stored: 2, Dropped: m{"sink_full": 1, "unheard_by": 1}, Removed: acts{"compact": 3}},
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
			want:    account.Counts{Accepted: 520, Stored: 16, Before: 500, Late: 500, Missing: 4},
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
			want:    account.Counts{Accepted: 510, Stored: 10, Removed: acts{"rotate": 200}, Before: 100, Late: 100, Missing: 200},
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
			want:    account.Counts{Accepted: 510, Stored: 10, Dropped: m{"sink_full": 50}, Before: 100, Late: 100, Missing: 350},
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
			want:    account.Counts{Accepted: 520, Stored: 18, Dropped: m{"too_large": 100}, Unnamed: 100, Before: 400, Late: 400, Missing: 2},
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
			want:    account.Counts{Accepted: 5, Stored: 2, Missing: 3}, // the report is not believed
			state:   account.RunEnded,
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
			want:    account.Counts{Accepted: 5, Stored: 3, Missing: 2},
			state:   account.RunEnded,
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
