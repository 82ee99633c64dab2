package cli

import (
	"fmt"
	"strings"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/human"
)

// CheckStore refuses the URL of a store of files whose path was surely meant to be
// another, as [human.CheckPath] says. The error wraps papyra.ErrConfig.
func CheckStore(rawURL string) error {
	scheme, rest, _ := strings.Cut(rawURL, ":")
	if scheme != "json" && scheme != "rotating" {
		return nil
	}
	path, query, _ := strings.Cut(rest, "?")
	err := human.CheckPath(path)
	if err == nil && strings.TrimSpace(query) != query {
		err = human.CheckPath(query)
	}
	if err != nil {
		return fmt.Errorf("the path %q: %w: %w", path, err, papyra.ErrConfig)
	}
	return nil
}
