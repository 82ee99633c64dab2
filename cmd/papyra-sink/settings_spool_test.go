package main

import (
	"strings"
	"testing"
)

// The flags of the spool, their variables, and what they refuse.
func TestSpoolFlags(t *testing.T) {
	for _, tt := range []struct {
		name  string
		env   map[string]string
		args  []string
		code  int
		dir   string
		bytes int64
		adopt bool
	}{
		{"none", nil, nil, 0, "", 0, false},
		{"a directory", nil, []string{"--spool", "/var/spool/papyra/"}, 0, "/var/spool/papyra", 4_000_000_000, false},
		{"all", nil, []string{"--spool", "s", "--spool-max", "64MiB", "--spool-adopt"}, 0, "s", 64 << 20, true},
		{"variables", map[string]string{"PAPYRA_SPOOL": "s", "PAPYRA_SPOOL_MAX": "1GB", "PAPYRA_SPOOL_ADOPT": "true"}, nil, 0, "s", 1_000_000_000, true},
		{"empty variables", map[string]string{"PAPYRA_SPOOL": "", "PAPYRA_SPOOL_MAX": "", "PAPYRA_SPOOL_ADOPT": ""}, nil, 0, "", 0, false},
		{"an empty bound", map[string]string{"PAPYRA_SPOOL": "s", "PAPYRA_SPOOL_MAX": ""}, nil, 0, "s", 4_000_000_000, false},
		{"a bound for no spool", nil, []string{"--spool-max", "1GB"}, 64, "", 0, false},
		{"the variable of a bound for no spool", map[string]string{"PAPYRA_SPOOL_MAX": "1GB"}, nil, 0, "", 0, false},
		{"adopt without a spool", nil, []string{"--spool-adopt"}, 64, "", 0, false},
		{"no size", nil, []string{"--spool", "s", "--spool-max", "much"}, 64, "", 0, false},
		{"nothing", nil, []string{"--spool", "s", "--spool-max", "0"}, 64, "", 0, false},
		{"home of the shell", nil, []string{"--spool", "~/s"}, 78, "", 0, false},
		{"space behind", nil, []string{"--spool", "s "}, 78, "", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PAPYRA_BACKEND", "memory:")
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			s, code, said := settingsOf(t, tt.args...)
			if code != tt.code {
				t.Fatalf("code %d, want %d: %s", code, tt.code, said)
			}
			if code != 0 {
				if !strings.Contains(said, "--spool") {
					t.Errorf("it says %q, which does not name the flag", said)
				}
				return
			}
			if c := s.sink; c.SpoolDir != tt.dir || c.SpoolBytes != tt.bytes || c.SpoolAdopt != tt.adopt {
				t.Errorf("got %q, %d, %v", c.SpoolDir, c.SpoolBytes, c.SpoolAdopt)
			}
		})
	}
}
