// Package numset holds sets of sequence numbers, which begin with 1.
//
// A [Set] holds numbers that were met, a [Counted] set knows also which of them
// came more than once, and [Ranges] hold what reports name. Where short ranges
// lie close together the first two hold a bit for each number, and ranges
// otherwise: a range costs 24 bytes, however wide it is, and 65,536 numbers never
// more than 12 KiB. So memory and time grow with what was added, not with the
// numbers that it names.
//
// Numbers that come in rising or in falling order are one range that grows, and
// cost no more than a comparison. That range is merged with the others when
// something else is asked, so that even reading changes a set: none of these types
// may be used by several goroutines at once.
package numset
