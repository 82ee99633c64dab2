// Package natswire stands between nats.go and a server, where a server that is
// broken, hostile or newer than the library would otherwise end the process or the
// connection for good:
//
//   - nats.go makes room for as many bytes as a server announces, and keeps a line
//     without an end. Here a line and a message have a largest length; beyond it the
//     connection ends, and nats.go makes another.
//   - nats.go closes a connection for good at an error of the server that it does not
//     know. Here such an error ends the network connection only.
//   - nats.go takes addresses that no server can have, and tries them for ever. Here
//     they are found before.
//
// What is encrypted cannot be looked at below the encryption, where nats.go lets
// others in. So TLS is done here, with nats.go's options and by its rules.
//
//	socket ── the caller's own wrapper ── TLS, if any ── guard ── nats.go
package natswire
