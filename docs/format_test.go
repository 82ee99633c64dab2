// Package docs_test holds the code against the documents of this folder.
package docs_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/papyra/papyra"
)

// page returns the text of the specification.
func page(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("format.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// block returns the lines of the one fenced block with this info string.
func block(t *testing.T, info string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(page(t), "\n```"+info+"\n")
	if !ok {
		t.Fatalf("format.md has no block %s", info)
	}
	text, _, ok := strings.Cut(rest, "\n```\n")
	if !ok {
		t.Fatalf("format.md: block %s has no end", info)
	}
	return strings.Split(text, "\n")
}

// pairs returns a block's lines, cut at the first tab.
func pairs(t *testing.T, info string) (list [][2]string) {
	t.Helper()
	for _, line := range block(t, info) {
		first, second, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("format.md: block %s: no tab in %q", info, line)
		}
		list = append(list, [2]string{first, second})
	}
	return list
}

// section returns what stands between a heading of any level and the next one.
func section(t *testing.T, title string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page(t), "# "+title+"\n")
	if !ok {
		t.Fatalf("format.md has no section %q", title)
	}
	text, _, _ := strings.Cut(rest, "\n#")
	return text
}

var tableRow = regexp.MustCompile("(?m)^\\| (`[^`|]+`|\\d+) \\|(.*)\\|$")

// rows returns the cells of the rows of a section's tables that begin with a word
// in backquotes, or, with codes, a number.
func rows(text string) (list [][]string) {
	for _, m := range tableRow.FindAllStringSubmatch(text, -1) {
		cells := []string{strings.Trim(m[1], "`")}
		for cell := range strings.SplitSeq(m[2], "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		list = append(list, cells)
	}
	return list
}

// words returns the first cells of a section's rows.
func words(t *testing.T, title string) (list []string) {
	t.Helper()
	for _, row := range rows(section(t, title)) {
		list = append(list, row[0])
	}
	return list
}

func TestAcceptedVectors(t *testing.T) {
	lines := block(t, "papyra-accepts")
	if len(lines) < 20 {
		t.Fatalf("%d lines; are they read rightly?", len(lines))
	}
	seen := map[papyra.Kind]bool{}
	for _, line := range lines {
		rec, err := papyra.Parse([]byte(line))
		if err != nil {
			t.Errorf("%v: %s", err, line)
			continue
		}
		seen[rec.Kind] = true
		if !rec.Sealed || !papyra.CheckSeal([]byte(line)) {
			t.Errorf("the seal does not verify: %s", line)
		}
		again, err := encode(&rec)
		if err != nil {
			t.Errorf("%v: %s", err, line)
		} else if again != line+"\n" {
			t.Errorf("encoded again\ngot:  %swant: %s", again, line)
		}
	}
	for _, kind := range papyra.Kinds() {
		if !seen[kind] {
			t.Errorf("no vector of kind %s", kind)
		}
	}
}

// encode writes a record anew from what it says.
func encode(rec *papyra.Record) (string, error) {
	id, err := papyra.NewIdentityRun(string(rec.Node), string(rec.Run))
	if err != nil {
		return "", err
	}
	var (
		e       papyra.Encoder
		at      = time.UnixMicro(rec.Time)
		system  = string(rec.System)
		actor   papyra.Address
		payload any
	)
	if len(rec.Actor) > 0 && string(rec.Actor) != "null" {
		var ok bool
		if actor, ok = rec.Address(); !ok {
			return "", fmt.Errorf("the address %s is not understood", rec.Actor)
		}
	}
	if rec.Kind != papyra.KindAudit {
		if payload, err = decode(rec); err != nil {
			return "", err
		}
	}
	sender, _ := rec.Sender()
	switch rec.Kind {
	case papyra.KindEvent:
		err = e.Event(id, system, &papyra.Event{Actor: actor, Type: string(rec.Type), Payload: payload, Time: at, Sender: sender}, nil, at)
	case papyra.KindDeadLetter:
		err = e.DeadLetter(id, system, &papyra.DeadLetter{Target: actor, MessageType: string(rec.Type), Payload: payload, Time: at, Sender: sender}, nil, at)
	case papyra.KindReport:
		err = e.Report(id, system, &papyra.Report{Name: string(rec.Type), Payload: payload, Time: at}, at)
	case papyra.KindAudit:
		var a struct {
			Total      int64    `json:"total_actors"`
			Alive      int64    `json:"alive_actors"`
			Stopping   int64    `json:"stopping_actors"`
			Restarting int64    `json:"restarting_actors"`
			Size       int64    `json:"registry_size"`
			Orphans    []string `json:"registry_orphans"`
			Dead       []string `json:"registry_dead"`
			Letters    int64    `json:"dead_letters_count"`
		}
		if err := json.Unmarshal(rec.Line, &a); err != nil {
			return "", err
		}
		err = e.Audit(id, system, &papyra.Audit{
			TotalActors: a.Total, AliveActors: a.Alive, StoppingActors: a.Stopping, RestartingActors: a.Restarting,
			RegistrySize: a.Size, RegistryOrphans: a.Orphans, RegistryDead: a.Dead, DeadLetters: a.Letters, Time: at,
		}, at)
	}
	if err != nil {
		return "", err
	}
	return string(e.AppendLine(nil, rec.Seq)), nil
}

// reports are the payloads of the reports by name.
func reports() map[string]any {
	return map[string]any{
		papyra.ReportPublisher:           &papyra.PublisherReport{},
		papyra.ReportSink:                &papyra.SinkReport{},
		papyra.ReportRemoval:             &papyra.RemovalReport{},
		papyra.ReportCorruptionDetected:  &papyra.CorruptionDetected{},
		papyra.ReportRecoveryPerformed:   &papyra.RecoveryPerformed{},
		papyra.ReportCompactionPerformed: &papyra.CompactionPerformed{},
		papyra.ReportStartAccepted:       &papyra.StartAccepted{},
		papyra.ReportRestore:             &papyra.RestoreReport{},
		papyra.ReportRestorePerformed:    &papyra.RestorePerformed{},
		papyra.ReportActRequested:        &papyra.ActRequested{},
		papyra.ReportSpoolBound:          &papyra.SpoolBound{},
	}
}

// decode reads a payload: that of a report into its struct, so that no member is
// unknown; numbers of others as they stand.
func decode(rec *papyra.Record) (any, error) {
	d := json.NewDecoder(bytes.NewReader(rec.Payload))
	if rec.Kind == papyra.KindReport {
		payload := reports()[string(rec.Type)]
		d.DisallowUnknownFields()
		return payload, d.Decode(payload)
	}
	d.UseNumber()
	var payload any
	err := d.Decode(&payload)
	return payload, err
}

func TestAcceptedForeignVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range pairs(t, "papyra-accepts-foreign") {
		what, line := v[0], v[1]
		rec, err := papyra.Parse([]byte(line))
		if err != nil {
			t.Errorf("%v: %s", err, line)
			continue
		}
		got := "unsealed"
		switch {
		case rec.Sealed:
			got = "sealed"
		case rec.HasIdentity():
			got = "unverified"
		}
		seen[what] = true
		if got != what {
			t.Errorf("it is %s, want %s: %s", got, what, line)
		}
	}
	if len(seen) != 3 {
		t.Errorf("there are vectors of %v only", seen)
	}
}

