package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sango/internal/certs"
	"sango/internal/certs/certstest"
	"sango/internal/san"
)

// What others would refuse is told before they are asked.
func TestCheck(t *testing.T) {
	a, b := certstest.New(t), certstest.New(t)
	need := []certs.Need{{What: "other members", Any: []string{"192.0.2.1"}}, {What: "other gateways", Any: []string{"192.0.2.9", "gw1"}}}
	good := certstest.Of([]string{"gw1"}, "192.0.2.1")
	files := a.Issue(t, "good", good)
	if err := files.Check(time.Now(), need...); err != nil {
		t.Fatal(err)
	}
	foreign := b.Issue(t, "foreign", good)
	foreign.CA = a.CA()
	server := certstest.Of([]string{"gw1"}, "192.0.2.1")
	server.ExtKeyUsage = server.ExtKeyUsage[:1]
	client := certstest.Of([]string{"gw1"}, "192.0.2.1")
	client.ExtKeyUsage = client.ExtKeyUsage[1:]
	old := certstest.Of([]string{"gw1"}, "192.0.2.1")
	old.NotAfter = time.Now().Add(-time.Minute)
	early := certstest.Of([]string{"gw1"}, "192.0.2.1")
	early.NotBefore = time.Now().Add(time.Minute)
	wrong := files
	wrong.Key = a.Issue(t, "other", good).Key
	for text, f := range map[string]certs.Files{
		"no authority":         foreign,
		"clientAuth":           a.Issue(t, "server", server),
		"serverAuth":           a.Issue(t, "client", client),
		"expired":              a.Issue(t, "old", old),
		"clock":                a.Issue(t, "early", early),
		"members look for":     a.Issue(t, "address", certstest.Of([]string{"gw1"}, "192.0.2.2")),
		"names nobody":         a.Issue(t, "nobody", certstest.Of(nil)),
		"192.0.2.9 or gw1":     a.Issue(t, "name", certstest.Of([]string{"gw2"}, "192.0.2.1")),
		"does not match":       wrong,
		"holds no certificate": {CA: files.Key, Cert: files.Cert, Key: files.Key},
		"no such file":         {CA: a.CA() + "x", Cert: files.Cert, Key: files.Key},
	} {
		if err := f.Check(time.Now(), need...); !errors.Is(err, san.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want one about %q", err, text)
		}
	}
}

// serial makes a connection between two that trust each other, and returns which
// certificate the called one showed.
func serial(t *testing.T, server, client *certs.Kept) (string, error) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = tls.Server(c, server.Server(&tls.Config{MinVersion: tls.VersionTLS13})).HandshakeContext(t.Context())
			c.Close()
		}
		served <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tc := tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: client.Roots(), ServerName: "127.0.0.1", GetClientCertificate: client.Show})
	err = errors.Join(tc.HandshakeContext(t.Context()), <-served)
	if err != nil {
		return "", err
	}
	return tc.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// New connections use what the files say then: also with an authority that
// was added. What does not fit together does not count.
func TestFilesChange(t *testing.T) {
	a := certstest.New(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	load := func(f certs.Files) *certs.Kept {
		k, err := certs.Load(f, log)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	of := func() *x509.Certificate { return certstest.Of(nil, "127.0.0.1") }
	files := a.Issue(t, "server", of())
	server, client := load(files), load(a.Issue(t, "client", of()))
	first, err := serial(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	a.Issue(t, "server", of())
	second, err := serial(t, server, client)
	if err != nil || second == first {
		t.Fatalf("certificate %s after %s, %v", second, first, err)
	}
	if err := os.WriteFile(files.Cert, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if third, err := serial(t, server, client); err != nil || third != second {
		t.Errorf("certificate %s after %s, %v", third, second, err)
	}
	b := certstest.New(t)
	theirs, err := os.ReadFile(b.CA())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(a.CA())
	if err != nil {
		t.Fatal(err)
	}
	a.Issue(t, "server", of())
	next := b.Issue(t, "next", of())
	next.CA = a.CA()
	client = load(next)
	if _, err := serial(t, server, client); err == nil {
		t.Fatal("one of an authority that is not trusted was let in")
	}
	if err := os.WriteFile(a.CA(), append(ours, theirs...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := serial(t, server, client); err != nil {
		t.Errorf("with both authorities: %v", err)
	}
	all, err := next.Expiries()
	if err != nil || len(all) != 3 || all[0].File != next.Cert || all[2].File != next.CA {
		t.Errorf("%+v, %v", all, err)
	}
}
