package natsflags

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // with its certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, key := a.sign(template)
	a.key = key
	var err error
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	a.file = writeFile(t, filepath.Join(t.TempDir(), name+".pem"), pemOf("CERTIFICATE", raw))
	return a
}

func (a *authority) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return raw, key
}

// server returns a certificate for a host that is valid until then.
func (a *authority) server(host string, until time.Time) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	raw, key := a.sign(template)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func pemOf(kind string, raw []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
}

func startTLS(t *testing.T, c *tls.Config) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, TLS: true, TLSConfig: c, TLSTimeout: 5})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return srv.ClientURL()
}

func TestTLSIsVerified(t *testing.T) {
	natsHome(t)
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	valid := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name string
		cert tls.Certificate
		max  uint16
		ca   string
		part string // of the error; "" connects
	}{
		{"good", ours.server("127.0.0.1", valid), 0, ours.file, ""},
		{"TLS 1.2", ours.server("127.0.0.1", valid), tls.VersionTLS12, ours.file, ""},
		{"TLS 1.1", ours.server("127.0.0.1", valid), tls.VersionTLS11, ours.file, "protocol version"},
		{"wrong authority", others.server("127.0.0.1", valid), 0, ours.file, "unknown authority"},
		{"wrong host", ours.server("example.org", valid), 0, ours.file, "127.0.0.1"},
		{"expired", ours.server("127.0.0.1", time.Now().Add(-time.Hour)), 0, ours.file, "expired"},
		{"no authority given", ours.server("127.0.0.1", valid), 0, "", "unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := startTLS(t, &tls.Config{Certificates: []tls.Certificate{tt.cert}, MinVersion: tls.VersionTLS10, MaxVersion: tt.max})
			args := []string{"--server", url}
			if tt.ca != "" {
				args = append(args, "--tlsca", tt.ca)
			}
			n, _, code, errs := parseNATS(t, args...)
			if code != 0 {
				t.Fatalf("code %d: %s", code, errs)
			}
			nc, err := nats.Connect(n.URL, n.Options...)
			if err == nil {
				defer nc.Close()
			}
			switch {
			case tt.part == "" && err != nil:
				t.Errorf("connect: %v", err)
			case tt.part != "" && (err == nil || !strings.Contains(err.Error(), tt.part)):
				t.Errorf("connect: %v, want an error with %q", err, tt.part)
			}
		})
	}
}
