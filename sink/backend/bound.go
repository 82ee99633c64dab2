package backend

// Bound returns the limits beyond which an appender of the store removes the
// oldest records by itself: files of maxBytes each, at most maxFiles of them.
// Both are 0 for a store that removes nothing by itself.
func (a adapter[A]) Bound() (maxBytes int64, maxFiles int) {
	if b, ok := a.Store.(interface{ Bound() (int64, int) }); ok {
		return b.Bound()
	}
	return 0, 0
}
