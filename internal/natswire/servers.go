package natswire

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// ServersOf returns the addresses in text, which has one or several with commas
// between. Empty ones are left out.
func ServersOf(text string) (list []string) {
	for server := range strings.SplitSeq(text, ",") {
		if server = strings.TrimSpace(server); server != "" {
			list = append(list, server)
		}
	}
	return list
}

// CheckServers returns what is wrong with the first address of a NATS server that
// can never be connected to, and nil if there is none. nats.go takes most of these
// and tries for ever. No part of an address is in the error, because it may be a
// secret; the number of the address is, from 1.
func CheckServers(servers []string) error {
	sockets := 0
	for i, server := range servers {
		socket, err := checkServer(server)
		if err != nil {
			return fmt.Errorf("the address of NATS server %d %w: write it like nats://host:4222, with %%XX for special characters of a password", i+1, err)
		}
		if socket {
			sockets++
		}
	}
	if sockets > 0 && sockets < len(servers) {
		return errors.New("the addresses of NATS servers are in part websockets: give ws and wss only, or neither of them")
	}
	return nil
}

// CheckOptions is CheckServers for the servers of o.
func CheckOptions(o *nats.Options) error { return CheckServers(append(ServersOf(o.Url), o.Servers...)) }

// checkServer reports whether an address is that of a websocket, and what is wrong
// with it.
func checkServer(server string) (socket bool, err error) {
	if !strings.Contains(server, "://") {
		server = "nats://" + server // as nats.go does
	}
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return false, errors.New("cannot be read")
	}
	switch u.Scheme {
	case "nats", "tls":
	case "ws", "wss":
		socket = true
	default:
		return false, errors.New("has a scheme that is none of nats, tls, ws and wss")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false, errors.New("has a port that is not within 1 and 65535")
		}
	}
	return socket, nil
}
