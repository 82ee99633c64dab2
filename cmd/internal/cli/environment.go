package cli

import (
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// FromEnvironment reports whether a flag of text has its value from a variable of
// the environment, which may be meant for another command or mode: a flag of the
// command line is meant for this one. A flag that repeats what the variable says
// counts as the variable.
func FromEnvironment(c *urfave.Context, name string) bool {
	given := c.String(name)
	if list := c.StringSlice(name); len(list) > 0 {
		given = strings.Join(list, ",")
	}
	spaceless := strings.NewReplacer(" ", "", "\t", "").Replace
	for _, value := range variables(c, name) {
		if value != "" {
			return spaceless(value) == spaceless(given)
		}
	}
	return false
}

// variables returns the values of the variables of a flag.
func variables(c *urfave.Context, name string) (values []string) {
	flags := c.App.Flags
	if c.Command != nil {
		flags = append(slices.Clone(c.Command.Flags), flags...)
	}
	for _, f := range flags {
		if doc, ok := f.(urfave.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
			for _, variable := range doc.GetEnvVars() {
				values = append(values, os.Getenv(variable))
			}
			break
		}
	}
	return values
}

// forgetEmpty removes the variables of flags that are set and empty from the
// environment of the process: the library takes them for a value.
func forgetEmpty(flags []urfave.Flag) {
	for _, f := range flags {
		doc, ok := f.(urfave.DocGenerationFlag)
		if !ok {
			continue
		}
		for _, variable := range doc.GetEnvVars() {
			if value, found := os.LookupEnv(variable); found && value == "" {
				_ = os.Unsetenv(variable)
			}
		}
	}
}
