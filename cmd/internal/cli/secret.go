package cli

import (
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// Secret returns the secret that is given by --<name> or by --<name>-file, otherwise
// inContext. The command line wins over the environment. An error wraps
// papyra.ErrUsage or papyra.ErrConfig.
func Secret(c *urfave.Context, name, inContext string) (string, error) {
	value, file := c.String(name), c.String(name+"-file")
	switch {
	case value != "" && file != "" && FromEnvironment(c, name) != FromEnvironment(c, name+"-file"):
		if FromEnvironment(c, name) {
			return ReadSecret(file)
		}
		return value, nil
	case value != "" && file != "":
		return "", UsageErrorf("--%s and --%s-file are both given: give one", name, name)
	case value != "":
		return value, nil
	case file != "":
		return ReadSecret(file)
	}
	return inContext, nil
}

// ReadSecret returns the content of a file without the line ends behind it. An
// empty file is an error that wraps papyra.ErrConfig.
func ReadSecret(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", ConfigErrorf("read the secret: %v", err)
	}
	value := strings.TrimRight(string(raw), "\r\n")
	if value == "" {
		return "", ConfigErrorf("read the secret: %s is empty", file)
	}
	return value, nil
}
