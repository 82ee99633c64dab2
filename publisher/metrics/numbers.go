package metrics

import (
	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
)

const (
	labelCategory = "category"
	labelReason   = "reason"
)

// ofCategories are the numbers of a publisher.CategoryStats that have no reason.
func ofCategories() family {
	show := func(name, help string, gauge bool, value func(*publisher.CategoryStats) float64) number {
		return number{name, help, gauge, func(s *publisher.Stats, show shower) {
			eachCategory(s, func(category string, c *publisher.CategoryStats) { show(value(c), category) })
		}}
	}
	count := func(name, help string, n func(*publisher.CategoryStats) uint64) number {
		return show(name, help, false, func(c *publisher.CategoryStats) float64 { return float64(n(c)) })
	}
	type stats = publisher.CategoryStats
	return family{[]string{labelCategory}, []number{
		count("records_accepted_total", "Records that took a number: confirmed, unconfirmed, buffered or dropped.", func(c *stats) uint64 { return c.Accepted }),
		count("records_confirmed_total", "Records that the sinks answered for, or that a server queued for somebody where no sink answers.", func(c *stats) uint64 { return c.Confirmed }),
		count("records_unconfirmed_total", "Records that were handed over and not confirmed when the publisher closed.", func(c *stats) uint64 { return c.Unconfirmed }),
		count("records_refused_total", "Record calls after Close.", func(c *stats) uint64 { return c.Refused }),
		count("records_resent_total", "Records that were handed over once more, each time.", func(c *stats) uint64 { return c.Resent }),
		count("records_unheard_total", "Records that were handed over while nobody listened, each time.", func(c *stats) uint64 { return c.Unheard }),
		count("records_denied_total", "Records that were handed over and not permitted by the broker, each time.", func(c *stats) uint64 { return c.Denied }),
		count("payloads_replaced_total", "Records that were kept with the reason in the place of a payload that cannot be encoded.", func(c *stats) uint64 { return c.PayloadReplaced }),
		count("bytes_sanitized_total", "Invalid bytes of texts that were replaced.", func(c *stats) uint64 { return c.Sanitized }),
		show("buffered_records", "Records that wait in the buffer, handed over or not.", true, func(c *stats) float64 { return float64(c.Buffered) }),
		show("buffer_bytes", "Memory held for records, used or free.", true, func(c *stats) float64 { return float64(c.BufferBytes) }),
	}}
}

// ofReasons are the numbers of a publisher.CategoryStats by reason.
func ofReasons() family {
	return family{[]string{labelCategory, labelReason}, []number{
		{"records_dropped_total", "Records that were dropped, by reason.", false, func(s *publisher.Stats, show shower) {
			eachCategory(s, func(category string, c *publisher.CategoryStats) {
				show(float64(c.DroppedQueueFull), category, string(papyra.DropQueueFull))
				show(float64(c.DroppedTooLarge), category, string(papyra.DropTooLarge))
				show(float64(c.DroppedEncode), category, string(papyra.DropEncode))
				show(float64(c.DroppedClosed), category, string(papyra.DropClosed))
			})
		}},
		{"held", "1 for the reason for which the records of a category wait although there is a connection, 0 for the others.", true, func(s *publisher.Stats, show shower) {
			eachCategory(s, func(category string, c *publisher.CategoryStats) {
				for _, reason := range holdReasons() {
					show(boolValue(c.Hold == reason), category, string(reason))
				}
			})
		}},
	}}
}

// holdReasons returns the reasons for which a publisher holds a category.
func holdReasons() []publisher.HoldReason {
	return []publisher.HoldReason{publisher.HoldUnheard, publisher.HoldUnanswered, publisher.HoldDenied}
}

// ofConnection are the numbers that are of no category.
func ofConnection() family {
	gauge := func(name, help string, is func(*publisher.Stats) bool) number {
		return number{name, help, true, func(s *publisher.Stats, show shower) { show(boolValue(is(s))) }}
	}
	count := func(name, help string, n func(*publisher.Stats) uint64) number {
		return number{name, help, false, func(s *publisher.Stats, show shower) { show(float64(n(s))) }}
	}
	return family{nil, []number{
		gauge("connected", "1 while there is a connection to a broker.", func(s *publisher.Stats) bool { return s.Connected }),
		gauge("replies_refused", "1 while the broker refuses the inbox: records count as confirmed also when nobody listens.", func(s *publisher.Stats) bool { return s.RepliesRefused }),
		gauge("answers_refused", "1 while the broker refuses the answers of sinks: records count as confirmed when a server has queued them.", func(s *publisher.Stats) bool { return s.AnswersRefused }),
		gauge("no_headers", "1 where the broker has no headers: records count as confirmed also when nobody listens.", func(s *publisher.Stats) bool { return s.NoHeaders }),
		count("disconnects_total", "Lost connections to a broker.", func(s *publisher.Stats) uint64 { return s.Errors.Disconnects }),
		count("reconnects_total", "Connections that were made again.", func(s *publisher.Stats) uint64 { return s.Errors.Reconnects }),
		count("audit_panics_total", "Calls of AuditFunc that panicked.", func(s *publisher.Stats) uint64 { return s.AuditPanics }),
	}}
}

// ofErrors is what went wrong with the connection, by cause.
func ofErrors() family {
	return family{[]string{labelReason}, []number{
		{"connection_errors_total", "Errors of the connection, by reason: no broker was reached, a login or a subject was refused, a write failed, or another.", false,
			func(s *publisher.Stats, show shower) {
				show(float64(s.Errors.Connect), "connect")
				show(float64(s.Errors.Auth), "auth")
				show(float64(s.Errors.Permission), "permission")
				show(float64(s.Errors.Write), "write")
				show(float64(s.Errors.Other), "other")
			}},
	}}
}
