// Package backend opens the store that a URL names.
//
//	json:PATH      one file, a record on each line
//	rotating:PATH  a bounded set of files: "?max_bytes=50MB&max_files=5"
//	memory:        the memory of this process
//	redis://HOST[:PORT][/DB], unix:///PATH, redis+sentinel://HOST,…/MASTER[/DB],
//	redis+cluster://HOST,… and, with TLS, rediss…: Redis Streams, as package
//	redis says
//
// PATH stands as it is, relative or absolute, with spaces and all; only "?",
// which begins the parameters, and "%" before "3F" or "25" must be written "%3F"
// and "%25" ([EscapePath] does). A byte that is not UTF-8 stands as itself or as \xHH,
// as a store calls itself; a backslash before that is \x5c. Parameters follow as in
// "json:PATH?sync=batch".
package backend

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
	"github.com/papyra/papyra/internal/human"
	"github.com/papyra/papyra/internal/redact"
	"github.com/papyra/papyra/sink/backend/jsonfile"
	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/backend/redis"
	"github.com/papyra/papyra/sink/backend/rotating"
)

// Options are parameters given beside the URL, as flags are, by the names that
// they have in it. The zero Options are none.
type Options map[string]string

// kind is one kind of backend.
type kind struct {
	form       string // of its URLs, for messages
	parameters []string
	open       func(rest string, p Options) (papyra.Store, error)
}

func kinds() map[string]kind {
	all := map[string]kind{
		"json":     {"json:PATH", []string{"sync"}, openJSON},
		"memory":   {"memory:", nil, openMemory},
		"rotating": {"rotating:PATH", []string{"max_bytes", "max_files", "sync"}, openRotating},
	}
	for _, scheme := range redis.Schemes() {
		all[scheme] = kind{redis.Form(scheme), redis.Parameters(), func(rest string, p Options) (papyra.Store, error) {
			return openRedis(scheme+":"+rest, p)
		}}
	}
	return all
}

// Open returns the backend that rawURL names. It touches neither disk nor
// network: a store that does not exist is found out by its methods. An error
// wraps papyra.ErrConfig and shows no secret.
func Open(rawURL string) (papyra.Store, error) { return OpenWith(rawURL, nil) }

// OpenWith is [Open] with parameters from elsewhere. One that is given in both
// places is an error.
func OpenWith(rawURL string, o Options) (papyra.Store, error) {
	b, err := open(rawURL, o)
	if err != nil {
		return nil, fmt.Errorf("open backend %q: %w", Redact(rawURL), err)
	}
	return b, nil
}

// Takes reports whether the kind of store that rawURL names has a parameter of
// that name and the URL does not give it itself.
func Takes(rawURL, parameter string) bool {
	scheme, rest, _ := strings.Cut(rawURL, ":")
	_, query, _ := strings.Cut(rest, "?")
	for part := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(part, "="); name == parameter {
			return false
		}
	}
	return slices.Contains(kinds()[scheme].parameters, parameter)
}

func open(rawURL string, o Options) (papyra.Store, error) {
	scheme, rest, ok := strings.Cut(rawURL, ":")
	k, known := kinds()[scheme]
	if !ok || !known {
		return nil, fmt.Errorf("it must be one of %s: %w", forms(), papyra.ErrConfig)
	}
	rest, query, _ := strings.Cut(rest, "?")
	p, err := k.parse(query, o)
	var store papyra.Store
	if err == nil {
		store, err = k.open(rest, p)
	}
	if err != nil && strings.Contains(query, "@") {
		// The "?" may stand within a password: no part of the URL may be shown.
		err = fmt.Errorf("the parameters cannot be read: write \"?\" in a password as %%3F and \"@\" in a parameter as %%40: %w", papyra.ErrConfig)
	}
	return store, err
}

func forms() string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.form)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// parse reads the parameters of the URL and adds the others.
func (k kind) parse(query string, o Options) (Options, error) {
	p := Options{}
	add := func(name, value string) error {
		if !slices.Contains(k.parameters, name) {
			allowed := "it has none"
			if len(k.parameters) > 0 {
				allowed = "allowed are " + strings.Join(k.parameters, ", ")
			}
			return fmt.Errorf("parameter %q is not one of %s: %s: %w", name, k.form, allowed, papyra.ErrConfig)
		}
		if _, twice := p[name]; twice {
			return fmt.Errorf("parameter %q is given twice: %w", name, papyra.ErrConfig)
		}
		if value == "" {
			return fmt.Errorf("parameter %q is empty: %w", name, papyra.ErrConfig)
		}
		p[name] = value
		return nil
	}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("parameter %q has a wrong escape: write %% as %%25: %w", name, papyra.ErrConfig)
		}
		if err := add(name, value); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if err := add(name, o[name]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func openJSON(rest string, p Options) (papyra.Store, error) {
	s, err := jsonfile.Open(unescapePath(rest), jsonfile.Config{Sync: p["sync"], URL: "json:" + rest})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openRotating(rest string, p Options) (papyra.Store, error) {
	c := rotating.Config{Sync: p["sync"], URL: "rotating:" + rest}
	if v, ok := p["max_bytes"]; ok {
		var err error
		if c.MaxBytes, err = human.ParseSize(v); err == nil && c.MaxBytes == 0 {
			err = errors.New("give a positive size")
		}
		if err != nil {
			return nil, fmt.Errorf("max_bytes=%s: %w: %w", v, err, papyra.ErrConfig)
		}
	}
	if v, ok := p["max_files"]; ok {
		var err error
		if c.MaxFiles, err = strconv.Atoi(v); err != nil || c.MaxFiles == 0 {
			return nil, fmt.Errorf("max_files=%s: give a number of files, 2 or more: %w", v, papyra.ErrConfig)
		}
	}
	s, err := rotating.Open(unescapePath(rest), c)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openRedis(place string, p Options) (papyra.Store, error) {
	s, err := redis.Open(place, redis.Config{Parameters: p})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openMemory(rest string, _ Options) (papyra.Store, error) {
	if rest != "" {
		return nil, fmt.Errorf("a memory has no name: write \"memory:\": %w", papyra.ErrConfig)
	}
	return memory.New(nil).Open(), nil
}

var (
	escaper   = strings.NewReplacer("%", "%25", "?", "%3F")
	unescaper = strings.NewReplacer("%25", "%", "%3F", "?", "%3f", "?")
)

// EscapePath writes a path as it must stand in a URL.
func EscapePath(path string) string { return escaper.Replace(escape.EncodeName(path)) }

func unescapePath(path string) string { return escape.DecodeName(unescaper.Replace(path)) }

// Redact returns a URL without its secrets, fit for logs and messages. It takes
// any text, and leaves URLs without secrets as they are.
func Redact(rawURL string) string { return redact.URL(rawURL) }

// Each store shows what its recoveries have moved away.
var (
	_ papyra.QuarantineReader = (*jsonfile.Store)(nil)
	_ papyra.QuarantineReader = (*rotating.Store)(nil)
	_ papyra.QuarantineReader = (*redis.Store)(nil)
	_ papyra.QuarantineReader = (*memory.Store)(nil)
)
