package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestTables runs every contender for a few records and wants a line of each.
func TestTables(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, 1, 500); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"papyra publisher", "papyra encoder", "zerolog", "zerolog + diode", "zap", "log/slog", "encoding/json", "A map as", "A struct as", "A pointer to a struct as", "papyra, null"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("no line of %q in\n%s", name, &out)
		}
	}
}
