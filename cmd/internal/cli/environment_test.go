package cli

import (
	"bytes"
	"testing"

	urfave "github.com/urfave/cli/v2"
)

func TestFromEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name, variable string
		args           []string
		value          string
		want           bool
	}{
		{"neither", "", nil, "default", false},
		{"variable", "a", nil, "a", true},
		{"flag", "", []string{"--text", "b"}, "b", false},
		{"both", "a", []string{"--text", "b"}, "b", false},
		{"alias", "a", []string{"-t", "b"}, "b", false},
		{"the same", "a", []string{"--text", "a"}, "a", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TOOL_TEXT", tt.variable)
			var got bool
			var value string
			flag := &urfave.StringFlag{Name: "text", Aliases: []string{"t"}, EnvVars: []string{"TOOL_TEXT"}, Value: "default"}
			act := func(c *urfave.Context) error {
				got, value = FromEnvironment(c, "text"), c.String("text")
				return nil
			}
			var out, errs bytes.Buffer
			app := &urfave.App{Name: "tool", Commands: []*urfave.Command{{Name: "verb", Flags: []urfave.Flag{flag}, Action: act}}}
			if code := Run(app, append([]string{"tool", "verb"}, tt.args...), &out, &errs); code != 0 {
				t.Fatalf("code %d: %s", code, errs.String())
			}
			if got != tt.want || value != tt.value {
				t.Errorf("got %v with %q, want %v with %q", got, value, tt.want, tt.value)
			}
		})
	}
}

// A variable that is set and empty is no value, of whatever kind the flag is.
func TestEmptyVariablesCountAsUnset(t *testing.T) {
	for _, name := range []string{"TOOL_TEXT", "TOOL_LIST", "TOOL_BOOL", "TOOL_INT"} {
		t.Setenv(name, "")
	}
	app := &urfave.App{Name: "tool", Flags: []urfave.Flag{
		&urfave.StringFlag{Name: "text", EnvVars: []string{"TOOL_TEXT"}, Value: "default"},
		&urfave.StringSliceFlag{Name: "list", EnvVars: []string{"TOOL_LIST"}},
		&urfave.BoolFlag{Name: "bool", EnvVars: []string{"TOOL_BOOL"}, Value: true},
		&urfave.IntFlag{Name: "int", EnvVars: []string{"TOOL_INT"}, Value: 7},
	}, Action: func(c *urfave.Context) error {
		if c.String("text") != "default" || len(c.StringSlice("list")) != 0 || !c.Bool("bool") || c.Int("int") != 7 || c.IsSet("text") {
			t.Errorf("got %q %q %v %d", c.String("text"), c.StringSlice("list"), c.Bool("bool"), c.Int("int"))
		}
		return nil
	}}
	var out, errs bytes.Buffer
	if code := Run(app, []string{"tool"}, &out, &errs); code != 0 {
		t.Errorf("code %d: %s", code, errs.String())
	}
}

func TestCheckStore(t *testing.T) {
	for _, u := range []string{"json:a", "json:/a b/c", "rotating:a?max_files=3", "redis://h/0", "memory:", "json:./~", "nonsense"} {
		if err := CheckStore(u); err != nil {
			t.Errorf("CheckStore(%q): %v", u, err)
		}
	}
	for _, u := range []string{"json:a\r", "json:a\n", "json: a", "json:a ?sync=batch", "json:a?sync=batch\r", "rotating:~/a", "json:~"} {
		if code := ExitCode(CheckStore(u)); code != CodeConfig {
			t.Errorf("CheckStore(%q): code %d, want %d", u, code, CodeConfig)
		}
	}
}
