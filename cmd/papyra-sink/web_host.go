package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// checkHost answers requests only for names of this server. A page in a browser on
// this machine could otherwise read it: a name of the page's own site can be made to
// resolve to 127.0.0.1. An IP address cannot be such a name, so each is answered.
//
// At an address that other machines can reach, any name is answered unless --http-host
// names some: who comes in by the network needs no browser's help.
func (w *web) checkHost(next http.Handler) http.Handler {
	if !w.loopback() && len(w.hosts) == 0 {
		return next
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !knownHost(r.Host, w.hosts) {
			http.Error(rw, fmt.Sprintf("this server is not %q: ask for localhost or an IP address, or name the host with --http-host", hostName(r.Host)), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// knownHost reports whether a Host header names this server: an IP address,
// localhost or one of names. A request without one does not come from a browser.
func knownHost(header string, names []string) bool {
	host := hostName(header)
	if header == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(names, func(name string) bool { return hostName(name) == host })
}

// hostName returns the name in a Host header: without a port, brackets or the dot
// behind a full name, in lower case.
func hostName(header string) string {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
