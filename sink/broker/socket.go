package broker

import (
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// cutSocket ends this process's connection from its own port to the peer at ip and
// port, so that a write to it that waits fails at once. The server does not hand out its sockets: it
// is found among the process's descriptors. Without /proc it does nothing.
func cutSocket(own uint16, ip string, port int) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return
	}
	peer := netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(port)) //nolint:gosec // a port
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && isConnection(fd, own, peer) {
			shutDown(fd, own, peer)
		}
	}
}

// shutDown ends the connection of fd if it is still the one with peer. It looks at a
// copy of the descriptor, because fd may be closed and used anew meanwhile.
func shutDown(fd int, own uint16, peer netip.AddrPort) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) //nolint:gosec // a descriptor
	if err != nil {
		return
	}
	if isConnection(dup, own, peer) {
		_ = unix.Shutdown(dup, unix.SHUT_RDWR) // the peer may be gone already
	}
	_ = unix.Close(dup)
}

// isConnection reports whether fd is a TCP connection from port own to peer.
func isConnection(fd int, own uint16, peer netip.AddrPort) bool {
	there, err := unix.Getpeername(fd)
	if err != nil || addrOf(there) != peer {
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
