package backend_test

import (
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend"
)

// The URL by which a store calls itself is text and opens the same store, whatever
// bytes its name has: also a name that looks like the text of another one.
func TestAStoreIsOpenedByItsOwnURL(t *testing.T) {
	for _, scheme := range []string{"json:", "rotating:"} {
		for _, name := range []string{"r", "r\xff", `r\xff`, "\xc3", "caf\u00e9\xe9", `\x5c`, "\\\xff", "50%\xff?"} {
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, []byte("junk\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := backend.Open(scheme + backend.EscapePath(path))
			if err != nil {
				t.Fatal(err)
			}
			if !utf8.ValidString(b.URL()) {
				t.Errorf("%s%q calls itself %q, which is no text", scheme, name, b.URL())
			}
			again, err := backend.Open(b.URL())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := again.RejectFile(), b.RejectFile(); got != want || again.URL() != b.URL() {
				t.Errorf("%s%q calls itself %q, and that is %q", scheme, name, b.URL(), again.URL())
			}
			if r, err := again.Scan(t.Context(), papyra.ScanOptions{}); err != nil || r.Damaged() != 1 {
				t.Errorf("%s%q: scan by its own URL: %v, %v", scheme, name, r, err)
			}
			if !backend.Overlap(b.URL(), scheme+backend.EscapePath(path)) {
				t.Errorf("%s%q does not overlap with itself", scheme, name)
			}
			for _, s := range []papyra.Store{b, again} {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
