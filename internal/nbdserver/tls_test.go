package nbdserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

// certificate returns a self-signed one for "localhost", and what trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func (c *client) startTLS(conf *tls.Config) {
	c.t.Helper()
	c.must(nbd.OptStartTLS, nil)
	t := tls.Client(c.nc, conf)
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.nc, c.structured = t, false
}

func TestTLS(t *testing.T) {
	for _, required := range []bool{false, true} {
		srv, cli := certificate(t)
		w := serve(t, Options{TLS: srv, RequireTLS: required})
		w.add("", block.Check(memory(t, mem.Options{}), t), ExportOptions{})
		c := w.dial()
		if required {
			c.refused(nbd.OptList, nil, nbd.RepErrTLSReqd)
			c.refused(nbd.OptStructuredReply, nil, nbd.RepErrTLSReqd)
			c.refused(nbd.OptGo, nbd.InfoRequest{}.Append(nil), nbd.RepErrTLSReqd)
		} else {
			c.must(nbd.OptStructuredReply, nil)
			c.must(nbd.OptSetMetaContext, nbd.MetaQuery{Queries: []string{nbd.BaseAllocation}}.Append(nil))
		}
		c.startTLS(cli)
		// What was negotiated in the clear is void.
		c.refused(nbd.OptListMetaContext, nbd.MetaQuery{}.Append(nil), nbd.RepErrInvalid)
		c.refused(nbd.OptStartTLS, nil, nbd.RepErrInvalid)
		c.must(nbd.OptStructuredReply, nil)
		c.structured = true
		c.enter("")
		p := pattern(3<<20, 7)
		c.ok(nbd.CmdWrite, 0, 0, uint32(len(p)), p)
		if a := c.ok(nbd.CmdRead, 0, 0, uint32(len(p)), nil); string(a.data) != string(p) {
			t.Error("other data over TLS")
		}
		c.fails(nbd.EINVAL, nbd.CmdBlockStatus, 0, 0, 512, nil)
		_ = c.nc.Close()
	}
}

func TestTLSAbuse(t *testing.T) {
	srv, _ := certificate(t)
	w := serve(t, Options{TLS: srv, RequireTLS: true})
	w.add("", memory(t, mem.Options{}), ExportOptions{})
	// An export in the clear.
	c := w.dial()
	c.write(nbd.OptionHeader{Option: nbd.OptExportName}.Append(nil))
	c.hungUp()
	// Options in the clear, sent together with STARTTLS, are never taken for
	// options inside TLS.
	c = w.dial()
	c.write(nbd.OptionHeader{Option: nbd.OptList}.Append(nbd.OptionHeader{Option: nbd.OptStartTLS}.Append(nil)))
	c.read(nbd.OptionReplyLen)
	c.hungUp()
	// Garbage instead of a TLS handshake.
	c = w.dial()
	c.must(nbd.OptStartTLS, nil)
	c.write(make([]byte, 4096))
	c.hungUp()
}

func TestTLSRequiredWithoutCertificate(t *testing.T) {
	s := New(Options{RequireTLS: true})
	if err := s.Serve(nopListener{}); err == nil {
		t.Error("a server that can't be reached was started")
	}
}
