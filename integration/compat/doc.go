// Package compat proves that Papyra's files and the Python implementation's are
// the same files. It has no code of its own, only tests.
//
// The Python side is played by testdata/peer.py, a stand-in with the same
// observable behaviour that needs nothing but Python's standard library; the
// fixtures beside it show the lines that it stands for. A machine without python3
// skips what needs it and says so.
package compat
