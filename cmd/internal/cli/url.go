package cli

import (
	"net/url"
	"strings"
)

const redacted = "xxxxx"

// RedactURL returns a URL, or a comma-separated list of them, fit for logs and
// messages: passwords, NATS tokens (a user without a password) and parameters
// that name a secret are replaced. What does not parse loses everything between
// its scheme and its last @.
func RedactURL(raw string) string {
	parts := strings.Split(raw, ",")
	for i, part := range parts {
		parts[i] = redactOne(part)
	}
	return strings.Join(parts, ",")
}

func redactOne(raw string) string {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.User == nil && strings.Contains(raw, "@") && strings.Contains(raw, "://") {
		scheme, rest, ok := strings.Cut(raw, "://")
		if !ok {
			scheme, rest = "", raw
		} else {
			scheme += "://"
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = redacted + rest[at:]
		}
		rest, query, ok := strings.Cut(rest, "?")
		if ok && query != "" {
			rest += "?" + redacted
		}
		return scheme + rest
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), redacted)
		} else {
			u.User = url.User(redacted)
		}
	}
	if u.RawQuery == "" {
		return u.String()
	}
	pairs := strings.Split(u.RawQuery, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if namesSecret(name) {
			pairs[i] = name + "=" + redacted
		}
	}
	u.RawQuery = strings.Join(pairs, "&")
	return u.String()
}

func namesSecret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"password", "passwd", "pass", "token", "secret", "auth", "seed"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
