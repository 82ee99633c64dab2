package redis

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
)

// Warnings looks at the settings of the servers and says, in a sentence each,
// what may lose stored records: an eviction policy that may remove streams,
// nothing that is written to disk, a version that lacks what is needed. Nothing
// is changed. A server that does not let itself be asked is a warning too.
func (s *Store) Warnings(ctx context.Context, _ papyra.Retention) ([]string, error) {
	sn, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var out []string
	err = sn.eachMaster(func(ctx context.Context, c *goredis.Client) error {
		warnings, err := serverWarnings(ctx, c)
		for _, w := range warnings {
			if s.address.cluster {
				w = c.Options().Addr + ": " + w
			}
			out = append(out, w)
		}
		return err
	})
	if err != nil {
		return nil, sn.failed("ask for the settings of", s.URL(), err)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func serverWarnings(ctx context.Context, c *goredis.Client) (out []string, err error) {
	text, err := c.Info(ctx, "everything").Result()
	if CauseOf(err) == papyra.CauseNOPERM {
		return []string{fmt.Sprintf("cannot see whether the server evicts or persists: %v", err)}, nil
	}
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		info[name] = value
	}
	switch policy := info["maxmemory_policy"]; {
	case policy == "" || policy == "noeviction":
	case strings.HasPrefix(policy, "volatile-"):
		out = append(out, fmt.Sprintf("maxmemory-policy is %s: fences, which keep a batch from being stored twice, may be evicted; set it to noeviction", policy))
	default:
		out = append(out, fmt.Sprintf("maxmemory-policy is %s: whole streams may be evicted; set it to noeviction", policy))
	}
	if info["aof_enabled"] == "0" {
		save, err := c.ConfigGet(ctx, "save").Result() // where it may not be asked, the next best is said
		switch {
		case err != nil && !answered(err):
			return nil, err
		case err == nil && save["save"] == "":
			out = append(out, "nothing is persisted (appendonly no, save empty): a restart of the server loses every record")
		default:
			out = append(out, "appendonly is no: a crash of the server loses the records since its last snapshot")
		}
	}
	if v := info["redis_version"]; v != "" && older(v, 6, 2) {
		out = append(out, fmt.Sprintf("Redis %s is older than 6.2: compaction cannot trim", v))
	}
	return out, nil
}

// older reports whether a version is before major.minor.
func older(version string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || a == major && b < minor
}
