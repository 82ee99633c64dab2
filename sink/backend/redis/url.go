package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redact"
)

// Form returns how a URL of a scheme is written, for messages.
func Form(scheme string) string {
	switch {
	case scheme == "unix":
		return scheme + ":///PATH"
	case strings.HasSuffix(scheme, "+sentinel"):
		return scheme + "://HOST,HOST/MASTER[/DB]"
	case strings.HasSuffix(scheme, "+cluster"):
		return scheme + "://HOST,HOST"
	}
	return scheme + "://HOST[:PORT][/DB]"
}

func forms() string {
	var out []string
	for _, scheme := range Schemes() {
		out = append(out, Form(scheme))
	}
	return strings.Join(out, ", ")
}

// Schemes returns the schemes of this backend's URLs.
func Schemes() []string {
	return []string{"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
}

// Parameters returns the names of the parameters of this backend's URLs.
func Parameters() []string { return slices.Sorted(maps.Keys(parameters())) }

const (
	defaultPrefix  = "papyra"
	defaultTimeout = 5 * time.Second
	maxTimeout     = 10 * time.Minute
)

// address says where a store is and how it is reached.
type address struct {
	scheme  string // as it was written
	tls     bool
	cluster bool
	master  string // of a sentinel; empty without one
	network string // "tcp" or "unix"
	hosts   []string
	db      int
	dbGiven bool
	prefix  string
	timeout time.Duration

	user, password         string
	passwordFile           string
	sentinelUser           string
	sentinelPasswordFile   string
	ca, cert, key, tlsName string
}

// parameters are what may follow the URL's "?", each with what it sets.
func parameters() map[string]func(*address, string) error {
	text := func(field func(*address) *string) func(*address, string) error {
		return func(a *address, v string) error {
			*field(a) = v
			return nil
		}
	}
	return map[string]func(*address, string) error{
		"prefix": func(a *address, v string) error {
			a.prefix = v
			return checkPrefix(v)
		},
		"db":      (*address).setDB,
		"timeout": (*address).setTimeout,

		"user":                   text(func(a *address) *string { return &a.user }),
		"password_file":          text(func(a *address) *string { return &a.passwordFile }),
		"sentinel_user":          text(func(a *address) *string { return &a.sentinelUser }),
		"sentinel_password_file": text(func(a *address) *string { return &a.sentinelPasswordFile }),
		"tls_ca":                 text(func(a *address) *string { return &a.ca }),
		"tls_cert":               text(func(a *address) *string { return &a.cert }),
		"tls_key":                text(func(a *address) *string { return &a.key }),
		"tls_server_name":        text(func(a *address) *string { return &a.tlsName }),
	}
}

func (a *address) setDB(v string) error {
	n, err := strconv.Atoi(v)
	switch {
	case a.dbGiven:
		return fmt.Errorf("the database is given twice: %w", papyra.ErrConfig)
	case err != nil || n < 0 || strconv.Itoa(n) != v:
		return fmt.Errorf("database %q is not a number from 0 up: %w", v, papyra.ErrConfig)
	}
	a.db, a.dbGiven = n, true
	return nil
}

func (a *address) setTimeout(v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 || d > maxTimeout {
		return fmt.Errorf("timeout %q: give a duration like 5s, at most %v: %w", v, maxTimeout, papyra.ErrConfig)
	}
	a.timeout = d
	return nil
}

// parseURL reads a URL and parameters given beside it. Its errors never show
// what stands before an "@".
func parseURL(raw string, more map[string]string) (*address, error) {
	a, err := parseParts(raw, more)
	if _, query, _ := strings.Cut(raw, "?"); err != nil && strings.Contains(query, "@") {
		// The "?" may stand within a password: no part of the URL may be shown.
		return nil, fmt.Errorf("the parameters cannot be read: write \"?\" in a password as %%3F and \"@\" in a parameter as %%40: %w", papyra.ErrConfig)
	}
	return a, err
}

func parseParts(raw string, more map[string]string) (*address, error) {
	a := &address{network: "tcp", prefix: defaultPrefix, timeout: defaultTimeout}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !slices.Contains(Schemes(), scheme) {
		return nil, fmt.Errorf("it must be one of %s: %w", forms(), papyra.ErrConfig)
	}
	a.scheme = scheme
	a.tls = strings.HasPrefix(scheme, "rediss")
	a.cluster = strings.HasSuffix(scheme, "+cluster")
	place, query, _ := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(place, '@'); at >= 0 {
		if err := a.setUser(place[:at]); err != nil {
			return nil, err
		}
		place = place[at+1:]
	}
	if strings.Contains(place, "#") {
		return nil, fmt.Errorf("a URL of a store has no fragment: write # as %%23: %w", papyra.ErrConfig)
	}
	if err := a.setPlace(place); err != nil {
		return nil, err
	}
	if err := a.setParameters(query, more); err != nil {
		return nil, err
	}
	return a, a.check()
}

func (a *address) setUser(info string) error {
	user, password, _ := strings.Cut(info, ":")
	var err1, err2 error
	a.user, err1 = url.PathUnescape(user)
	a.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("the user or password has a wrong escape: write %% as %%25: %w", papyra.ErrConfig)
	}
	return nil
}

