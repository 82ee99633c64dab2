// Package papyra holds the words that every part of Papyra shares: the facts a
// runtime records ([Event], [Audit], [DeadLetter]), the [Record] they become,
// the seal that protects it, the subjects it travels on, the [Query] and
// [Retention] that read it back, and the reports about maintenance.
//
// A record is one JSON object on one line. The same bytes travel on the wire,
// lie in a file and stand in a Redis entry; nothing ever encodes a record
// twice. [Encoder] writes records, [Parse] checks them, [CheckSeal] verifies a
// seal by slicing, without parsing.
//
// The package depends only on the standard library and starts no goroutine. Its
// only state is a cache of how types are written.
//
// The words stand in files of their own names; what reads and writes a record's
// line stands in the files line_*.go, of which line_layout.go shows the layout.
// They are built on internal/jsontext, which knows no record.
package papyra
