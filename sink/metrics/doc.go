// Package metrics tells over HTTP what a sink counts and how it is.
//
//	GET /metrics   everything in sink.Stats, as Prometheus reads it
//	GET /livez     200: the process runs
//	GET /readyz    200: NATS and the store work; 503 with the reason when not
//
// A request reads numbers that are there anyway: none scans, opens or asks
// anything, and none changes anything. Counters begin at 0 with the process and
// never go back. Labels have values from closed lists only.
//
// Records that were written are counted under the names that Papyra's Python
// implementation gave its numbers: records_written, bytes_written, write_errors
// (failed appends, by cause), scans, anomalies_detected, recoveries, compactions.
package metrics
