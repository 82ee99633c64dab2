package redis

import (
	"fmt"
	"strings"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
)

// keyspace spells the keys of one store.
type keyspace struct {
	prefix  string
	cluster bool
}

// checkPrefix refuses a prefix with which the keys would not be what they say.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return fmt.Errorf("prefix is empty: %w", papyra.ErrConfig)
	}
	for i := range len(prefix) {
		switch b := prefix[i]; {
		case b == '{' || b == '}':
			return fmt.Errorf("prefix %q has a brace: a cluster would place all keys by what stands between braces: %w", prefix, papyra.ErrConfig)
		case b < 0x21 || b == 0x7f:
			return fmt.Errorf("prefix %q has a space or control character: %w", prefix, papyra.ErrConfig)
		}
	}
	return nil
}

// escapedByte reports whether a byte of a system id is written =HH in a key.
func escapedByte(b byte) bool {
	return b < 0x21 || b == 0x7f || strings.IndexByte(`:={}*?[]\`, b) >= 0
}

// escapeSystem writes a system id as one part of a key. No two ids share one.
func escapeSystem(system string) string { return escape.Encode(system, escapedByte) }

// system returns the system id that a key names. A token that no escapeSystem
// makes is the id itself, as the Python implementation writes it.
func (key streamKey) system() string {
	if id, bad := escape.Decode(key.token, escapedByte); bad < 0 {
		return id
	}
	return key.token
}

// stream returns the key of a stream.
func (k keyspace) stream(s papyra.Stream) string {
	return k.prefix + ":" + escapeSystem(s.System) + ":" + s.Kind.Category()
}

// marker is the key of the store's random id. It makes an empty store exist.
func (k keyspace) marker() string { return k.prefix + ":store" }

// quarantine returns the key that takes the damaged entries of a stream's key.
// In a cluster it shares the slot of that key.
func (k keyspace) quarantine(key streamKey) string {
	if k.cluster {
		return "{" + key.name + "}:quarantine"
	}
	return k.prefix + ":" + key.token + ":quarantine:" + strings.ReplaceAll(key.name, ":", "_")
}

// quarantines matches all quarantine streams.
func (k keyspace) quarantines() string {
	if k.cluster {
		return "{" + k.prefix + ":*}:quarantine"
	}
	return k.prefix + ":*:quarantine:*"
}

// fence returns the key in which an appender notes how far it came with a
// stream. It shares the slot of the stream's key.
func fence(key, appender string) string { return "{" + key + "}:fence:" + appender }

// pattern matches every key of the store but the fences, for SCAN.
func (k keyspace) pattern() string {
	var out strings.Builder
	for i := range len(k.prefix) {
		if strings.IndexByte(`*?[]\^-`, k.prefix[i]) >= 0 {
			out.WriteByte('\\')
		}
		out.WriteByte(k.prefix[i])
	}
	return out.String() + ":*"
}

// streamKey is a key that holds a stream of records.
type streamKey struct {
	name  string
	token string // the part that names the system
	kind  papyra.Kind
}

// parse reports whether a key may be one of a stream of this store. Where the token
// holds a colon only the records tell: then it is that of the Python implementation,
// which does not escape, or a key of another store with the prefix PREFIX:MORE.
func (k keyspace) parse(name string) (streamKey, bool) {
	rest, ok := strings.CutPrefix(name, k.prefix+":")
	if !ok {
		return streamKey{}, false
	}
	end := strings.LastIndexByte(rest, ':')
	if end <= 0 {
		return streamKey{}, false
	}
	token, category := rest[:end], rest[end+1:]
	kind := papyra.ParseCategory(category)
	if kind == papyra.KindUnknown && category != papyra.KindUnknown.Category() {
		return streamKey{}, false
	}
	return streamKey{name: name, token: token, kind: kind}, true
}

// isStranger reports whether a key under the prefix is none of those that this version
// uses.
func (k keyspace) isStranger(name string) bool {
	_, stream := k.parse(name)
	return !stream && name != k.marker() && !strings.Contains(name, ":quarantine:")
}

// streamsOf returns the keys in which records of a system and kind may stand:
// its own, and the one that the Python implementation, which does not escape,
// would use.
func (k keyspace) streamsOf(s papyra.Stream) []streamKey {
	var out []streamKey
	for _, token := range []string{escapeSystem(s.System), s.System} {
		key, ok := k.parse(k.prefix + ":" + token + ":" + s.Kind.Category())
		if ok && (len(out) == 0 || out[0] != key) {
			out = append(out, key)
		}
	}
	return out
}

// holds reports whether a record may stand in the key: it is one of this store, or of
// another one whose prefix ends elsewhere and that has the same key. With the prefix
// papyra, papyra:eu:shop:events is the Python implementation's key of eu:shop; with
// the prefix papyra:eu it is everybody's key of shop.
func (key streamKey) holds(rec *papyra.Record) bool {
	if rec.Kind != key.kind && rec.Kind != papyra.KindUnknown {
		return false
	}
	return key.names(string(rec.System)) || key.endsIn(string(rec.System))
}

// names reports whether the key is one of a system in this store.
func (key streamKey) names(system string) bool {
	return system == key.token || escapeSystem(system) == key.token
}

// endsIn reports whether the key is one of a system in some store.
func (key streamKey) endsIn(system string) bool {
	category := ":" + key.kind.Category()
	return strings.HasSuffix(key.name, ":"+system+category) || strings.HasSuffix(key.name, ":"+escapeSystem(system)+category)
}

// isUnsure reports whether only the records tell whether the key is one of this
// store.
func (key streamKey) isUnsure() bool { return strings.IndexByte(key.token, ':') >= 0 }