func TestRejectedVectors(t *testing.T) {
	list := pairs(t, "papyra-rejects")
	for _, v := range pairs(t, "papyra-rejects-base64") {
		raw, err := base64.StdEncoding.DecodeString(v[1])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, [2]string{v[0], string(raw)})
	}
	list = append(list, [2]string{string(papyra.ClassOversize), sized(papyra.MaxStoredLine)})
	seen := map[papyra.Class]bool{}
	for _, v := range list {
		want, line := papyra.Class(v[0]), v[1]
		_, err := papyra.Parse([]byte(line))
		var bad *papyra.LineError
		if !errors.As(err, &bad) || bad.Class != want {
			t.Errorf("%v, want %s: %.300q", err, want, line)
		}
		seen[want] = true
	}
	for _, class := range papyra.RejectReasons() {
		// The others are of a message, not of a line.
		if !seen[class] && !slices.Contains(words(t, "Reject reasons"), string(class)) {
			t.Errorf("no vector is rejected as %s", class)
		}
	}
	if _, err := papyra.Parse([]byte(sized(papyra.MaxStoredLine - 1))); err != nil {
		t.Errorf("a line of the largest size: %v", err)
	}
}

// sized returns a record's line of n bytes.
func sized(n int) string {
	const head, tail = `{"kind":"event","system_id":"a","actor_address":null,"event_type":"x","timestamp":0,"payload":"`, `"}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

func TestAddressVectors(t *testing.T) {
	for _, v := range pairs(t, "papyra-addresses") {
		rec, err := papyra.Parse(fmt.Appendf(nil, `{"kind":"event","system_id":"a","actor_address":%s,"event_type":"x","payload":{},"timestamp":0}`, v[0]))
		if err != nil {
			t.Errorf("%s: %v", v[0], err)
			continue
		}
		got := "-"
		if a, ok := rec.Address(); ok {
			got = a.String()
		}
		if got != v[1] {
			t.Errorf("%s: got %s, want %s", v[0], got, v[1])
		}
	}
}

func TestTimestampVectors(t *testing.T) {
	for _, v := range pairs(t, "papyra-timestamps") {
		rec, err := papyra.Parse(fmt.Appendf(nil, `{"kind":"event","system_id":"a","actor_address":null,"event_type":"x","payload":{},"timestamp":%s}`, v[0]))
		got := strconv.FormatInt(rec.Time, 10)
		var bad *papyra.LineError
		if errors.As(err, &bad) {
			got = string(bad.Class)
		}
		if got != v[1] {
			t.Errorf("%s: got %s, want %s", v[0], got, v[1])
		}
	}
}

func TestSubjectVectors(t *testing.T) {
	for _, line := range block(t, "papyra-subjects") {
		f := strings.Split(line, "\t")
		want := papyra.Stream{System: f[0], Kind: papyra.ParseCategory(f[1])}
		if got := papyra.RecordsSubject(want.System, want.Kind); got != f[2] {
			t.Errorf("the subject of %v is %s, want %s", want, got, f[2])
		}
		if got, err := papyra.ParseRecordsSubject(f[2]); err != nil || got != want {
			t.Errorf("%s is of %v (%v), want %v", f[2], got, err, want)
		}
	}
	for _, subject := range block(t, "papyra-subjects-rejected") {
		if got, err := papyra.ParseRecordsSubject(subject); err == nil {
			t.Errorf("%s is of %v, want an error", subject, got)
		}
	}
}

// The tables of reports name every member in the order of the structs, and say
// which are left out when they are empty.
func TestReportTables(t *testing.T) {
	done := map[reflect.Type]bool{}
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			check(typ.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if done[typ] {
			return
		}
		done[typ] = true
		var want []string
		for _, field := range reflect.VisibleFields(typ) {
			if field.Anonymous {
				continue // its members stand in its place
			}
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			always := "yes"
			if options != "" {
				always = "no"
			}
			want = append(want, name+" "+always)
			check(field.Type)
		}
		var got []string
		for _, row := range rows(section(t, typ.Name())) {
			if len(row) != 4 {
				t.Errorf("%s: the row of %s has %d cells, want 4", typ.Name(), row[0], len(row))
				continue
			}
			got = append(got, row[0]+" "+row[2])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\nthe document has %v\nthe code has     %v", typ.Name(), got, want)
		}
	}
	for _, payload := range reports() {
		check(reflect.TypeOf(payload))
	}
	if len(done) < 14 {
		t.Errorf("%d tables were looked at", len(done))
	}
}

// constants returns the values of a folder's constants that have a type of this
// name, or that have none and a name that begins with this word.
func constants(t *testing.T, dir, what string) (values []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST || strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, s := range group.Specs {
				spec, ok := s.(*ast.ValueSpec)
				if !ok {
					continue
				}
				typ, typed := spec.Type.(*ast.Ident)
				for i, name := range spec.Names {
					rest, begins := strings.CutPrefix(name.Name, what)
					if typed && typ.Name != what || !typed && (!begins || rest == "" || !unicode.IsUpper(rune(rest[0]))) || i >= len(spec.Values) {
						continue
					}
					if lit, ok := spec.Values[i].(*ast.BasicLit); ok {
						values = append(values, strings.Trim(lit.Value, `"`))
					}
				}
			}
		}
	}
	return values
}

