package papyra

import (
	"slices"
	"testing"

	"github.com/papyra/papyra/internal/jsontext"
)

// TestLayoutIsWhatTheEncoderWrites wants the members of each kind's line in the
// order of the layout, and values of the types that it demands.
func TestLayoutIsWhatTheEncoderWrites(t *testing.T) {
	for _, text := range sealedLines(t) {
		line := []byte(text)
		rec, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		want := []member{memberKind, memberSystem}
		layout := layouts[rec.Kind]
		if layout.timeFirst {
			want = append(want, memberTimestamp)
		}
		for _, rule := range layout.members {
			want = append(want, rule.member)
		}
		if !layout.timeFirst {
			want = append(want, memberTimestamp)
		}
		want = append(want, memberNode, memberRun, memberSeq, memberCRC)

		var got []member
		s := jsontext.Scanner{Text: line}
		i, more := s.FirstMember(0)
		for more {
			end, _ := s.ScanString(i)
			m := memberOf(line[i+1 : end-1])
			got = append(got, m)
			if name := string(line[i+1 : end-1]); memberNames[m] != name {
				t.Errorf("member %q is called %q", name, memberNames[m])
			}
			start := s.ScanColon(end)
			if !valueTypeOf(rec.Kind, m).allows(line[start]) {
				t.Errorf("%s: the layout does not allow its %s", line, memberNames[m])
			}
			i, more = s.NextMember(s.ScanValue(start, MaxDepth-1))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\nhas the members %v, the layout %v", line, got, want)
		}
	}
}
