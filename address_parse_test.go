package papyra

import "testing"

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]Address{
		"42":                          {System: "eu:shop", ID: 42},
		"cart":                        {System: "eu:shop", Name: "cart"},
		"eu:shop:cart":                {System: "eu:shop", Name: "cart"},
		"other:7":                     {System: "other", ID: 7},
		"other:a:b":                   {System: "other", Name: "a:b"},
		"other:007":                   {System: "other", Name: "007"},
		"-3":                          {System: "eu:shop", ID: -3},
		"1" + "000000000000000000000": {System: "eu:shop", Name: "1000000000000000000000"},
	} {
		got, ok := ParseAddress(text, "eu:shop")
		if got != want || !ok {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, ok, want)
		}
		if again, ok := ParseAddress(got.String(), "eu:shop"); again != want || !ok {
			t.Errorf("%q: read back as %+v", text, again)
		}
	}
	for _, text := range []string{"", "orders:", "eu:shop:"} {
		if a, ok := ParseAddress(text, "eu:shop"); ok {
			t.Errorf("%q: got %+v, want no address", text, a)
		}
	}
}
