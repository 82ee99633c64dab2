package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/papyra/papyra"

// layers says which rooms there are and what each may import of this module and
// of NATS. "x/..." is x and all below it. A room may import itself.
var layers = []struct {
	room string
	may  []string
}{
	// What knows nothing of records.
	{"internal/jsontext", nil},
	{"internal/checksum", nil},
	{"internal/escape", nil},
	{"internal/redact", nil},
	{"internal/terminal", nil},
	{"internal/throttle", nil},
	{"internal/version", nil},
	{"internal/faultfs", nil},
	{"internal/redistest", []string{"internal/testkit"}},

	{".", []string{"internal/jsontext", "internal/checksum", "internal/escape"}},
	{"internal/human", []string{"."}},
	{"internal/numset", []string{"."}},
	{"internal/doubt", []string{".", "internal/numset"}},
	{"internal/unended", []string{".", "internal/numset"}},
	{"internal/judge", []string{".", "internal/checksum", "internal/numset"}},
	{"internal/selection", []string{"."}},
	{"internal/testrecord", []string{"."}},
	{"internal/maintain", []string{".", "internal/judge", "internal/selection", "internal/numset", "internal/doubt", "internal/unended"}},
	{"internal/fileset/disk", []string{"."}},
	{"internal/fileset/lines", []string{".", "internal/fileset/disk"}},
	{"internal/fileset", []string{".", "internal/numset", "internal/fileset/disk", "internal/fileset/lines", "internal/judge", "internal/maintain", "internal/terminal", "internal/human", "internal/escape"}},
	{"internal/faultdisk", []string{"internal/fileset/disk"}},

	{"sink/backend/memory", []string{".", "internal/judge", "internal/maintain"}},
	{"sink/backend/jsonfile", []string{".", "internal/fileset", "internal/escape"}},
	{"sink/backend/rotating", []string{".", "internal/fileset", "internal/escape"}},
	{"sink/backend/redis", []string{".", "internal/judge", "internal/maintain", "internal/escape", "internal/redact"}},
	{"sink/backend", []string{".", "sink/backend/memory", "sink/backend/jsonfile", "sink/backend/rotating", "sink/backend/redis", "internal/human", "internal/redact", "internal/escape"}},
	{"sink/quarantine", []string{".", "internal/judge", "internal/terminal"}},
	{"sink/backend/backendtest", []string{".", "internal/testrecord", "sink/quarantine"}},

	{"sink/account", []string{".", "internal/numset", "internal/doubt", "internal/unended"}},
	{"sink/transfer", []string{"."}},
	{"sink/inspect", []string{".", "internal/unended", "sink/account", "internal/selection", "internal/judge", "internal/human", "internal/redact"}},
	{"sink/doctor", []string{".", "internal/unended", "internal/human", "internal/redact"}},

	{"sink/spool", []string{".", "internal/numset", "internal/fileset", "internal/fileset/disk", "internal/escape", "internal/human", "internal/throttle"}},

	{"internal/natswire", []string{"nats.go"}},
	{"publisher", []string{".", "internal/throttle", "internal/natswire", "nats.go"}},
	{"publisher/metrics", []string{".", "publisher"}},
	{"sink/linecheck", []string{"."}},
	{"sink/rejects", []string{"."}},
	{"sink", []string{".", "sink/linecheck", "sink/rejects", "sink/spool", "internal/numset", "internal/throttle", "internal/natswire", "internal/human", "internal/version", "internal/redact", "nats.go"}},
	{"sink/tail", []string{".", "sink/linecheck", "nats.go"}},
	{"sink/audits", []string{".", "sink/linecheck", "nats.go"}},
	{"sink/broker", []string{".", "internal/throttle", "nats.go", "nats-server"}},
	{"sink/admin", []string{".", "sink", "internal/escape", "internal/natswire", "internal/redact", "internal/version", "nats.go"}},
	{"sink/fleet", []string{".", "sink/admin"}},
	{"sink/metrics", []string{".", "sink", "internal/terminal"}},

	// What is put together.
	{"internal/testkit", nil},
	{"internal/natstest", []string{".", "internal/testkit", "sink/broker", "nats.go", "nats-server"}},
	{"cmd/...", []string{"..."}},
	{"integration/...", []string{"..."}},
	{"docs", nil},
}

