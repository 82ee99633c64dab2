// Package compat proves that Papyra's stores and the Python implementation's are
// the same stores: one file, rotating sets, and Redis Streams. It has no code of
// its own, only tests, in both directions on real files and a real redis-server.
//
// The Python side is played by testdata/peer.py, a stand-in with the same
// observable behaviour that needs nothing but Python's standard library; the
// fixtures beside it show the lines that it stands for. A machine without python3
// or redis-server skips what needs it and says so.
//
// One thing the two do not share: a system id with a space, a control character or
// one of :={}*?[]\ has another key in Redis here than there, so that no two ids
// share one. Papyra reads both spellings, the Python side only its own.
package compat
