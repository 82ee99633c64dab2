// Package redact hides the secrets of URLs, so that these can stand in logs,
// errors, reports and metrics.
package redact

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// Hidden stands where a secret stood.
const Hidden = "xxxxx"

// URL returns text with its secrets hidden. Text is a URL, a list of NATS URLs
// with commas between, or whatever somebody gave in the place of one:
//
//	redis://user:sec,ret@host/0     redis://user:xxxxx@host/0
//	nats://token@host               nats://xxxxx@host
//	user:p@ss/word@host             user:xxxxx@host
//	redis://host?password=a&db=1    redis://host?password=xxxxx&db=1
//	redis://user:forgot-the-host    redis://user:xxxxx
//
// A password may hold any byte, also "@", "/", "?", "#", "%", a comma and spaces:
// whatever stands before the last "@" is taken for user and password, even if it
// is a part of something else. A user without a password may be a token, and is
// hidden. A parameter is hidden if its name holds a word like "pass" or "token".
//
// What begins with json:, rotating: or memory: is a path, in which "@" has no
// meaning. A text without a URL, an "@" and parameters stays as it is, and so
// does the result of URL. Only one thing is not hidden: in a list of NATS URLs
// the client ends a URL before ",nats://", and so does this.
func URL(text string) string {
	if !firstOfList.MatchString(text) {
		return hideOne(text)
	}
	var out strings.Builder
	from := 0
	for _, at := range nextOfList.FindAllStringIndex(text, -1) {
		out.WriteString(hideOne(text[from:at[0]]) + ",")
		from = at[0] + 1
	}
	out.WriteString(hideOne(text[from:]))
	return out.String()
}

var (
	firstOfList = regexp.MustCompile(`(?i)^\s*(nats|tls|wss?)://`)
	nextOfList  = regexp.MustCompile(`(?i),\s*(nats|tls|wss?)://`)

	// scheme is what may stand before "://" without being a part of a secret; a
	// path's scheme before it is the mistake of somebody who gave two.
	scheme = regexp.MustCompile(`(?i)^\s*((json|rotating|memory):)*([a-z][a-z0-9+.-]*)?$`)
	path   = regexp.MustCompile(`(?i)^\s*(json|rotating|memory):`)
	port   = regexp.MustCompile(`^[0-9]*$`)
)

// hideOne is URL for one URL.
func hideOne(text string) string {
	head, rest, ok := strings.Cut(text, "://")
	switch {
	case ok && scheme.MatchString(head):
		head += "://"
	case path.MatchString(text):
		return hideParameters(text)
	default:
		head, rest = "", text
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		if head == "" {
			return hideParameters(rest)
		}
		return head + hideNoPort(rest)
	}
	before, behind := rest[:at], rest[at+1:]
	if strings.Contains(before, "?") {
		// The "@" may be within the value of a parameter: the secret goes on to
		// the next one.
		next := strings.IndexByte(behind, '&')
		if next < 0 {
			next = len(behind)
		}
		behind = Hidden + behind[next:]
	}
	return head + hideUser(before) + "@" + hideParameters(behind)
}

// hideUser hides what stands before an "@". The user's name stays where it
// cannot be anything else.
func hideUser(info string) string {
	name, _, found := strings.Cut(info, ":")
	if !found || strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+%", r)
	}) {
		return Hidden
	}
	return name + ":" + Hidden
}

// hideNoPort hides what stands in the place of a port and is none: the password
// of somebody who forgot "@" and the host.
func hideNoPort(place string) string {
	end := strings.IndexAny(place, "/?#")
	if end < 0 {
		end = len(place)
	}
	from := 0
	for from < end {
		host := place[from:end]
		if comma := strings.IndexByte(host, ','); comma >= 0 {
			host = host[:comma]
		}
		colon := strings.IndexByte(host, ':')
		if bracket := strings.LastIndexByte(host, ']'); strings.HasPrefix(host, "[") && bracket > 0 {
			if colon = strings.IndexByte(host[bracket:], ':'); colon >= 0 {
				colon += bracket
			}
		}
		if colon >= 0 && !port.MatchString(host[colon+1:]) {
			return place[:from+colon+1] + Hidden
		}
		from += len(host) + 1
	}
	return hideParameters(place)
}

// hideParameters hides the values of parameters that are named like secrets. A
// value goes on to the next "&".
func hideParameters(text string) string {
	var out strings.Builder
	for {
		begin := strings.IndexAny(text, "?&;#")
		if begin < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:begin+1])
		text = text[begin+1:]
		end := strings.IndexAny(text, "=?&;#")
		if end < 0 || text[end] != '=' || !namesSecret(text[:end]) {
			continue
		}
		out.WriteString(text[:end+1] + Hidden)
		next := strings.IndexByte(text, '&')
		if next < 0 {
			return out.String()
		}
		text = text[next:]
	}
}

// namesSecret reports whether a parameter of that name may hold a secret.
func namesSecret(name string) bool {
	plain, err := url.QueryUnescape(name)
	if err != nil {
		return true
	}
	plain = strings.ToLower(plain)
	for _, word := range []string{"pass", "pwd", "secret", "token", "auth", "seed", "key", "user", "cred"} {
		if strings.Contains(plain, word) {
			return true
		}
	}
	return false
}
