package natswire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
)

// chunks is a connection whose reads return these parts.
type chunks struct {
	net.Conn
	parts [][]byte
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.parts[0])
	if c.parts[0] = c.parts[0][n:]; len(c.parts[0]) == 0 {
		c.parts = c.parts[1:]
	}
	return n, nil
}

// inParts cuts text into parts of random lengths up to longest; 0 does not cut.
func inParts(text string, longest int) (parts [][]byte) {
	for len(text) > 0 {
		n := len(text)
		if longest > 0 {
			n = min(n, 1+rand.N(longest))
		}
		parts, text = append(parts, []byte(text[:n])), text[n:]
	}
	return parts
}

// readGuarded returns what passes a guard, and the error at its end.
func readGuarded(text string, keep, longest int) (string, error) {
	g := &guard{Conn: &chunks{parts: inParts(text, longest)}, keep: keep, servers: &knownServers{}}
	var passed bytes.Buffer
	b := make([]byte, 32<<10) // as nats.go's
	for {
		n, err := g.Read(b)
		passed.Write(b[:n])
		if err != nil {
			return passed.String(), err
		}
	}
}

const honest = "INFO {\"max_payload\":1048576}\r\nPING\r\nPONG\r\n+OK\r\n" +
	"MSG a.b 1 5\r\nhello\r\nMSG a 2 reply 0\r\n\r\nHMSG r 3 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" +
	"-ERR 'Permissions Violation for Publish to \"x\"'\r\n-ERR 'Maximum Connections Exceeded'\r\n" +
	"-ERR 'Authorization Violation'\r\n-ERR 'Stale Connection'\r\n-ERR 'maximum subscriptions exceeded'\r\n" +
	"MSG\ta  1\tr\t2\r\n\r\n\r\nmsg a 1 3\nMSG\r\nPONG\r\n"

// What keeps to the protocol passes as it is, however it comes.
func TestHonestServerIsNotTouched(t *testing.T) {
	t.Parallel()
	text := strings.Repeat(honest, 20)
	for _, longest := range []int{0, 1, 2, 7, 100} {
		if got, err := readGuarded(text, MaxMessage, longest); got != text || !errors.Is(err, io.EOF) {
			t.Errorf("in parts of up to %d bytes: %d of %d bytes passed, %v", longest, len(got), len(text), err)
		}
	}
}

// Messages that are too long for this client are left out, and nothing else.
func TestLongMessagesAreLeftOut(t *testing.T) {
	t.Parallel()
	long := "MSG a 1 " + strconv.Itoa(100_000) + "\r\n" + strings.Repeat("MSG a 1 3\r\n", 100_000/11+1)[:100_000] + "\r\n"
	short := "MSG a 1 5\r\nhello\r\n"
	for _, longest := range []int{0, 1, 20, 50_000} {
		if got, err := readGuarded(short+long+short+long+"PONG\r\n", 5, longest); got != short+short+"PONG\r\n" || !errors.Is(err, io.EOF) {
			t.Errorf("in parts of up to %d bytes: %.100q, %v", longest, got, err)
		}
	}
}

// Where a server breaks the protocol or a bound, all before that passes and nothing
// behind it.
func TestHostileLines(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"announces too much":            "MSG a 1 99999999999\r\n",
		"announces too much, reply":     "MSG a 1 r 99999999999\r\n",
		"announces too much, header":    "HMSG a 1 16 99999999999\r\n",
		"wraps to a small number":       "MSG a 1 18446744073709551621\r\n",
		"just too much":                 fmt.Sprintf("MSG a 1 %d\r\n", MaxMessage+1),
		"negative":                      "MSG a 1 -5\r\n",
		"not a number":                  "MSG a 1 5x\r\n",
		"hexadecimal":                   "MSG a 1 0x5\r\n",
		"no number":                     "MSG a 1 \r\n",
		"only a number":                 "MSG5\r\n",
		"CR in the line":                "MSG a 1 5\r99999999999\r\n",
		"line without an end":           "MSG " + strings.Repeat("a", maxLine),
		"error without an end":          "-ERR '" + strings.Repeat("a", maxLine),
		"long error":                    "-ERR '" + strings.Repeat("a", maxLine) + "'\r\n",
		"PING without an end":           "PING" + strings.Repeat(" ", maxLine),
		"INFO without an end":           "INFO " + strings.Repeat("a", maxInfo),
		"long INFO":                     "INFO {" + strings.Repeat(" ", maxInfo) + "}\r\n",
		"no line end behind a message":  "MSG a 1 5\r\nhello!!\r\n",
		"LF behind a message":           "MSG a 1 5\r\nhello\nMSG a 1 99999999999\r\n",
		"CR behind a message":           "MSG a 1 5\r\nhello\r\rMSG a 1 99999999999\r\n",
		"hidden behind a short message": "MSG a 1 1\r\nhello\r\n",
		"another protocol":              "HTTP/1.1 200 OK\r\n",
		"binary":                        "\x16\x03\x01\x00\xff\n",
		"blank line":                    "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, longest := range []int{0, 1, 1000} {
				got, err := readGuarded(honest+line+"PONG\r\n", MaxMessage, longest)
				var broken *Violation
				if !strings.HasPrefix(got, honest) || strings.HasSuffix(got, "PONG\r\n") && len(got) > len(honest) || !errors.As(err, &broken) {
					t.Errorf("in parts of up to %d bytes: passed %.80q behind the good, %v", longest, strings.TrimPrefix(got, honest), err)
				}
				if err != nil && len(err.Error()) > 500 {
					t.Errorf("the error has %d bytes", len(err.Error()))
				}
			}
		})
	}
}

