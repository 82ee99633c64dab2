package jsonobject_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/papyra/papyra/cmd/internal/jsonobject"
)

type head struct {
	V    int    `json:"v"`
	Verb string `json:"verb"`
}

func Example() {
	o := jsonobject.New(os.Stdout, nil)
	_ = o.Members(head{1, "inspect"})
	_ = o.BeginRows("records")
	_ = o.Row([]byte(`{"a":1}`))
	_ = o.Row([]byte(`{"a":2}`))
	_ = o.EndRows()
	_ = o.Member("exit", 0)
	_ = o.End()
	// Output:
	// {"v":1,"verb":"inspect","records":[
	// {"a":1},
	// {"a":2}
	// ],"exit":0}
}

func TestObjects(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write func(o *jsonobject.Writer)
		want  string
	}{
		{"empty", func(*jsonobject.Writer) {}, "{}\n"},
		{"no members in a value", func(o *jsonobject.Writer) {
			_ = o.Members(struct{}{})
			_ = o.Members(head{2, "<&>"})
			_ = o.Members(map[string]int{})
		}, `{"v":2,"verb":"<&>"}` + "\n"},
		{"no rows", func(o *jsonobject.Writer) { _ = o.BeginRows("r") }, "{\"r\":[\n]}\n"},
		{"rows first", func(o *jsonobject.Writer) {
			_ = o.BeginRows("r")
			_ = o.Row([]byte("1"))
			_ = o.EndRows()
			_ = o.Member("a", []int{1})
		}, "{\"r\":[\n1\n],\"a\":[1]}\n"},
		{"two arrays", func(o *jsonobject.Writer) {
			for _, name := range []string{"r", "s"} {
				_ = o.BeginRows(name)
				_ = o.Row([]byte("1"))
				_ = o.EndRows()
			}
		}, "{\"r\":[\n1\n],\"s\":[\n1\n]}\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			o := jsonobject.New(&b, nil)
			tc.write(o)
			if err := o.End(); err != nil || b.String() != tc.want {
				t.Errorf("got %q, %v, want %q", &b, err, tc.want)
			}
		})
	}
}

// What is shown on a terminal goes through show, names and rows too.
func TestShow(t *testing.T) {
	var b bytes.Buffer
	o := jsonobject.New(&b, func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("x"), []byte("y")) })
	_ = o.Member("x", "x")
	_ = o.Members(map[string]string{"ax": "x"})
	_ = o.BeginRows("rx")
	_ = o.Row([]byte(`"x"`))
	if err := o.End(); err != nil || b.String() != "{\"y\":\"y\",\"ay\":\"y\",\"ry\":[\n\"y\"\n]}\n" {
		t.Errorf("got %q, %v", &b, err)
	}
}

// failing fails from the n-th write on.
type failing struct {
	n   int
	err error
}

func (f *failing) Write(b []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, f.err
	}
	return len(b), nil
}

// The first error is returned by every later call, and nothing is written after
// it.
func TestErrorsAreKept(t *testing.T) {
	broken := errors.New("broken")
	for n := range 9 {
		f := &failing{n: n, err: fmt.Errorf("write %d: %w", n, broken)}
		o := jsonobject.New(f, nil)
		_ = o.Member("a", 1)
		_ = o.BeginRows("r")
		_ = o.Row([]byte("1"))
		err := o.End()
		if !errors.Is(err, broken) {
			t.Errorf("write %d fails: got %v", n, err)
		}
		if again := o.Member("b", 1); !errors.Is(again, err) || f.n != -1 {
			t.Errorf("after %v: got %v and %d more writes", err, again, -1-f.n)
		}
	}
	o := jsonobject.New(&failing{}, nil)
	if o.Member("a", func() {}) == nil || o.End() == nil {
		t.Error("a value that cannot be encoded is no error")
	}
	if jsonobject.New(&bytes.Buffer{}, nil).Members([]int{1}) == nil {
		t.Error("an array has no members")
	}
}
