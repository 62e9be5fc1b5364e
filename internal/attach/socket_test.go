package attach

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sango/internal/nbd"
	"sango/internal/san"
)

func TestCheckListen(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		ok   bool
	}{
		{"socket", Options{SocketPath: "s"}, true},
		{"nowhere", Options{}, false},
		{"loopback", Options{Listen: "127.0.0.1:0"}, true},
		{"loopback 6", Options{Listen: "[::1]:10809"}, true},
		{"loopback 4 in 6", Options{Listen: "[::ffff:127.0.0.1]:10809"}, true},
		{"both", Options{Listen: "127.0.0.1:0", SocketPath: "s"}, true},
		{"no port", Options{Listen: "127.0.0.1"}, false},
		{"no address", Options{Listen: ":10809"}, false},
		{"host name", Options{Listen: "localhost:10809"}, false},
		{"everybody", Options{Listen: "0.0.0.0:0"}, false},
		{"everybody 6", Options{Listen: "[::]:0"}, false},
		{"everybody, encrypted", Options{Listen: "192.0.2.1:0", TLSCert: "c", TLSKey: "k"}, false},
		{"everybody, wanted", Options{Listen: "192.0.2.1:0", Insecure: true}, true},
		{"those with a certificate", Options{Listen: "192.0.2.1:0", TLSCert: "c", TLSKey: "k", TLSClients: "a"}, true},
		{"no key", Options{Listen: "127.0.0.1:0", TLSCert: "c"}, false},
		{"no certificate", Options{Listen: "127.0.0.1:0", TLSClients: "a"}, false},
		{"TLS for nothing", Options{SocketPath: "s", TLSCert: "c", TLSKey: "k"}, false},
		{"insecure for nothing", Options{SocketPath: "s", Insecure: true}, false},
	} {
		c.o.As, c.o.Name, c.o.Source.Size = AsSocket, "x", 1<<20
		if err := c.o.Check(); (err == nil) != c.ok || err != nil && !errors.Is(err, san.ErrInvalid) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	o := Options{As: AsUblk, Name: "x", Listen: "127.0.0.1:0"}
	if err := o.Check(); !errors.Is(err, san.ErrInvalid) {
		t.Errorf("a disk that listens: %v", err)
	}
}

// authority signs certificates.
type authority struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	der []byte
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	c := a.template()
	c.IsCA, c.BasicConstraintsValid = true, true
	if a.der, err = x509.CreateCertificate(rand.Reader, c, c, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(encode("CERTIFICATE", a.der))
	return p
}

// sign returns a certificate and its key, PEM.
func (a *authority) sign() (cert, key []byte) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, err := x509.ParseCertificate(a.der)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, a.template(), parent, k.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// option sends an option on a connection and returns the kind of the reply.
func option(t *testing.T, nc net.Conn, o nbd.Option) nbd.ReplyType {
	t.Helper()
	if _, err := nc.Write(nbd.OptionHeader{Option: o}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	var b [nbd.OptionReplyLen]byte
	if _, err := io.ReadFull(nc, b[:]); err != nil {
		t.Fatal(err)
	}
	r, err := nbd.ParseOptionReply(b[:])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, nc, int64(r.Length)); err != nil {
		t.Fatal(err)
	}
	return r.Type
}

// greet connects to an NBD server.
func greet(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, nc, int64(len(nbd.Greeting{}.Append(nil)))); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write((nbd.ClientFixedNewstyle | nbd.ClientNoZeroes).Append(nil)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// On TCP those alone are served who have a certificate, on the unix socket of
// the same attachment its owner.
func TestSocketOnTCP(t *testing.T) {
	d, a := testDir(t), newAuthority(t)
	o := quiet(d, "mem:16M")
	o.As, o.SocketPath, o.Listen = AsSocket, filepath.Join(d.Path(), "s"), "127.0.0.1:0"
	write := func(name string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := a.sign()
	o.TLSCert, o.TLSKey, o.TLSClients = write("cert", cert), write("key", key), write("clients", encode("CERTIFICATE", a.der))
	r := begin(t, o)
	var i Info
	select {
	case i = <-r.ready:
	case err := <-r.ended:
		t.Fatal(err)
	}
	if i.Socket != o.SocketPath || i.Listen == "" {
		t.Errorf("it serves at %+v", i)
	}
	if got := option(t, greet(t, "unix", i.Socket), nbd.OptStructuredReply); got != nbd.RepAck {
		t.Errorf("unix socket: %v", got)
	}
	if got := option(t, greet(t, "tcp", i.Listen), nbd.OptStructuredReply); got != nbd.RepErrTLSReqd {
		t.Errorf("TCP without TLS: %v", got)
	}
	client, err := tls.X509KeyPair(a.sign())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := tls.X509KeyPair(newAuthority(t).sign())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		certs []tls.Certificate
		ok    bool
	}{"client": {[]tls.Certificate{client}, true}, "stranger": {[]tls.Certificate{stranger}, false}, "nobody": {nil, false}} {
		nc := greet(t, "tcp", i.Listen)
		if got := option(t, nc, nbd.OptStartTLS); got != nbd.RepAck {
			t.Fatalf("%s: STARTTLS: %v", name, got)
		}
		tc := tls.Client(nc, &tls.Config{RootCAs: a.pool(), ServerName: "localhost", Certificates: c.certs})
		_, err := tc.Write(nbd.OptionHeader{Option: nbd.OptStructuredReply}.Append(nil))
		if err == nil { // who is refused may learn it with the first answer only
			_, err = io.ReadFull(tc, make([]byte, nbd.OptionReplyLen))
		}
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if names := left(t, d); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// Files that are wrong are told before anything is opened.
func TestWrongTLSFiles(t *testing.T) {
	d, a := testDir(t), newAuthority(t)
	cert, key := a.sign()
	_, other := a.sign()
	write := func(b []byte) string {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, files := range map[string][3]string{
		"none":              {"/nonexistent", "/nonexistent", ""},
		"another key":       {write(cert), write(other), ""},
		"no authority":      {write(cert), write(key), "/nonexistent"},
		"no certificate":    {write(cert), write(key), write([]byte("x"))},
		"key as authority":  {write(cert), write(key), write(key)},
		"key as the server": {write(key), write(key), ""},
	} {
		o := quiet(d, "mem:16M")
		o.As, o.Listen = AsSocket, "127.0.0.1:0"
		o.TLSCert, o.TLSKey, o.TLSClients = files[0], files[1], files[2]
		if err := Run(t.Context(), o, func(Info) { t.Errorf("%s: serves", name) }); !errors.Is(err, san.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