func TestErrorsOfTheServer(t *testing.T) {
	t.Parallel()
	for text, fatal := range map[string]bool{
		"'something new'":                 true,
		"'Maximum Payload Violation'":     true,
		"'maximum control line exceeded'": true,
		"'Stale Connection, bye'":         true,
		"''":                              true,
		"'Stale Connection'":              false,
		"'Unknown Protocol Operation'":    false,
		"'Permissions Violation for Publish to \"permissions\"'": false,
		"'User Authentication Expired'":                          false,
	} {
		got, err := readGuarded("PING\r\n-ERR "+text+"\r\nPONG\r\n", MaxMessage, 0)
		var told *ServerError
		if isFatal := errors.As(err, &told); isFatal != fatal || !strings.HasPrefix(got, "PING\r\n") || fatal != (got == "PING\r\n") {
			t.Errorf("-ERR %s: passed %q, %v", text, got, err)
		}
	}
}

// A server without a limit on messages is one with a large limit for nats.go, which
// would send it nothing otherwise. All else is as it was said.
func TestServerWithoutALimit(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		`INFO {"server_id":"x","max_payload":-1,"headers":true,"connect_urls":["a:1"]}`: `INFO {"connect_urls":["a:1"],"headers":true,"max_payload":67108864,"server_id":"x"}`,
		`INFO {"max_payload":0}`:                            `INFO {"connect_urls":null,"max_payload":67108864}`,
		`INFO {"port":4222}`:                                `INFO {"connect_urls":null,"max_payload":67108864,"port":4222}`,
		`INFO {"max_payload":-1,"MAX_PAYLOAD":-2,"port":1}`: `INFO {"connect_urls":null,"max_payload":67108864,"port":1}`,
		"INFO {\"max_payload\":5,\"connect_url\u017f\":[\"a:1\"],\"connect_urls\":[\"" + strings.Repeat("a", 400) + "\"]}": `INFO {"connect_urls":null,"max_payload":5}`,
		`INFO {"max_payload":1}`:          `INFO {"max_payload":1}`,
		`INFO {"max_payload":-1`:          `INFO {"max_payload":-1`,
		`INFO `:                           `INFO `,
		`INFO {"max_payload":"-1"}`:       `INFO {"max_payload":"-1"}`,
		`INFO {"max_payload":-1} {"a":1}`: `INFO {"max_payload":-1} {"a":1}`,
	} {
		for _, longest := range []int{0, 1, 10} {
			if got, err := readGuarded("PING\r\n"+said+"\r\nPONG\r\n", MaxMessage, longest); got != "PING\r\n"+want+"\r\nPONG\r\n" || !errors.Is(err, io.EOF) {
				t.Errorf("%s in parts of up to %d bytes: %q, %v, want %s", said, longest, got, err, want)
			}
		}
	}
}

// What nats.go keeps of servers and their errors is bounded, however much is said.
func TestMuchIsSaid(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 100 {
		text.WriteString(`INFO {"max_payload":1,"connect_urls":["same:1"`)
		for j := range 100 {
			fmt.Fprintf(&text, `,"10.0.%d.%d:4222"`, i, j)
		}
		text.WriteString(`,"` + strings.Repeat("a", 1000) + `"]}` + "\r\n")
	}
	got, err := readGuarded(text.String(), MaxMessage, 0)
	if servers, same := strings.Count(got, "10.0."), strings.Count(got, "same:1"); servers != maxServers-1 || same != 100 || strings.Contains(got, "aaaa") || !errors.Is(err, io.EOF) {
		t.Errorf("%d servers are told, want %d; the one that is always told %d times, %v", servers, maxServers-1, same, err)
	}
	refusal := "-ERR 'Permissions Violation for Publish to \"papyra.v1.records.orders.events\"'\r\n"
	if got, err := readGuarded(strings.Repeat(refusal, 1024), MaxMessage, 0); len(got) != 1024*len(refusal) || !errors.Is(err, io.EOF) {
		t.Errorf("the refusals of a window: %d of %d bytes, %v", len(got), 1024*len(refusal), err)
	}
	var broken *Violation
	if got, err := readGuarded(strings.Repeat(refusal, 1_000_000), MaxMessage, 0); len(got) > 20*maxErrors || !errors.As(err, &broken) {
		t.Errorf("a flood of refusals: %d bytes, %v", len(got), err)
	}
}

func BenchmarkGuard(b *testing.B) {
	message := "MSG papyra.v1.records.orders.events 1 _INBOX.abcdefghijklmnopqrstuv.1a2b 290\r\n" + strings.Repeat("x", 290) + "\r\n"
	text := []byte(strings.Repeat(message, 32<<10/len(message)))
	c := &chunks{}
	g := &guard{Conn: c, keep: MaxMessage, servers: &knownServers{}}
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(text) / len(message) {
		c.parts = append(c.parts[:0], text)
		if _, err := g.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
