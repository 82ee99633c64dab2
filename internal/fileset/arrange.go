package fileset

import "slices"

// A rotation gives the active file the lowest number. The numbers below max_files
// are the places for rotated files, except those that something has which is no
// file of the set.

// shift is one renaming of a rotation: NAME.<from> becomes NAME.<to>.
type shift struct{ from, to int }

// arrangement is what a rotation is going to do.
type arrangement struct {
	drop   []int   // the numbers for which the bound has no place, the oldest file first
	shifts []shift // in an order in which no file meets or overtakes another
	place  int     // of the active file; 0 if there is no place at all
}

// arrange plans a rotation of a set whose rotated files have these numbers, in
// rising order; something else has the numbers taken. No more files go than must,
// so that maxFiles stay. Where a number is free, the files below it shift up into
// the hole. Files with numbers that are too high come down.
func arrange(numbers []int, taken map[int]bool, maxFiles int) (a arrangement) {
	places := maxFiles - 1
	for n := range taken {
		if n > 0 && n < maxFiles {
			places--
		}
	}
	if places < 1 {
		return a
	}
	step := func(n, by int) int {
		for n += by; taken[n]; {
			n += by
		}
		return n
	}
	a.place = step(0, 1)
	kept := numbers
	if len(kept) > places-1 {
		kept = numbers[:places-1]
		a.drop = slices.Clone(numbers[places-1:])
		slices.Reverse(a.drop)
	}
	to := slices.Clone(kept)
	top := maxFiles
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = min(to[i], step(top, -1))
		top = to[i]
	}
	low := a.place
	for i := range to {
		if to[i] > low {
			break
		}
		to[i] = step(low, 1)
		low = to[i]
	}
	for i := range to { // down: the newest first
		if to[i] < kept[i] {
			a.shifts = append(a.shifts, shift{kept[i], to[i]})
		}
	}
	for i := len(to) - 1; i >= 0; i-- { // up: the oldest first
		if to[i] > kept[i] {
			a.shifts = append(a.shifts, shift{kept[i], to[i]})
		}
	}
	return a
}
