package redis_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
	"github.com/papyra/papyra/sink/backend/redis"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	store := open(t, "redis://"+s.Addr())
	lost := "nothing is persisted (appendonly no, save empty): a restart of the server loses every record"
	since := "appendonly is no: a crash of the server loses the records since its last snapshot"
	for _, c := range []struct {
		settings string
		want     []string
	}{
		{"CONFIG SET appendonly yes", nil},
		{"CONFIG SET appendonly no", []string{lost}},
		{"CONFIG SET maxmemory-policy allkeys-lru", []string{"maxmemory-policy is allkeys-lru: whole streams may be evicted; set it to noeviction", lost}},
		{"CONFIG SET maxmemory-policy volatile-lru", []string{"maxmemory-policy is volatile-lru: fences, which keep a batch from being stored twice, may be evicted; set it to noeviction", lost}},
		{"CONFIG SET maxmemory-policy noeviction", []string{lost}},
		{"ACL SETUSER default -config", []string{since}},
		{"ACL SETUSER default -info", []string{"cannot see whether the server evicts or persists: NOPERM"}},
	} {
		s.Do(t, words(c.settings)...)
		got, err := store.Warnings(context.Background(), papyra.Retention{})
		for i := range got {
			if strings.HasPrefix(got[i], "cannot see") {
				got[i] = got[i][:len("cannot see whether the server evicts or persists: NOPERM")]
			}
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("after %s: %v (-want +got):\n%s", c.settings, err, diff)
		}
	}
}

// A password in a file is read at each connection, so that it can be changed.
func TestPasswordFile(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Do(t, "ACL", "SETUSER", "sink", "on", "resetpass", ">"+password, "~*", "&*", "+@all")
	}
	write("first")
	store := open(t, "redis://"+s.Addr()+"?user=sink&password_file="+file)
	fill(t, store, testrecord.New(1).Events(1)...)
	write("second " + canary)
	s.Do(t, "CLIENT", "KILL", "USER", "sink")
	a := appender(t, store)
	b := testrecord.Batch(testrecord.New(2).Events(1)...)
	testkit.Await(t, "the new password", func() bool {
		n, err := a.Append(context.Background(), b)
		b.DropStored(n, err)
		return err == nil
	})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	other := open(t, "redis://"+s.Addr()+"?user=sink&password_file="+file)
	_, err := other.Scan(context.Background(), papyra.ScanOptions{})
	if !errors.Is(err, papyra.ErrConfig) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), canary) {
		t.Errorf("without the file: %v, want papyra.ErrConfig and its name", err)
	}
}

// Connections are encrypted, and only a server with the right certificate will
// do.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, caKey := certificate(t, dir, "ca", nil, nil, time.Now().Add(time.Hour))
	certificate(t, dir, "server", ca, caKey, time.Now().Add(time.Hour))
	certificate(t, dir, "client", ca, caKey, time.Now().Add(time.Hour))
	certificate(t, dir, "expired", ca, caKey, time.Now().Add(-time.Minute))
	certificate(t, dir, "otherca", nil, nil, time.Now().Add(time.Hour))
	file := func(name string) string { return filepath.Join(dir, name) }
	serve := func(cert string, options ...string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		redistest.Start(t, append([]string{
			"--tls-port", strconv.Itoa(port), "--tls-cert-file", file(cert + ".pem"), "--tls-key-file", file(cert + ".key"),
			"--tls-ca-cert-file", file("ca.pem"),
		}, options...)...)
		return "127.0.0.1:" + strconv.Itoa(port)
	}
	good, expired := serve("server"), serve("expired", "--tls-auth-clients", "no")
	pair := "&tls_cert=" + file("client.pem") + "&tls_key=" + file("client.key")
	for _, c := range []struct{ name, url, says string }{
		{"right", "rediss://" + good + "?tls_ca=" + file("ca.pem") + pair, ""},
		{"right, by its name", "rediss://" + good + "?tls_ca=" + file("ca.pem") + pair + "&tls_server_name=redis.test", ""},
		{"no client certificate", "rediss://" + good + "?tls_ca=" + file("ca.pem"), "not reachable"},
		{"another authority", "rediss://" + good + "?tls_ca=" + file("otherca.pem") + pair, "unknown authority"},
		{"the system's authorities", "rediss://" + good + "?timeout=5s" + pair, "unknown authority"},
		{"another name", "rediss://" + good + "?tls_ca=" + file("ca.pem") + pair + "&tls_server_name=other.test", "other.test"},
		{"expired", "rediss://" + expired + "?tls_ca=" + file("ca.pem"), "expired"},
		{"no authority in the file", "rediss://" + good + "?tls_ca=" + file("ca.key"), "no certificate"},
		{"not encrypted", "redis://" + good + "?timeout=1s", "not reachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := open(t, c.url)
			_, err := store.Warnings(context.Background(), papyra.Retention{})
			if verify := c.says == "unknown authority" || c.says == "expired" || c.says == "other.test"; verify && redis.CauseOf(err) != papyra.CauseTLS {
				t.Errorf("fault %q, want %q", redis.CauseOf(err), papyra.CauseTLS)
			}
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v (fault %q), want %q", err, redis.CauseOf(err), c.says)
			}
		})
	}
}

// certificate writes NAME.pem and NAME.key: signed by an authority, or one.
func certificate(t *testing.T, dir, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey, until time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"redis.test"},
		BasicConstraintsValid: true, IsCA: ca == nil,
	}
	parent, signer := ca, caKey
	if ca == nil {
		c.KeyUsage = x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}
