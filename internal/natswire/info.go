package natswire

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// unlimitedPayload is the largest message to a server without a limit of its own.
	unlimitedPayload = 64 << 20
	// maxServers bounds the addresses of servers that nats.go learns from servers,
	// because it never forgets one; and maxAddress their length.
	maxServers = 4096
	maxAddress = 300
)

// knownServers are the addresses that servers have told of. They are of all
// connections of one client.
type knownServers struct {
	mu    sync.Mutex
	known map[string]struct{}
}

// tame returns an INFO with which nats.go works:
//
//   - It says how large a message may be. A server without a limit says -1, for which
//     nats.go would send nothing at all.
//   - It has no more new addresses of servers than nats.go is to remember.
func (k *knownServers) tame(line []byte) []byte {
	at := bytes.IndexByte(line, '{')
	var said struct {
		MaxPayload int64    `json:"max_payload"`
		Servers    []string `json:"connect_urls"`
	}
	if at < 0 || json.Unmarshal(line[at:], &said) != nil {
		return line // nats.go refuses it
	}
	servers := k.remember(said.Servers)
	if said.MaxPayload > 0 && len(servers) == len(said.Servers) {
		return line
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(line[at:], &all) != nil {
		return nil
	}
	// Names are the same whatever their letters' case, and the last one counts.
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool {
		return strings.EqualFold(name, "max_payload") || strings.EqualFold(name, "connect_urls")
	})
	all["connect_urls"], _ = json.Marshal(servers) // strings have a form in JSON
	all["max_payload"] = json.RawMessage(strconv.FormatInt(said.MaxPayload, 10))
	if said.MaxPayload <= 0 {
		all["max_payload"] = json.RawMessage(strconv.Itoa(unlimitedPayload))
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil
	}
	return slices.Concat(line[:at], text, []byte("\r\n"))
}

// remember returns those of some addresses that were known, or for which there is room.
func (k *knownServers) remember(addresses []string) (list []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range addresses {
		if _, known := k.known[a]; !known {
			if len(a) > maxAddress || len(k.known) >= maxServers {
				continue
			}
			if k.known == nil {
				k.known = map[string]struct{}{}
			}
			k.known[a] = struct{}{}
		}
		list = append(list, a)
	}
	return list
}
