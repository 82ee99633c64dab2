package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/papyra/papyra"
)

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" { // a process of the bench
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEveryRowIsMeasured runs a round with few records. Their numbers say
// nothing; that every record was stored once is what the bench itself checks.
func TestEveryRowIsMeasured(t *testing.T) {
	var out strings.Builder
	args := []string{"-rounds", "1", "-single", "3000", "-batched", "5000", "-scan", "1", "-dir", t.TempDir()}
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	for _, row := range measurements() {
		if !strings.Contains(out.String(), row.name) {
			t.Errorf("the table lacks %q:\n%s", row.name, out.String())
		}
	}
	for _, row := range (&scans{}).readings() {
		missing := row.program != "" && strings.Contains(out.String(), row.program+" is not installed")
		if !missing && !strings.Contains(out.String(), row.name+"\n") {
			t.Errorf("the table of scans lacks %q:\n%s", row.name, out.String())
		}
	}
	if left, err := os.ReadDir(args[len(args)-1]); err != nil || len(left) > 0 {
		t.Errorf("%d files are left behind (%v)", len(left), err)
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-single", "-1"}, {"-scan", "0"}, {"-part", "half"}, {"now"}} {
		if err := run(t.Context(), args, &strings.Builder{}); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// TestRespell wants the same record, unsealed and with spaces.
func TestRespell(t *testing.T) {
	l, err := newLoad(1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := respell(nil, l.lines)
	if err != nil {
		t.Fatal(err)
	}
	want, err := papyra.Parse(bytes.TrimSpace(l.lines))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := papyra.Parse(bytes.TrimSpace(got))
	if err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if rec.Sealed || !want.Sealed || string(rec.Type) != string(want.Type) || rec.Time != want.Time || !bytes.Contains(got, []byte(`, "`)) {
		t.Errorf("%s was respelled as %s", l.lines, got)
	}
}

func TestThousands(t *testing.T) {
	for rate, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.8: "1,234,568"} {
		if got := thousands(rate); got != want {
			t.Errorf("%v: got %s, want %s", rate, got, want)
		}
	}
}