// listed is what "go list" says of a package.
type listed struct {
	ImportPath string
	Name       string
	Imports    []string
	Deps       []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Imports,Deps", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// roomOf returns the name that an import has in the table, or "" if it is none
// that the table is about.
func roomOf(imported string) string {
	switch {
	case imported == module:
		return "."
	case strings.HasPrefix(imported, module+"/"):
		return imported[len(module)+1:]
	case strings.HasPrefix(imported, "github.com/nats-io/nats-server/"):
		return "nats-server"
	case strings.HasPrefix(imported, "github.com/nats-io/nats.go"):
		return "nats.go"
	}
	return ""
}

func isIn(room, pattern string) bool {
	above, all := strings.CutSuffix(pattern, "...")
	return room == pattern || all && (above == "" || strings.HasPrefix(room+"/", above))
}

// Imports point one way: no package imports what the table does not let it.
func TestImportsPointOneWay(t *testing.T) {
	used := map[string]bool{}
	for _, p := range listPackages(t) {
		room := roomOf(p.ImportPath)
		i := slices.IndexFunc(layers, func(l struct {
			room string
			may  []string
		}) bool {
			return isIn(room, l.room)
		})
		if i < 0 {
			t.Errorf("%s has no place in the house: give it one in this table, above those that import it", room)
			continue
		}
		used[layers[i].room] = true
		for _, imported := range p.Imports {
			other := roomOf(imported)
			if other == "" || isIn(other, layers[i].room) {
				continue
			}
			if !slices.ContainsFunc(layers[i].may, func(pattern string) bool { return isIn(other, pattern) }) {
				t.Errorf("%s imports %s, which the table does not let it", room, other)
			}
		}
	}
	for _, l := range layers {
		if !used[l.room] {
			t.Errorf("the table has the room %s, the house has not", l.room)
		}
	}
}

// A store, and every library over one, works without the packages of NATS; what
// is shipped holds nothing that is for tests.
func TestStoresDoNotLinkNATS(t *testing.T) {
	for _, p := range listPackages(t) {
		room := roomOf(p.ImportPath)
		free := false
		for _, pattern := range []string{".", "internal/...", "sink/backend/...", "sink/account", "sink/transfer", "sink/inspect", "sink/doctor", "sink/linecheck", "sink/rejects", "sink/spool"} {
			free = free || isIn(room, pattern)
		}
		tests := isIn(room, "sink/backend/backendtest")
		shipped := strings.HasPrefix(room, "cmd/") || strings.HasPrefix(room, "sink") || strings.HasPrefix(room, "publisher") || room == "."
		for _, dep := range p.Deps {
			other := roomOf(dep)
			if free && room != "internal/natstest" && room != "internal/natswire" && (other == "nats.go" || other == "nats-server") {
				t.Errorf("%s links %s", room, dep)
			}
			if forTests := []string{"internal/testkit", "internal/natstest", "internal/testrecord", "internal/faultdisk", "internal/faultfs", "internal/redistest", "sink/backend/backendtest"}; shipped && !tests && slices.Contains(forTests, other) {
				t.Errorf("%s, which is shipped, links %s, which is for tests", room, path.Base(other))
			}
		}
	}
}

// The measures of the house.
func TestHouseIsInOrder(t *testing.T) {
	h, err := readHouse("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(h.up) > 5 {
		t.Errorf("%d arrows run back up, want at most 5: %v", len(h.up), h.up)
	}
	if r, share := h.biggest(); share > 0.45 {
		t.Errorf("%s holds %.0f %% of the lines, want at most 45", r.name, 100*share)
	}
}
