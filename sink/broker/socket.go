package broker

import (
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// addrPort returns an address that the server shows, or false if it is none.
func addrPort(ip string, port int) (netip.AddrPort, bool) {
	addr, err := netip.ParseAddr(ip)
	return netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(port)), err == nil //nolint:gosec // a port
}

// cutSockets ends this process's connections from its own port to peers, so that a
// write to one that waits fails at once, and returns how many there were. The server
// does not hand out its sockets: they are found among the process's descriptors.
// Without /proc it does nothing.
func cutSockets(own uint16, peers map[netip.AddrPort]struct{}) (n int) {
	if len(peers) == 0 {
		return 0
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && isOneOf(fd, own, peers) && shutDown(fd, own, peers) {
			n++
		}
	}
	return n
}

// shutDown ends the connection of fd if it is still one with peers. It looks at a copy
// of the descriptor, because fd may be closed and used anew meanwhile.
func shutDown(fd int, own uint16, peers map[netip.AddrPort]struct{}) bool {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) //nolint:gosec // a descriptor
	if err != nil {
		return false
	}
	ok := isOneOf(dup, own, peers) && unix.Shutdown(dup, unix.SHUT_RDWR) == nil // the peer may be gone already
	_ = unix.Close(dup)
	return ok
}

// isOneOf reports whether fd is a TCP connection from port own to one of peers.
func isOneOf(fd int, own uint16, peers map[netip.AddrPort]struct{}) bool {
	there, err := unix.Getpeername(fd)
	if err != nil {
		return false
	}
	if _, ok := peers[addrOf(there)]; !ok {
		return false
	}
	here, err := unix.Getsockname(fd)
	return err == nil && addrOf(here).Port() == own
}

// addrOf returns the zero address for what is no TCP socket.
func addrOf(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)) //nolint:gosec // a port
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)) //nolint:gosec // a port
	}
	return netip.AddrPort{}
}
