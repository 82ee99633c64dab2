// Package numset holds sets of sequence numbers, which begin with 1.
//
// A [Set] holds numbers that were met, a [Counted] set knows also which of them
// came more than once, and [Ranges] hold what reports name. The first two are
// compressed bitmaps: their memory grows with the span of the numbers, by at
// most 8 KiB for each 65,536 of them and mostly by a hundred bytes. So ranges
// that a stranger can choose must be bounded before they enter one. Ranges cost
// what their text costs, whatever they name.
//
// Numbers that come in rising or in falling order are one range that grows, and
// cost no more than a comparison. That range enters the bitmap when something
// else is asked, so that even reading changes a set: none of these types may be
// used by several goroutines at once.
package numset
