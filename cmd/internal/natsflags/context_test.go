package natsflags

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// What a context says is used or refused, never passed over.
func TestContextMembers(t *testing.T) {
	for _, tt := range []struct {
		name, members string
		code          int
		says          string
	}{
		{"everything empty, as the nats command writes it", `"description":"","url":"nats://h:1","socks_proxy":"","token":"","user":"","password":"","creds":"","nkey":"","cert":"","key":"","ca":"","nsc":"","jetstream_domain":"","jetstream_api_prefix":"","jetstream_event_prefix":"","inbox_prefix":"","user_jwt":"","color_scheme":"","tls_first":false,"windows_ca_certs_match":null`, 0, ""},
		{"what means nothing here", `"description":"x","color_scheme":"blue","jetstream_domain":"d","jetstream_api_prefix":"p","jetstream_event_prefix":"e"`, 0, ""},
		{"proxy", `"socks_proxy":"socks5://127.0.0.1:1080"`, 78, `"socks_proxy" is not supported`},
		{"nsc", `"nsc":"nsc://o/a/u"`, 78, `"nsc" is not supported`},
		{"store of Windows", `"windows_cert_store":"user"`, 78, `"windows_cert_store" is not supported`},
		{"of a newer version", `"quic":true`, 78, `"quic" is not supported`},
		{"a list of a newer version", `"urls":["nats://h"]`, 78, `"urls" is not supported`},
		{"login without its seed", `"user_jwt":"x"`, 78, "belong together"},
		{"seed without its login", `"user_seed":"x"`, 78, "belong together"},
		{"variable that is not set", `"creds":"$PAPYRA_NOT_SET/x.creds"`, 78, "PAPYRA_NOT_SET is not set"},
		{"variable that is not set, at the end", `"ca":"/x/${PAPYRA_NOT_SET}"`, 78, "PAPYRA_NOT_SET is not set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := natsHome(t)
			writeFile(t, filepath.Join(home, "nats/context/c.json"), "{"+tt.members+"}")
			_, _, code, said := parseNATS(t, "--context", "c")
			if code != tt.code || !strings.Contains(said, tt.says) {
				t.Errorf("code %d, want %d: %s, want %q", code, tt.code, said, tt.says)
			}
		})
	}
}

func TestContextVariablesInPaths(t *testing.T) {
	home := natsHome(t)
	t.Setenv("PAPYRA_TEST_DIR", home)
	t.Setenv("HOME", home)
	writeFile(t, filepath.Join(home, "x.creds"), "creds")
	for _, path := range []string{"$PAPYRA_TEST_DIR/x.creds", "${PAPYRA_TEST_DIR}/x.creds", "~/x.creds", filepath.Join(home, "x.creds")} {
		writeFile(t, filepath.Join(home, "nats/context/c.json"), `{"creds":"`+path+`"}`)
		_, o, code, said := parseNATS(t, "--context", "c")
		if code != 0 || o.UserJWT == nil {
			t.Errorf("creds %q: code %d, login %v: %s", path, code, o.UserJWT != nil, said)
		}
	}
}

func TestContextLoginByJWT(t *testing.T) {
	home := natsHome(t)
	const seed = "SUALZS4OZ274HBFWDQYF2FPDHUJBDMQ7HUH6UYT3ZWPHOTIKU52QOYPSDE" // made for this test
	writeFile(t, filepath.Join(home, "nats/context/c.json"), `{"user_jwt":"the.login","user_seed":"`+seed+`"}`)
	_, o, code, said := parseNATS(t, "--context", "c")
	if code != 0 || o.UserJWT == nil || o.SignatureCB == nil {
		t.Fatalf("code %d, no login: %s", code, said)
	}
	if got, err := o.UserJWT(); got != "the.login" || err != nil {
		t.Errorf("the login is %q, %v", got, err)
	}
	_, byFile, _, _ := parseNATS(t, "--server", "nats://h", "--nkey", writeFile(t, filepath.Join(home, "seed"), seed))
	want, err := byFile.SignatureCB([]byte("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := o.SignatureCB([]byte("nonce")); err != nil || !bytes.Equal(signed, want) {
		t.Errorf("the nonce is not signed with the seed: %v", err)
	}
	// A login that is given wins.
	_, o, code, _ = parseNATS(t, "--context", "c", "--user", "me", "--password", "pw")
	if code != 0 || o.UserJWT != nil || o.User != "me" {
		t.Errorf("code %d, user %q, login of the context used: %v", code, o.User, o.UserJWT != nil)
	}
}