// The closed lists of the code are those of the document.
func TestClosedLists(t *testing.T) {
	const root = ".."
	cli := filepath.Join(root, "cmd", "internal", "cli")
	var causes, lineClasses []string
	for _, c := range papyra.Causes() {
		causes = append(causes, string(c))
	}
	for _, c := range papyra.RejectReasons() {
		lineClasses = append(lineClasses, string(c))
	}
	reject := constants(t, root, "RejectReason")
	for _, tt := range []struct {
		name string
		want []string
		got  []string
	}{
		{"causes", causes, words(t, "Causes")},
		{"causes of the source", constants(t, root, "Cause"), words(t, "Causes")},
		{"drop reasons", constants(t, root, "DropReason"), words(t, "Drop reasons")},
		{"reject reasons", reject, words(t, "Reject reasons")},
		{"classes and notices", constants(t, root, "Class"), append(words(t, "Classes of damage"), words(t, "Notices")...)},
		{"acts", constants(t, root, "Act"), words(t, "Acts")},
		{"exit codes", append(constants(t, cli, "Code"), "129", "130", "143"), words(t, "Exit codes")},
	} {
		want, got := slices.Sorted(slices.Values(tt.want)), slices.Sorted(slices.Values(tt.got))
		if len(want) < 4 || !slices.Equal(got, want) {
			t.Errorf("%s\nthe document has %v\nthe code has     %v", tt.name, got, want)
		}
	}
	text := section(t, "Reject reasons")
	for _, class := range lineClasses {
		if !strings.Contains(text, "`"+class+"`") {
			t.Errorf("the reject reasons leave out %s", class)
		}
	}
	for name := range reports() {
		section(t, name)
	}
	if names := constants(t, root, "Report"); len(names) != len(reports()) {
		t.Errorf("the code has the reports %v, this test knows %d", names, len(reports()))
	}
}
