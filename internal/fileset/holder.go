package fileset

import (
	"os"
	"syscall"
)

// Socket returns where the holder of the store listens for requests: .NAME.sock
// beside it.
func (s *Store) Socket() string { return s.beside("." + s.name + ".sock") }

// Owns reports whether a user may act for the store as its owner does: the owner
// of its files, root, and, where there are no files yet, the user of this process.
func (s *Store) Owns(uid int) bool {
	store := s.anyMember()
	if store == nil {
		return uid == 0 || uid == os.Geteuid()
	}
	return uid == 0 || int64(uid) == ownerOf(store)
}

// GiveOwnerAt gives what this process has just made at a path beside the store the
// store's owner, as far as this process may. It follows no symlink.
func (s *Store) GiveOwnerAt(path string) {
	store := s.anyMember()
	if store == nil {
		return
	}
	if want, ok := store.Sys().(*syscall.Stat_t); ok && int(want.Uid) != os.Geteuid() {
		_ = os.Lchown(path, int(want.Uid), int(want.Gid)) // without the right to it, it stays the maker's
	}
}
