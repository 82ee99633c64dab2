// Package metrics serves the numbers of a sink and its readiness over HTTP.
//
//	GET /metrics   everything in sink.Stats and the lag of records, as Prometheus reads it
//	GET /livez     200: the process runs
//	GET /readyz    200: NATS and the store work; 503 with the reason when not
//
// A request reads numbers that the sink keeps anyway. It does not scan, open, ask
// or change anything. Counters begin at 0 with the process and never go back. The
// values of labels come from closed lists only.
//
// Where Papyra's Python implementation has a number too, its name is the same:
// records_written, bytes_written, write_errors (failed appends, by cause), scans,
// anomalies_detected, recoveries, compactions.
package metrics
