package metrics

import (
	"time"

	"github.com/papyra/papyra/sink"
)

// number is a metric without labels.
type number struct {
	name, help string
	gauge      bool // otherwise a counter
	value      func(*sink.Stats, *sink.Config) float64
}

// numbers returns all metrics without labels, in the order in which sink.Stats has
// them.
func numbers() []number {
	count := func(name, help string, n func(*sink.Stats) uint64) number {
		return number{name, help, false, func(s *sink.Stats, _ *sink.Config) float64 { return float64(n(s)) }}
	}
	fileCount := func(name, help string, n func(*sink.Stats) int64) number {
		return number{name, help, false, func(s *sink.Stats, _ *sink.Config) float64 { return float64(n(s)) }}
	}
	return []number{
		count("messages_received_total", "NATS messages received, each of any number of lines.", func(s *sink.Stats) uint64 { return s.Messages }),
		count("records_received_total", "Lines received: written, rejected, dropped or pending.", func(s *sink.Stats) uint64 { return s.Received }),
		count("bytes_received_total", "Bytes of the lines received, without their newlines.", func(s *sink.Stats) uint64 { return s.Bytes }),
		count("records_written_total", "Received lines that the store took, or the spool.", func(s *sink.Stats) uint64 { return s.Stored }),
		count("bytes_written_total", "Bytes that the store took, or the spool, with newlines, the sink's own reports too.", func(s *sink.Stats) uint64 { return s.StoredBytes }),
		{"pending_records", "Lines that wait for the store.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.Pending) }},
		{"pending_bytes", "Bytes that wait for the store.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.PendingBytes) }},
		{"pending_limit_bytes", "Bytes that may wait for the store; what comes beyond is dropped.", true, func(_ *sink.Stats, c *sink.Config) float64 { return float64(c.BufferBytes) }},
		{"refused_streams", "Streams that the store refuses while it takes those of others. Their lines wait and are tried again.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.RefusedStreams) }},
		{"refused_pending_records", "Those of the pending lines that belong to refused streams.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.RefusedPending) }},
		{"spool_records", "Records that wait in the spool.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.Spool.Records) }},
		{"spool_bytes", "Bytes of the spool's segments.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.Spool.Bytes) }},
		{"spool_limit_bytes", "Bytes that may wait in the spool; 0 without one.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.Spool.MaxBytes) }},
		{"spool_oldest_timestamp_seconds", "When the oldest record came that waits in the spool, in Unix seconds; 0 if none waits.", true, func(s *sink.Stats, _ *sink.Config) float64 { return unixSeconds(s.Spool.Oldest) }},
		{"spool_refused_streams", "Streams that wait in the spool because the store refuses them while it takes those of others.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.Spool.Refused) }},
		{"spool_set_aside_segments", "Segments of the spool that hold damage and wait for somebody to look.", true, func(s *sink.Stats, _ *sink.Config) float64 { return float64(s.Spool.SetAside) }},
		count("records_spooled_total", "Lines that went into the spool.", func(s *sink.Stats) uint64 { return s.Spool.Spooled }),
		count("records_drained_total", "Lines of the spool that the store took.", func(s *sink.Stats) uint64 { return s.Spool.Drained }),
		count("messages_lost_total", "Messages that were thrown away unread because the sink did not keep up.", func(s *sink.Stats) uint64 { return s.LostMessages }),
		count("disconnects_total", "Lost connections to the NATS server.", func(s *sink.Stats) uint64 { return s.Disconnects }),
		count("subscriptions_refused_total", "Subscriptions to records that the NATS server refused. The sink is not ready then, and tries again.", func(s *sink.Stats) uint64 { return s.RefusedSubscriptions }),
		count("messages_answered_total", "Messages whose publishers were told that their records are stored, or rejected and counted.", func(s *sink.Stats) uint64 { return s.Answered }),
		count("messages_answered_early_total", "Answered messages whose records waited for the store at that time.", func(s *sink.Stats) uint64 { return s.AnsweredEarly }),
		count("answers_refused_total", "Answers to publishers that the NATS server refused. The sink tries again after a minute and on its next connection.", func(s *sink.Stats) uint64 { return s.AnswersRefused }),
		count("service_errors_total", "Failures to announce the sink to its group or to ask for the others.", func(s *sink.Stats) uint64 { return s.ServiceErrors }),
		count("sync_errors_total", "Failed syncs of the store. Each is tried again.", func(s *sink.Stats) uint64 { return s.SyncErrors }),
		count("rejects_not_kept_total", "Rejected lines that the reject file did not take.", func(s *sink.Stats) uint64 { return s.RejectsNotKept }),
		count("reject_files_replaced_total", "Older reject files that a newer one replaced.", func(s *sink.Stats) uint64 { return s.RejectFilesReplaced }),

		fileCount("file_ends_healed_total", "Files without a newline at their end that got one.", func(s *sink.Stats) int64 { return s.Files.Healed }),
		fileCount("file_writes_cut_back_total", "Writes that failed in the middle and were cut off again.", func(s *sink.Stats) int64 { return s.Files.CutBack }),
		fileCount("file_writes_torn_total", "Writes that failed in the middle and left a fragment in the store.", func(s *sink.Stats) int64 { return s.Files.Torn }),
		fileCount("file_reopened_total", "Times that the file was renamed or deleted from outside.", func(s *sink.Stats) int64 { return s.Files.Reopened }),
		fileCount("file_truncated_total", "Times that the file was made shorter from outside.", func(s *sink.Stats) int64 { return s.Files.Truncated }),
		fileCount("file_sync_failures_total", "Failed fsyncs, after each of which the bytes are written again.", func(s *sink.Stats) int64 { return s.Files.SyncFailures }),
		fileCount("file_lock_retaken_total", "Times that the lock file was removed from outside.", func(s *sink.Stats) int64 { return s.Files.LockRetaken }),
		fileCount("rotations_total", "Rotations of the store's files.", func(s *sink.Stats) int64 { return s.Files.Rotations }),
		fileCount("rotation_dropped_files_total", "Oldest files that the bound of a rotating store removed.", func(s *sink.Stats) int64 { return s.Files.DroppedFiles }),
		fileCount("rotation_dropped_records_total", "Records in the files that the bound removed.", func(s *sink.Stats) int64 { return s.Files.DroppedRecords }),
		fileCount("rotation_dropped_bytes_total", "Bytes of the files that the bound removed.", func(s *sink.Stats) int64 { return s.Files.DroppedBytes }),
		fileCount("redis_chunks_resent_total", "Parts of batches that were sent to Redis again because an answer was lost.", func(s *sink.Stats) int64 { return s.Files.Resent }),
		fileCount("redis_chunks_fenced_total", "Parts that were sent again and stood there already: none is stored twice.", func(s *sink.Stats) int64 { return s.Files.Fenced }),
		fileCount("redis_rolled_back_total", "Times that the Redis server had forgotten what it had acknowledged.", func(s *sink.Stats) int64 { return s.Files.RolledBack }),

		count("scans_total", "Scans of the store by this process: those of its startup check.", func(s *sink.Stats) uint64 { return s.Acts.Scans }),
		count("scan_errors_total", "Scans that failed.", func(s *sink.Stats) uint64 { return s.Acts.ScanErrors }),
		count("anomalies_detected_total", "Damaged places that the scans found.", func(s *sink.Stats) uint64 { return s.Acts.Anomalies }),
		count("recoveries_total", "Recoveries of the store by this process.", func(s *sink.Stats) uint64 { return s.Acts.Recoveries }),
		count("recovery_errors_total", "Recoveries that failed.", func(s *sink.Stats) uint64 { return s.Acts.RecoveryErrors }),
		count("compactions_total", "Compactions of the store by this process; not those of papyra-ctl.", func(s *sink.Stats) uint64 { return s.Acts.Compactions }),
		count("compaction_errors_total", "Compactions that failed.", func(s *sink.Stats) uint64 { return s.Acts.CompactionErrors }),
	}
}

// unixSeconds returns a time in Unix seconds, 0 for none.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}
