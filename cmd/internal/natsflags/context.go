package natsflags

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/papyra/papyra/cmd/internal/cli"
)

// savedContext is what Papyra uses of a context of the nats command.
type savedContext struct {
	URL         string `json:"url"`
	Token       string `json:"token"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	InboxPrefix string `json:"inbox_prefix"`
	TLSFirst    bool   `json:"tls_first"`
	UserJWT     string `json:"user_jwt"`
	UserSeed    string `json:"user_seed"`
}

// supported are the members of a context that Papyra reads, and those that mean
// nothing to it. Another one that is set is an error: whoever names a proxy or a
// login does not want to connect without.
func supported() []string {
	return []string{
		"url", "token", "user", "password", "creds", "nkey", "cert", "key", "ca", "inbox_prefix", "tls_first", "user_jwt", "user_seed",
		"description", "color_scheme", "jetstream_domain", "jetstream_api_prefix", "jetstream_event_prefix",
	}
}

// loadContext reads the named context, or the selected one when name is empty
// and no server is given. A name that is an absolute path is read as a path, as the
// nats command does.
func loadContext(name string, haveServer bool) (savedContext, error) {
	if name == "" && haveServer {
		return savedContext{}, nil
	}
	dir, err := contextDir()
	if err != nil {
		if name == "" {
			return savedContext{}, nil
		}
		return savedContext{}, cli.ConfigErrorf("context %q: %v", name, err)
	}
	if name == "" {
		raw, _ := os.ReadFile(filepath.Join(dir, "context.txt"))
		if name = strings.TrimSpace(string(raw)); name == "" {
			return savedContext{}, nil // none is selected
		}
	}
	path := name
	if !filepath.IsAbs(path) {
		if strings.ContainsAny(name, `/\`) || strings.Contains(name, "..") {
			return savedContext{}, cli.ConfigErrorf("context %q: give its name or an absolute path", name)
		}
		path = filepath.Join(dir, "context", name+".json")
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return savedContext{}, cli.ConfigErrorf("context %q: no file %s: 'nats context ls' shows what there is", name, path)
	}
	if err != nil {
		return savedContext{}, cli.ConfigErrorf("context %q: %v", name, err)
	}
	var saved savedContext
	if err := json.Unmarshal(raw, &saved); err != nil {
		return savedContext{}, cli.ConfigErrorf("context %q: %s is not the JSON of a context: %v", name, path, err)
	}
	if err := checkContext(raw, &saved); err != nil {
		return savedContext{}, cli.ConfigErrorf("context %q: %s: %v", name, path, err)
	}
	return saved, nil
}

// checkContext refuses what is set in a context and not supported, and completes
// its paths.
func checkContext(raw []byte, saved *savedContext) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	for _, member := range slices.Sorted(maps.Keys(members)) {
		switch string(members[member]) {
		case `""`, "null", "false", "{}", "[]":
			continue
		}
		if !slices.Contains(supported(), member) {
			return fmt.Errorf("%q is not supported: use a context without it, or flags", member)
		}
	}
	if (saved.UserJWT == "") != (saved.UserSeed == "") {
		return errors.New("\"user_jwt\" and \"user_seed\" belong together: give both")
	}
	for member, file := range map[string]*string{
		"creds": &saved.Creds, "nkey": &saved.NKey, "cert": &saved.Cert, "key": &saved.Key, "ca": &saved.CA,
	} {
		var err error
		if *file, err = expandPath(*file); err != nil {
			return fmt.Errorf("%q: %w", member, err)
		}
	}
	return nil
}

// expandPath replaces ~ and variables in a path, as the nats command does.
func expandPath(path string) (string, error) {
	var unset []string
	path = os.Expand(path, func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			unset = append(unset, name)
		}
		return value
	})
	if len(unset) > 0 {
		return "", fmt.Errorf("the variable %s is not set", strings.Join(unset, ", "))
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(home, rest)
	}
	return path, nil
}

func contextDir() (string, error) {
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "nats"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".config", "nats"), nil
}
