package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
)

// answer is an error that the server sent.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// Servers of several versions say the same in different words.
func TestFaultOfMessages(t *testing.T) {
	for _, c := range []struct {
		err  error
		want papyra.Cause
	}{
		{nil, ""},
		{answer("NOAUTH Authentication required."), papyra.CauseNOAUTH},
		{answer("WRONGPASS invalid username-password pair or user is disabled."), papyra.CauseNOAUTH},
		{answer("ERR AUTH <password> called without any password configured for the default user."), papyra.CauseNOAUTH},
		{answer("NOPERM this user has no permissions to run the 'xadd' command"), papyra.CauseNOPERM},
		{answer("ERR The user executing the script can't run this command or subcommand script: x, on @user_script:7."), papyra.CauseNOPERM},
		{answer("ERR ACL failure in script: User sink has no permissions to run the 'xadd' command script: x"), papyra.CauseNOPERM},
		{answer("OOM command not allowed when used memory > 'maxmemory'. script: x, on @user_script:6."), papyra.CauseOOM},
		{answer("ERR Error running script (call to f_x): @user_script:6: -OOM command not allowed when used memory > 'maxmemory'."), papyra.CauseOOM},
		{answer("ERR Error running script (call to f_x): @user_script:7: WRONGTYPE Operation against a key holding the wrong kind of value"), papyra.CauseWRONGTYPE},
		{answer("READONLY You can't write against a read only replica."), papyra.CauseREADONLY},
		{answer("LOADING Redis is loading the dataset in memory"), papyra.CauseLOADING},
		{answer("MOVED 1234 127.0.0.1:7000"), papyra.CauseMOVED},
		{answer("ASK 1234 127.0.0.1:7000"), papyra.CauseMOVED},
		{answer("CLUSTERDOWN Hash slot not served"), papyra.CauseCLUSTERDOWN},
		{answer("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."), papyra.CauseCLUSTERDOWN},
		{answer("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."), papyra.CauseMISCONF},
		{answer("BUSY Redis is busy running a script."), papyra.CauseBUSY},
		{answer("ERR max number of clients reached"), papyra.CauseMaxClients},
		{answer("NOREPLICAS Not enough good replicas to write."), papyra.CauseNOREPLICAS},
		{answer("ERR unknown command 'XADD'"), papyra.CauseOther},
		{io.EOF, papyra.CauseUnreachable},
		{&net.OpError{Op: "dial", Err: os.ErrPermission}, papyra.CauseUnreachable},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, papyra.CauseTimeout},
		{goredis.ErrPoolTimeout, papyra.CauseTimeout},
		{errors.New("x"), papyra.CauseOther},
	} {
		if got := CauseOf(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		err := failed(context.Background(), "append to", "key", fmt.Errorf("wrapped: %w", c.err))
		if got := CauseOf(err); got != c.want {
			t.Errorf("%v: wrapped it is %q, want %q", c.err, got, c.want)
		}
		final := answered(c.err) && (c.want == papyra.CauseWRONGTYPE || c.want == papyra.CauseOther)
		if errors.Is(err, papyra.ErrUnavailable) == final {
			t.Errorf("%v: papyra.ErrUnavailable %v, want %v", c.err, !final, final)
		}
	}
}

func TestEntryID(t *testing.T) {
	for _, c := range []struct{ id, prev, next string }{
		{"5-7", "5-6", "5-8"},
		{"5-0", "4-18446744073709551615", "5-1"},
		{"4-18446744073709551615", "4-18446744073709551614", "5-0"},
	} {
		id, ok := parseID(c.id)
		if !ok || id.String() != c.id || id.prev().String() != c.prev || id.next().String() != c.next {
			t.Errorf("%s: %v, %v before, %v after; want %s and %s", c.id, id, id.prev(), id.next(), c.prev, c.next)
		}
		if id.compare(id) != 0 || id.prev().compare(id) >= 0 || id.next().compare(id) <= 0 {
			t.Errorf("%s: not between its neighbours", c.id)
		}
	}
	for _, text := range []string{"", "5", "-", "5-", "-5", "5-x", "5-18446744073709551616", "5-6-7"} {
		if id, ok := parseID(text); ok {
			t.Errorf("%q is taken for %v", text, id)
		}
	}
}

// What a server should never answer ends in an error, not in a panic.
func TestDecodePage(t *testing.T) {
	for _, reply := range []any{
		nil, "text", int64(1), []any{nil}, []any{[]any{}}, []any{[]any{"1-1"}}, []any{[]any{"1-1", nil}}, []any{[]any{int64(1), []any{}}},
		[]any{[]any{"x", []any{}}}, []any{[]any{"1-1", []any{"odd"}}},
	} {
		if page, err := decodePage(reply, nil); err == nil {
			t.Errorf("%#v is taken for %v", reply, page)
		}
	}
	page, err := decodePage([]any{[]any{"1-1", []any{"data", nil}}, []any{"1-2", []any{}}}, nil)
	if err != nil || len(page) != 2 {
		t.Fatalf("%v, %v", page, err)
	}
	key := streamKey{name: "p:a:events", token: "a", kind: papyra.KindEvent}
	for i := range page {
		var j entryJudge
		var rec papyra.Record
		if verdict, damage := j.entry(&rec, &key, &page[i], true); i == 1 && damage.Class != papyra.ClassMissingField {
			t.Errorf("entry %d: %v, %v", i, verdict, damage)
		}
	}
}
