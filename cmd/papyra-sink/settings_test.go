package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra/cmd/internal/cli"
)

// settingsOf reads the settings of a command line, and returns the exit code of
// what it refuses.
func settingsOf(t *testing.T, args ...string) (s *settings, code int, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	app := newApp(&errs)
	app.Action = func(c *urfave.Context) (err error) {
		if s, err = readSettings(c); err == nil {
			err = s.backend.Close()
		}
		return err
	}
	code = cli.Run(app, append([]string{"papyra-sink"}, args...), &out, &errs)
	return s, code, errs.String()
}

// The command line chooses the server; what the environment says for another
// choice is passed over.
func TestVariablesForAnotherMode(t *testing.T) {
	store := "json:" + filepath.Join(t.TempDir(), "r")
	for _, tt := range []struct {
		name     string
		env      map[string]string
		args     []string
		code     int
		embedded bool
	}{
		{"listen for another mode", map[string]string{"PAPYRA_LISTEN": "127.0.0.1:0"}, []string{"--server", "nats://h"}, 0, false},
		{"max payload for another mode", map[string]string{"PAPYRA_MAX_PAYLOAD": "2MiB"}, []string{"--server", "nats://h"}, 0, false},
		{"login for another mode", map[string]string{"PAPYRA_LISTEN_USER": "u", "PAPYRA_LISTEN_PASSWORD": "p", "PAPYRA_MAX_CONNECTIONS": "7"}, []string{"--server", "nats://h"}, 0, false},
		{"server for another mode", map[string]string{"NATS_URL": "nats://h"}, []string{"--listen", "127.0.0.1:0"}, 0, true},
		{"context for another mode", map[string]string{"NATS_CONTEXT": "none"}, []string{"--listen", "127.0.0.1:0"}, 0, true},
		{"both of the environment", map[string]string{"NATS_URL": "nats://h", "PAPYRA_LISTEN": "127.0.0.1:0"}, nil, 64, false},
		{"both of the command line", nil, []string{"--server", "nats://h", "--listen", "127.0.0.1:0"}, 64, false},
		{"server of the environment", map[string]string{"NATS_URL": "nats://h"}, nil, 0, false},
		{"empty variables", map[string]string{"PAPYRA_STARTUP_CHECK": "", "PAPYRA_GROUP": "", "PAPYRA_VALIDATE": "", "PAPYRA_BUFFER": "", "PAPYRA_STOP_TIMEOUT": "", "PAPYRA_LOG_LEVEL": "", "PAPYRA_LOG_FORMAT": "", "PAPYRA_SYSTEMS": "", "PAPYRA_CATEGORIES": "", "PAPYRA_KEEP": "", "NATS_URL": "", "PAPYRA_HTTP": ""}, nil, 0, true},
		{"sync for another store", map[string]string{"PAPYRA_SYNC": "batch"}, []string{"--backend", "memory:"}, 0, true},
		{"sync of the URL wins", map[string]string{"PAPYRA_SYNC": "batch"}, []string{"--backend", store + "?sync=none"}, 0, true},
		{"sync is used", map[string]string{"PAPYRA_SYNC": "sometimes"}, nil, 78, true},
		{"sync that is given", nil, []string{"--sync", "batch", "--backend", "memory:"}, 78, true},
		{"home of the shell", nil, []string{"--backend", "json:~/r"}, 78, true},
		{"line end behind a path", nil, []string{"--backend", store + "\r"}, 78, true},
		{"space behind the rejects", nil, []string{"--rejects", "x "}, 78, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"NATS_URL", "NATS_CONTEXT", "PAPYRA_LISTEN", "PAPYRA_MAX_PAYLOAD", "PAPYRA_SYNC"} {
				t.Setenv(name, "")
			}
			t.Setenv("PAPYRA_BACKEND", store)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			s, code, said := settingsOf(t, tt.args...)
			if code != tt.code {
				t.Fatalf("code %d, want %d: %s", code, tt.code, said)
			}
			if code == 0 && s.embedded != tt.embedded {
				t.Errorf("embedded is %v, want %v", s.embedded, tt.embedded)
			}
		})
	}
}

func TestRejectsBesideTheStore(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, file := range []string{"r", "taken"} {
		if err := os.WriteFile(at(file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": "r", "dir": "."} {
		if err := os.Symlink(target, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(at("r"), at("hard")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		backend, rejects string
		code             int
	}{
		{"json:" + at("r"), at("r"), 78},
		{"json:" + at("r"), dir + "/./r", 78},
		{"json:" + at("r"), at("dir/r"), 78},
		{"json:" + at("r"), at("link"), 78},
		{"json:" + at("r"), at("hard"), 78},
		{"json:" + at("r.1"), at("r"), 78},
		{"json:" + at("a%3Fb"), at("a?b"), 78},
		{"rotating:" + at("r"), at("r"), 78},
		{"rotating:" + at("r"), at("r.17"), 78},
		{"json:" + at("r"), at("taken"), 0},
		{"json:" + at("r"), at("r.rejected"), 0},
		{"rotating:" + at("r"), at("r.x"), 0},
		{"memory:", at("r"), 0},
		{"json:" + at("r"), "none", 0},
	} {
		if _, code, said := settingsOf(t, "--backend", tt.backend, "--rejects", tt.rejects); code != tt.code {
			t.Errorf("--backend %s --rejects %s: code %d, want %d: %s", tt.backend, tt.rejects, code, tt.code, said)
		}
	}
}
