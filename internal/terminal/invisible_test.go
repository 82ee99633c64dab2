package terminal

import (
	"encoding/json"
	"fmt"
	"testing"
)

// A mark that shows nothing would make two names look the same.
func TestInvisibleMarks(t *testing.T) {
	marks := []rune{
		0x034f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180b, 0x180c, 0x180d, 0x180e, 0x180f, 0x200b, 0x200c, 0x200d,
		0x2060, 0x2065, 0x206a, 0x2800, 0x3164, 0xfe00, 0xfe0e, 0xfe0f, 0xfeff, 0xffa0, 0x16fe4, 0x1bca0, 0x1d159,
		0x1d173, 0xe0001, 0xe0020, 0xe0100, 0xe01ef,
	}
	for _, r := range marks {
		name := "papyra" + string(r)
		want := fmt.Sprintf("papyra\\u%04x", r)
		if r > 0xffff {
			want = fmt.Sprintf("papyra\\U%08x", r)
		}
		if got := Escape(name); got != want {
			t.Errorf("Escape(%+q) = %q, want %q", name, got, want)
		}
		text := AppendJSON(nil, []byte(`"`+name+`"`))
		var back string
		if err := json.Unmarshal(text, &back); err != nil || back != name {
			t.Errorf("AppendJSON of %+q is %s: another value, %v", name, text, err)
		}
		for _, b := range text {
			if b >= 0x7f {
				t.Errorf("AppendJSON of %+q is %+q: the mark is in it", name, text)
				break
			}
		}
	}
	for _, s := range []string{"Zürich 東京 😀", "e\u0301", "⠁", "\u00a0", "\ufffd", "नि"} {
		if got := Escape(s); got != s {
			t.Errorf("Escape(%q) = %q, want it as it is", s, got)
		}
	}
}