// setPlace reads what stands between the user and the parameters.
func (a *address) setPlace(place string) error {
	if a.scheme == "unix" {
		path, err := url.PathUnescape(place)
		if err != nil || !strings.HasPrefix(path, "/") {
			return fmt.Errorf("a socket's path must be absolute, as in unix:///run/redis.sock: %w", papyra.ErrConfig)
		}
		a.network, a.hosts = "unix", []string{path}
		return nil
	}
	hosts, path, _ := strings.Cut(place, "/")
	port := "6379"
	sentinel := strings.HasSuffix(a.scheme, "+sentinel")
	if sentinel {
		port = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := hostPort(host, port)
		if err != nil {
			return err
		}
		a.hosts = append(a.hosts, addr)
	}
	if len(a.hosts) > 1 && !sentinel && !a.cluster {
		return fmt.Errorf("several hosts need redis+sentinel:// or redis+cluster://: %w", papyra.ErrConfig)
	}
	if sentinel {
		master, rest, _ := strings.Cut(path, "/")
		if master == "" {
			return fmt.Errorf("name the master that the sentinels watch, as in redis+sentinel://HOST/MASTER: %w", papyra.ErrConfig)
		}
		a.master, path = master, rest
	}
	if path = strings.TrimSuffix(path, "/"); path != "" {
		return a.setDB(path)
	}
	return nil
}

// hostPort completes HOST, HOST:PORT, [IPv6] or [IPv6]:PORT.
func hostPort(host, port string) (string, error) {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:i], host[i+1:]
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	bracketed := len(bare) == len(name)-2
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || bare == "" || strings.ContainsAny(bare, "[]") || strings.Contains(bare, ":") != bracketed {
		// A port that is none may be the password of somebody who forgot the host.
		shown := strings.TrimPrefix(redact.URL("redis://"+host), "redis://")
		return "", fmt.Errorf("host %q is not HOST or HOST:PORT: %w", shown, papyra.ErrConfig)
	}
	return net.JoinHostPort(bare, port), nil
}

func (a *address) setParameters(query string, more map[string]string) error {
	known, seen := parameters(), map[string]bool{}
	set := func(name, value string) error {
		apply, ok := known[name]
		switch {
		case !ok:
			return fmt.Errorf("parameter %q is unknown: allowed are %s: %w", name, strings.Join(Parameters(), ", "), papyra.ErrConfig)
		case seen[name]:
			return fmt.Errorf("parameter %q is given twice: %w", name, papyra.ErrConfig)
		case value == "":
			return fmt.Errorf("parameter %q is empty: %w", name, papyra.ErrConfig)
		}
		seen[name] = true
		return apply(a, value)
	}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(value)
		if err != nil {
			return fmt.Errorf("parameter %q has a wrong escape: write %% as %%25: %w", name, papyra.ErrConfig)
		}
		if err := set(name, value); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		if err := set(name, more[name]); err != nil {
			return err
		}
	}
	return nil
}

