package linecheck_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/linecheck"
)

// The verdicts of lines are those of the checker, whatever surrounds a line.
func TestCheckLines(t *testing.T) {
	sealed := string(testrecord.New(1).Line("orders", papyra.KindAudit, "x"))
	sealed = strings.TrimSuffix(sealed, "\n")
	long := strings.Repeat("x", papyra.MaxLine)
	lines := []string{
		sealed, "", plain, plain + "\r", strings.Replace(plain, "orders", "papyra", 1), strings.Replace(plain, `"event"`, `"metric"`, 1),
		long, long + "\r", "junk",
	}
	want := []string{
		"1 ", "3 ", "4 carriage_return", "5 reserved_system", "6 kind_mismatch", "7 oversize", "8 carriage_return", "9 corrupted",
	}
	text := strings.Join(lines, "\n")
	for name, tt := range map[string]struct {
		subject, text string
		want          []string
		counts        linecheck.Lines
	}{
		"each line its own subject": {"", text, want, linecheck.Lines{Lines: 9, Accepted: 2, Unsealed: 1, Rejected: 6, Blank: 1}},
		"a newline at the end":      {"", text + "\n", want, linecheck.Lines{Lines: 9, Accepted: 2, Unsealed: 1, Rejected: 6, Blank: 1}},
		"one subject": {papyra.RecordsSubject("orders", papyra.KindAudit), sealed + "\n" + plain, []string{"1 ", "2 kind_mismatch"},
			linecheck.Lines{Lines: 2, Accepted: 1, Rejected: 1}},
		"nothing": {"", "", nil, linecheck.Lines{}},
	} {
		var got []string
		counts, err := linecheck.CheckLines(t.Context(), iotest.HalfReader(strings.NewReader(tt.text)), tt.subject, func(v *linecheck.Verdict) error {
			got = append(got, string(rune('0'+v.Line))+" "+string(v.Reason))
			length := int64(len(strings.Split(tt.text, "\n")[v.Line-1]))
			if v.Length != length || (v.Reason == "") != (v.Detail == "") || !strings.HasPrefix(v.Detail, string(v.Reason)) {
				t.Errorf("%s: %+v, want the length %d", name, v, length)
			}
			if rest := tt.text[v.Offset:]; !strings.HasPrefix(rest, strings.Split(tt.text, "\n")[v.Line-1]) {
				t.Errorf("%s: line %d is not at %d", name, v.Line, v.Offset)
			}
			return nil
		})
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil || counts != tt.counts {
			t.Errorf("%s: %+v, %v (-want +got):\n%s", name, counts, err, diff)
		}
	}
	broken := errors.New("broken")
	if _, err := linecheck.CheckLines(t.Context(), io.MultiReader(strings.NewReader(plain+"\n"), iotest.ErrReader(broken)), "", func(*linecheck.Verdict) error { return nil }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
}
