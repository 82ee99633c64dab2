// Package pipeline tests the whole line, with the real programs: publishers and
// plain NATS clients, a broker, papyra-sink and papyra-ctl as processes, and files.
// What a package can show by itself is tested there; here stands what only the
// line as a whole can. It has no code of its own.
package pipeline
