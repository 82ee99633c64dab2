package papyra

import (
	"log/slog"
	"strings"
	"testing"
)

// A line with a sender is sealed, is taken without parsing like any other of our
// layout, and tells its sender.
func TestSenderIsWrittenAndRead(t *testing.T) {
	t.Parallel()
	id := testIdentity(t)
	var e Encoder
	for _, c := range []struct {
		sender Address
		member string // "" if there is none
		want   Address
	}{
		{Address{}, "", Address{}},
		{Address{ID: 7}, `{"system":"orders","actor_id":7}`, Address{System: "orders", ID: 7}},
		{Address{System: "shop"}, `{"system":"shop","actor_id":0}`, Address{System: "shop"}},
		{Address{System: "shop", ID: -1}, `{"system":"shop","actor_id":-1}`, Address{System: "shop", ID: -1}},
		{Address{Name: "till"}, `"orders:till"`, Address{System: "orders", Name: "till"}},
		{Address{System: "shop", Name: "a:\"b\n"}, `"shop:a:\"b\n"`, Address{System: "shop", Name: "a:\"b\n"}},
	} {
		for kind, encode := range map[Kind]func() error{
			KindEvent: func() error {
				return e.Event(id, "orders", &Event{Actor: Address{ID: 1}, Type: "T", Sender: c.sender}, []slog.Attr{slog.Int("n", 1)}, testNow)
			},
			KindDeadLetter: func() error {
				return e.DeadLetter(id, "orders", &DeadLetter{MessageType: "T", Payload: map[string]any{"sender": 1}, Sender: c.sender}, nil, testNow)
			},
		} {
			if err := encode(); err != nil {
				t.Fatal(err)
			}
			line := strings.TrimSuffix(string(e.AppendLine(nil, 17)), "\n")
			member := ""
			if c.member != "" {
				member = `,"sender":` + c.member
			}
			if !strings.Contains(line, `}`+member+`,"timestamp":`) {
				t.Errorf("got %s, want %s before the timestamp", line, member)
			}
			var fast Record
			if !ParseSealed(&fast, []byte(line)) || fast.Kind != kind || fast.Seq != 17 {
				t.Errorf("not taken as sealed: %s", line)
			}
			rec, err := Parse([]byte(line))
			if err != nil || !rec.Sealed {
				t.Fatalf("%s: sealed %v, %v", line, rec.Sealed, err)
			}
			for _, r := range []*Record{&rec, &fast} {
				if got, ok := r.Sender(); ok != (c.member != "") || got != c.want {
					t.Errorf("%s: got sender %+v, %v, want %+v", line, got, ok, c.want)
				}
			}
		}
	}
	if err := e.Event(id, "orders", &Event{Sender: Address{Name: strings.Repeat("x", MaxPublishedLine)}}, nil, testNow); err == nil {
		t.Error("got no error for a sender that is larger than a line")
	}
}

// Whatever another sender writes there is a record all the same.
func TestSenderOfForeignRecords(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]string{
		`"cart"`:                              ":cart",
		` { "actor_id" : 3, "system" : "s" }`: "s:3",
		`{"_rid":1,"_address":{"system":"s","actor_id":5}}`: "s:5",
		`42`:               "",
		`null`:             "",
		`[{"sender":"x"}]`: "",
		`{}`:               "",
		`""`:               "",
	} {
		for _, at := range []string{
			`{"sender":` + member + `,"kind":"event","system_id":"orders","actor_address":null,"event_type":"T","payload":{"sender":"no"},"timestamp":1}`,
			` {"kind":"event","system_id":"orders","actor_address":null,"event_type":"T","payload":[],"timestamp":1, "s\u0065nder" :` + member + ` }`,
		} {
			rec, err := Parse([]byte(at))
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			got, ok := rec.Sender()
			if ok != (want != "") || ok && got.String() != want {
				t.Errorf("%s: got %v, %v, want %q", at, got, ok, want)
			}
		}
	}
	var none Record
	if _, ok := none.Sender(); ok {
		t.Error("got a sender of no record")
	}
	torn := Record{Line: []byte(`{"kind":"event","sender":`)}
	if _, ok := torn.Sender(); ok {
		t.Error("got a sender of a line that was not checked")
	}
}
