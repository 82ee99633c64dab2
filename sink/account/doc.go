// Package account balances the records of one sink group: for every run of a
// publisher and each of its categories it says what became of every number up
// to the highest one that anything stored knows of.
//
// A number is exactly one of these, the first that holds:
//
//	stored     a record with it lies in one of the stores
//	dropped    a publisher's or a sink's report says so, and why
//	removed    a RemovalReport says by which act
//	filtered   the group does not take that system or category
//	before     taken before the group began to take that stream
//	pending    so young, or still in a live publisher's buffer, that it may yet come
//	missing    nothing stored says what became of it
//
// The account knows nothing but what the stores say, so it works long after the
// processes are gone, and on copies. README.md tells operators how to read it.
//
// Sets of numbers are compressed bitmaps, one for each run, category and store:
// memory grows with the number of runs and of holes, hardly with the number of
// records.
package account
