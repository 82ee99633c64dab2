// Package fleet shows how a living fleet is: a row for each sink that ought to be there,
// and one for each run of a publisher that its sinks have heard of lately.
//
//	admin.Fleet ── Look ──► answers, silences ── Show ──► View: rows
//
// Who is missing or silent is a row, not an absence.
package fleet
