// Package inspect reads stores for people and programs that want to know what
// they hold: the records of several stores as one sequence, a summary of them,
// the pipeline's reports in words, the sum of several scans.
//
//	stores ── Read ──────┬─ each record, merged by time, duplicates once
//	        │            └─ a Source for each store: what became of it
//	        └─ Summarize ── a Summary: streams, runs, what acts have removed
//
// Nothing here changes a store, and nothing decides about tables, flags or exit
// codes. The results have stable JSON: members are only ever added.
package inspect
