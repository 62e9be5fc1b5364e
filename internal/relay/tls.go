package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"

	"sango/internal/certs"
)

// shared is what both sides have in common.
func shared() *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		DynamicRecordSizingDisabled: true, // what is sent is in batches anyway
		SessionTicketsDisabled:      true,
	}
}

// ClientTLS returns the side that calls gateway at addr, with what the files say
// now: it demands a certificate that names either of them.
func ClientTLS(k *certs.Kept, gateway, addr string) *tls.Config {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	c := shared()
	c.GetClientCertificate = k.Show
	roots := k.Roots()
	// The name is checked below: the standard way takes one alone.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return fmt.Errorf("relay: gateway %s shows no certificate", gateway)
		}
		leaf, between := s.PeerCertificates[0], x509.NewCertPool()
		for _, x := range s.PeerCertificates[1:] {
			between.AddCert(x)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
			return fmt.Errorf("relay: certificate of gateway %s: %w", gateway, err)
		}
		if err := leaf.VerifyHostname(host); err != nil && leaf.VerifyHostname(gateway) != nil {
			return fmt.Errorf("relay: certificate of gateway %s: %w", gateway, err)
		}
		return nil
	}
	return c
}

// ServerTLS returns the side that is called: it demands a certificate of an
// authority that is trusted at that moment.
func ServerTLS(k *certs.Kept) *tls.Config { return k.Server(shared()) }

// secure returns the pipe to p over raw, after the handshake.
func (n *Node) secure(ctx context.Context, raw net.Conn, p *peer) (pipe, error) {
	if n.cfg.TLS == nil {
		return newPipe(raw)
	}
	return n.handshake(ctx, raw, ClientTLS(n.cfg.TLS, string(p.member.Gateway), p.where()), tls.Client)
}

// accepted returns the pipe to whoever called, after the handshake.
func (n *Node) accepted(ctx context.Context, raw net.Conn) (pipe, error) {
	if n.cfg.TLS == nil {
		return newPipe(raw)
	}
	return n.handshake(ctx, raw, ServerTLS(n.cfg.TLS), tls.Server)
}

func (n *Node) handshake(ctx context.Context, raw net.Conn, c *tls.Config, wrap func(net.Conn, *tls.Config) *tls.Conn) (pipe, error) {
	tcp, ok := raw.(*net.TCPConn)
	if !ok {
		t := wrap(raw, c)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return newPipe(t)
	}
	s, err := newSealed(tcp, c, wrap)
	if err != nil {
		return nil, err
	}
	if err := s.pipe.tls.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	s.direct = false
	return s.pipe, nil
}
