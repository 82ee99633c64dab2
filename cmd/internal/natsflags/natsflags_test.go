package natsflags

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	urfave "github.com/urfave/cli/v2"

	"github.com/papyra/papyra/cmd/internal/cli"
)

// parseNATS runs Read on a command line and returns what the options do
// to a connection's configuration.
func parseNATS(t *testing.T, args ...string) (n NATS, o nats.Options, code int, stderr string) {
	t.Helper()
	app := &urfave.App{Name: "tool", Flags: Flags(), Action: func(c *urfave.Context) (err error) {
		if n, err = Read(c); err != nil {
			return err
		}
		for _, opt := range n.Options {
			if err := opt(&o); err != nil {
				return err
			}
		}
		return nil
	}}
	var out, errs bytes.Buffer
	code = cli.Run(app, append([]string{"tool"}, args...), &out, &errs)
	return n, o, code, errs.String()
}

// natsHome makes an empty configuration of the nats command and no environment.
func natsHome(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	for _, name := range []string{"URL", "USER", "PASSWORD", "PASSWORD_FILE", "CREDS", "NKEY", "CERT", "KEY", "CA", "TIMEOUT", "CONTEXT"} {
		t.Setenv("NATS_"+name, "")
	}
	return dir
}

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlags(t *testing.T) {
	home := natsHome(t)
	writeFile(t, filepath.Join(home, "nats/context/prod.json"), `{"url":"nats://prod:4222","user":"ctx","password":"ctxpw","description":"x"}`)
	writeFile(t, filepath.Join(home, "nats/context/broken.json"), `{`)
	writeFile(t, filepath.Join(home, "nats/context/web.json"), `{"url":"https://prod"}`)
	pw := writeFile(t, filepath.Join(home, "pw"), "from-file\n")
	empty := writeFile(t, filepath.Join(home, "empty"), "\n")

	t.Run("defaults", func(t *testing.T) {
		n, o, code, _ := parseNATS(t)
		if code != 0 || n.URL != nats.DefaultURL || o.Timeout != 5*time.Second || o.User != "" {
			t.Errorf("got %+v, user %q, timeout %v, code %d", n, o.User, o.Timeout, code)
		}
	})
	t.Run("user and password file", func(t *testing.T) {
		n, o, code, errs := parseNATS(t, "-s", "nats://h:1", "--user", "me", "--password-file", pw, "--timeout", "250ms")
		if code != 0 || n.URL != "nats://h:1" || o.User != "me" || o.Password != "from-file" || o.Timeout != 250*time.Millisecond {
			t.Errorf("got %q %q %q %v, code %d %s", n.URL, o.User, o.Password, o.Timeout, code, errs)
		}
	})
	t.Run("environment", func(t *testing.T) {
		t.Setenv("NATS_USER", "env")
		t.Setenv("NATS_PASSWORD", "envpw")
		if _, o, code, _ := parseNATS(t); code != 0 || o.User != "env" || o.Password != "envpw" {
			t.Errorf("got %q %q, code %d", o.User, o.Password, code)
		}
	})
	t.Run("user alone is a token", func(t *testing.T) {
		if _, o, code, _ := parseNATS(t, "--user", "tok"); code != 0 || o.Token != "tok" {
			t.Errorf("token is %q, code %d", o.Token, code)
		}
	})
	t.Run("context", func(t *testing.T) {
		if n, o, code, _ := parseNATS(t, "--context", "prod"); code != 0 || n.URL != "nats://prod:4222" || o.User != "ctx" || o.Password != "ctxpw" {
			t.Errorf("got %q %q %q, code %d", n.URL, o.User, o.Password, code)
		}
	})
	t.Run("flag before context", func(t *testing.T) {
		if n, o, code, _ := parseNATS(t, "--context", "prod", "-s", "nats://other", "--user", "me", "--password", "pw"); code != 0 || n.URL != "nats://other" || o.User != "me" || o.Password != "pw" {
			t.Errorf("got %q %q %q, code %d", n.URL, o.User, o.Password, code)
		}
	})
	t.Run("selected context", func(t *testing.T) {
		writeFile(t, filepath.Join(home, "nats/context.txt"), "prod\n")
		if n, o, _, _ := parseNATS(t); n.URL != "nats://prod:4222" || o.User != "ctx" {
			t.Errorf("got %q %q", n.URL, o.User)
		}
		// Its credentials are for its own server only.
		if n, o, _, _ := parseNATS(t, "-s", "nats://other"); n.URL != "nats://other" || o.User != "" || o.Password != "" {
			t.Errorf("with --server: got %q %q", n.URL, o.User)
		}
	})
	for _, tt := range []struct {
		name string
		args []string
		code int
		part string
	}{
		{"server of another protocol", []string{"-s", "http://h:4222"}, 78, "NATS server 1 has a scheme"},
		{"server with a port that is none", []string{"-s", "nats://h:4222,h:99999"}, 78, "NATS server 2 has a port"},
		{"context of another protocol", []string{"--context", "web"}, 78, "NATS server 1 has a scheme"},
		{"unknown context", []string{"--context", "none"}, 78, `context "none": no file`},
		{"context that leaves the directory", []string{"--context", "../x"}, 78, "give its name"},
		{"broken context", []string{"--context", "broken"}, 78, "is not the JSON"},
		{"timeout", []string{"--timeout", "soon"}, 64, "--timeout"},
		{"no timeout", []string{"--timeout", "0"}, 64, "--timeout is 0"},
		{"two passwords", []string{"--user", "u", "--password", "a", "--password-file", pw}, 64, "both given"},
		{"password without user", []string{"-s", "nats://h", "--password", "a"}, 78, "give --user"},
		{"no password file", []string{"--user", "u", "--password-file", pw + "x"}, 78, "no such file"},
		{"empty password file", []string{"--user", "u", "--password-file", empty}, 78, "is empty"},
		{"no creds file", []string{"--creds", pw + "x"}, 78, "--creds"},
		{"no nkey in the file", []string{"--nkey", pw}, 78, "--nkey"},
		{"certificate without key", []string{"--tlscert", pw}, 78, "belong together"},
		{"no authorities", []string{"--tlsca", pw + "x"}, 78, "--tlsca"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, code, errs := parseNATS(t, tt.args...)
			if code != tt.code || !strings.Contains(errs, tt.part) {
				t.Errorf("%q: code %d, stderr %q, want %d with %q", tt.args, code, errs, tt.code, tt.part)
			}
		})
	}
}

func TestPasswordOfTheCommandLineWins(t *testing.T) {
	home := natsHome(t)
	file := writeFile(t, filepath.Join(home, "pw"), "of-file")
	for _, tt := range []struct {
		name     string
		env      [2]string // NATS_PASSWORD, NATS_PASSWORD_FILE
		args     []string
		password string // "": refused
	}{
		{"file before variable", [2]string{"of-env", ""}, []string{"--password-file", file}, "of-file"},
		{"value before variable of a file", [2]string{"", file}, []string{"--password", "given"}, "given"},
		{"two variables", [2]string{"of-env", file}, nil, ""},
		{"two flags", [2]string{}, []string{"--password", "given", "--password-file", file}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i, name := range []string{"NATS_PASSWORD", "NATS_PASSWORD_FILE"} {
				t.Setenv(name, tt.env[i])
			}
			_, o, code, errs := parseNATS(t, append([]string{"--user", "u"}, tt.args...)...)
			if tt.password == "" && code != cli.CodeUsage || tt.password != "" && (code != 0 || o.Password != tt.password) {
				t.Errorf("code %d, password %q, want %q: %s", code, o.Password, tt.password, errs)
			}
		})
	}
}
