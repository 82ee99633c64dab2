package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"

	"github.com/nats-io/nats-server/v2/server"
)

// Login is a user and a password. Clients send it without encryption.
type Login struct{ User, Password string }

func (l Login) isZero() bool { return l == Login{} }

func (l Login) checker() server.Authentication {
	return loginChecker{sha256.Sum256([]byte(l.User)), sha256.Sum256([]byte(l.Password))}
}

// loginChecker lets clients of this process in, and others with the login. It keeps
// hashes, which take the same time to compare whatever is sent.
type loginChecker struct{ user, password [sha256.Size]byte }

// Check reports whether c may come in.
func (l loginChecker) Check(c server.ClientAuthentication) bool {
	if _, remote := c.RemoteAddress().(*net.TCPAddr); !remote {
		return true // a pipe within the process
	}
	o := c.GetOpts()
	user, password := sha256.Sum256([]byte(o.Username)), sha256.Sum256([]byte(o.Password))
	return subtle.ConstantTimeCompare(user[:], l.user[:])&subtle.ConstantTimeCompare(password[:], l.password[:]) == 1
}