// check finds what does not go together.
func (a *address) check() error {
	switch {
	case a.cluster && a.db != 0:
		return fmt.Errorf("a cluster has only database 0: %w", papyra.ErrConfig)
	case a.password != "" && a.passwordFile != "":
		return fmt.Errorf("give the password in the URL or in password_file, not both: %w", papyra.ErrConfig)
	case a.master == "" && (a.sentinelUser != "" || a.sentinelPasswordFile != ""):
		return fmt.Errorf("sentinel_user and sentinel_password_file are for redis+sentinel://: %w", papyra.ErrConfig)
	case !a.tls && (a.ca != "" || a.cert != "" || a.key != "" || a.tlsName != ""):
		return fmt.Errorf("the tls_ parameters need rediss://: %w", papyra.ErrConfig)
	case (a.cert == "") != (a.key == ""):
		return fmt.Errorf("tls_cert and tls_key belong together: %w", papyra.ErrConfig)
	}
	return nil
}

// String returns the URL without user, password and whatever does not name the
// store.
func (a *address) String() string {
	var s strings.Builder
	s.WriteString(a.scheme + "://")
	if a.network == "unix" {
		s.WriteString((&url.URL{Path: a.hosts[0]}).EscapedPath())
	} else {
		s.WriteString(strings.Join(a.hosts, ","))
		if a.master != "" {
			s.WriteString("/" + a.master)
		}
		if !a.cluster {
			s.WriteString("/" + strconv.Itoa(a.db))
		}
	}
	s.WriteString("?prefix=" + url.PathEscape(a.prefix))
	if a.network == "unix" && a.db != 0 {
		s.WriteString("&db=" + strconv.Itoa(a.db))
	}
	return s.String()
}

// client makes a client, which connects when it is used. retries is how often
// it sends a command again after a lost connection; -1 is never.
func (a *address) client(retries int) (goredis.UniversalClient, error) {
	o := &goredis.UniversalOptions{
		Addrs: a.hosts, DB: a.db, MasterName: a.master, IsClusterMode: a.cluster,
		ClientName: "papyra", DisableIdentity: true,
		Username: a.user, Password: a.password, SentinelUsername: a.sentinelUser,
		// Nothing here needs what version 3 of the protocol adds.
		Protocol:                 2,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},

		MaxRetries: retries, ContextTimeoutEnabled: true,
		DialTimeout: a.timeout, ReadTimeout: a.timeout, WriteTimeout: a.timeout,
		DialerRetries: 1, // a sink tries again by itself
		PoolSize:      poolSize, PoolTimeout: a.timeout,
		PipelinePoolSize: 2,
	}
	if a.passwordFile != "" {
		// Read at each connection, so that a new password needs no restart.
		o.CredentialsProviderContext = func(context.Context) (string, string, error) {
			password, err := secret(a.passwordFile)
			return a.user, password, err
		}
	}
	if a.sentinelPasswordFile != "" {
		password, err := secret(a.sentinelPasswordFile)
		if err != nil {
			return nil, err
		}
		o.SentinelPassword = password
	}
	if a.tls {
		var err error
		if o.TLSConfig, err = a.tlsConfig(); err != nil {
			return nil, err
		}
	}
	return goredis.NewUniversalClient(o), nil
}

// poolSize bounds the connections of a client to one server.
const poolSize = 8

// secret reads a password from a file; a newline at its end is not part of it.
func secret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: read the password: %w", papyra.ErrConfig, err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func (a *address) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.tlsName}
	if a.ca != "" {
		pem, err := os.ReadFile(a.ca)
		if err == nil {
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM(pem) {
				err = errors.New("no certificate in " + a.ca)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: read tls_ca: %w", papyra.ErrConfig, err)
		}
	}
	if a.cert != "" {
		pair, err := tls.LoadX509KeyPair(a.cert, a.key)
		if err != nil {
			return nil, fmt.Errorf("%w: read tls_cert and tls_key: %w", papyra.ErrConfig, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
