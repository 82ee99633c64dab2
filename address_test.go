package papyra_test

import (
	"encoding/json"
	"testing"

	"github.com/papyra/papyra"
)

func TestAddressOfARecord(t *testing.T) {
	for _, tt := range []struct {
		system, raw string
		want        string // "": none
		bare        string // the id alone
	}{
		{"orders", `"orders:cart-42"`, "orders:cart-42", "cart-42"},
		{"orders", `"orders:a:b"`, "orders:a:b", "a:b"},
		{"eu:shop", `"eu:shop:cart"`, "eu:shop:cart", "cart"},
		{"eu:shop", `"eu:shop:a:b"`, "eu:shop:a:b", "a:b"},
		{"eu:shop", `"eu:other:cart"`, "eu:other:cart", "other:cart"},
		{"eu", `"eu:shop:cart"`, "eu:shop:cart", "shop:cart"},
		{":", `"::x"`, "::x", "x"},
		{"a\"b", `"a\"b:x"`, `a"b:x`, "x"},
		{"eu:shop", `{"system":"eu:shop","actor_id":7}`, "eu:shop:7", "7"},
		{"orders", `{"system":"orders","actor_id":9223372036854775807}`, "orders:9223372036854775807", "9223372036854775807"},
		{"orders", `{"system":"orders","actor_id":9223372036854775808}`, "orders:9223372036854775808", "9223372036854775808"},
		{"orders", `{"system":"orders","actor_id":18446744073709551615}`, "orders:18446744073709551615", "18446744073709551615"},
		{"orders", `{"actor_id":18446744073709551615,"system":"orders"}`, "orders:18446744073709551615", "18446744073709551615"},
		{"orders", `{"system":"orders","actor_id":-9223372036854775809}`, "", ""},
		{"orders", `{"system":"orders","actor_id":18446744073709551616}`, "", ""},
		{"orders", `{"system":"orders","actor_id":0}`, "orders:0", "0"},
		{"orders", `{"system":"orders","actor_id":"till/3"}`, "orders:till/3", "till/3"},
		{"orders", `{"system":"orders","actor_id":""}`, "", ""},
		{"orders", `{"system":"orders","actor_id":1.5}`, "", ""},
		{"orders", `{"system":"orders","actor_id":1e3}`, "", ""},
		{"orders", `{"system":"orders","actor_id":null}`, "", ""},
		{"orders", `{"system":"orders"}`, "", ""},
		{"orders", `{"_rid":4,"_mailbox_put":"<bound \"method\">","_dead_letter":null,"_address":{"system":"pysys","actor_id":4}}`, "pysys:4", "4"},
		{"orders", `{"_address":{"actor_id":4,"system":"größe","_address":"x:y"},"_rid":3}`, "größe:4", "4"},
		{"eu:shop", `{"_rid":4,"_address":"eu:shop:cart"}`, "eu:shop:cart", "cart"},
		{"orders", `{"system":"orders","actor_id":5,"_address":{"system":"pysys","actor_id":4}}`, "orders:5", "5"},
		{"orders", `{"_address":{"system":"pysys","actor_id":4},"system":"orders","actor_id":5}`, "orders:5", "5"},
		{"orders", `{"_address":{"system":"pysys","actor_id":4},"actor_id":""}`, "", ""},
		{"orders", `{"_address":{"system":"pysys","actor_id":4.5}}`, "", ""},
		{"orders", `{"_address":null,"_rid":7}`, "", ""},
		{"orders", `{"_address":[4],"_rid":7}`, "", ""},
		{"orders", `{"_address":{"_address":{"system":"pysys","actor_id":4}}}`, "", ""}, // no reference holds another
		{"orders", `""`, "", ""},
		{"orders", `"orders:"`, "", ""},
		{"eu:shop", `"eu:shop:"`, "", ""},
		{"orders", `":"`, "", ""},
		{"orders", `null`, "", ""},
	} {
		system, err := json.Marshal(tt.system)
		if err != nil {
			t.Fatal(err)
		}
		line := `{"kind":"event","system_id":` + string(system) + `,"actor_address":` + tt.raw + `,"event_type":"x","payload":{},"timestamp":1700000000.5}`
		rec, err := papyra.Parse([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		a, ok := rec.Address()
		if ok != (tt.want != "") || ok && a.String() != tt.want {
			t.Errorf("address %s of a record of %s is %q, %v, want %q", tt.raw, tt.system, a, ok, tt.want)
			continue
		}
		for _, actor := range []string{tt.want, tt.bare, "0", tt.system + ":0", "7"} {
			q := papyra.Query{Actors: []string{actor}}
			want := ok && (actor == tt.want || actor == tt.bare)
			if got := q.Match(&rec); got != want {
				t.Errorf("address %s of a record of %s: filter %q matches: %v, want %v", tt.raw, tt.system, actor, got, want)
			}
		}
	}
}
