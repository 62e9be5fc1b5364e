// Package certs reads the certificates that nodes of a cluster show each other,
// says what is wrong with them before others refuse them, and takes them up anew
// when their files change.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"sango/internal/san"
)

// Files are PEM files: the authorities that are trusted, without which it is those
// of the machine, and a certificate with its key, without which nothing is shown.
type Files struct {
	CA, Cert, Key string
}

// state is what the files hold at one time.
type state struct {
	roots *x509.CertPool
	pair  *tls.Certificate // nil: none
}

func (f Files) read() (s state, err error) {
	if f.CA != "" {
		ca, err := os.ReadFile(f.CA)
		if err != nil {
			return s, san.Errorf(san.ErrInvalid, "TLS: certificate of the authority: %v", err)
		}
		s.roots = x509.NewCertPool()
		if !s.roots.AppendCertsFromPEM(ca) {
			return s, san.Errorf(san.ErrInvalid, "TLS: %s holds no certificate in PEM form", f.CA)
		}
	}
	if f.Cert == "" {
		return s, nil
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return s, san.Errorf(san.ErrInvalid, "TLS: certificate %s with key %s: %v", f.Cert, f.Key, err)
	}
	s.pair = &pair
	return s, nil
}

// stamp tells one content of a file from another, without reading it.
type stamp struct {
	info fs.FileInfo
}

func stampOf(name string) stamp {
	if name == "" {
		return stamp{}
	}
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}
	}
	return stamp{info}
}

func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == nil && o.info == nil
	}
	return os.SameFile(s.info, o.info) && s.info.Size() == o.info.Size() && s.info.ModTime().Equal(o.info.ModTime())
}

// Kept holds what files say, for connections that begin. Files that change are
// read again; while they do not fit each other, as in the middle of a change,
// what they said before counts.
type Kept struct {
	files Files
	log   *slog.Logger

	mu    sync.Mutex
	seen  [3]stamp
	state state
	said  string // why they do not fit
}

// Load reads files for the first time.
func Load(f Files, log *slog.Logger) (*Kept, error) {
	k := &Kept{files: f, log: log, seen: f.stamps()}
	var err error
	k.state, err = f.read()
	return k, err
}

func (f Files) stamps() [3]stamp { return [3]stamp{stampOf(f.CA), stampOf(f.Cert), stampOf(f.Key)} }

// now returns what the files hold now.
func (k *Kept) now() state {
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := k.files.stamps()
	if seen[0].same(k.seen[0]) && seen[1].same(k.seen[1]) && seen[2].same(k.seen[2]) {
		return k.state
	}
	s, err := k.files.read()
	if err != nil {
		if err.Error() != k.said {
			k.said = err.Error()
			k.log.Warn("certificates have changed, and can't be taken up; those of before stay", "error", err)
		}
		return k.state
	}
	k.seen, k.state, k.said = seen, s, ""
	k.log.Info("certificates have changed, and count for new connections", "cert", k.files.Cert)
	return k.state
}

// Roots returns the authorities that are trusted.
func (k *Kept) Roots() *x509.CertPool { return k.now().roots }

// Show is GetClientCertificate of a tls.Config.
func (k *Kept) Show(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if s := k.now(); s.pair != nil {
		return s.pair, nil
	}
	return &tls.Certificate{}, nil
}

// Server returns the side that is called, of which base has the rest: it demands
// a certificate of an authority.
func (k *Kept) Server(base *tls.Config) *tls.Config {
	outer := base.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		s := k.now()
		c := base.Clone()
		c.ClientCAs, c.ClientAuth = s.roots, tls.RequireAndVerifyClientCert
		if s.pair != nil {
			c.Certificates = []tls.Certificate{*s.pair}
		}
		return c, nil
	}
	return outer
}

// Need is a name that a certificate has to have: one of Any, which are IP
// addresses or names.
type Need struct {
	What string // who looks for it
	Any  []string
}

// Check looks at the certificate as others will: whether it counts now, is of a
// trusted authority, good for both sides, and has the names that it needs.
func (f Files) Check(now time.Time, needs ...Need) error {
	s, err := f.read()
	if err != nil {
		return err
	}
	if s.pair == nil {
		return nil
	}
	return f.check(s, now, needs)
}

func (f Files) check(s state, now time.Time, needs []Need) error {
	leaf := s.pair.Leaf
	bad := func(format string, a ...any) error {
		return san.Errorf(san.ErrInvalid, "TLS: certificate %s: %s; docs/cluster.md says how to make one", f.Cert, fmt.Sprintf(format, a...))
	}
	switch {
	case now.After(leaf.NotAfter):
		return bad("it expired at %s", leaf.NotAfter.UTC().Format(time.DateTime))
	case now.Before(leaf.NotBefore):
		return bad("it counts from %s on, and the clock of this machine says %s", leaf.NotBefore.UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	}
	between := x509.NewCertPool()
	for _, der := range s.pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	for _, side := range []struct {
		usage x509.ExtKeyUsage
		what  string
	}{{x509.ExtKeyUsageServerAuth, "servers (serverAuth)"}, {x509.ExtKeyUsageClientAuth, "clients (clientAuth)"}} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: s.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{side.usage}})
		var usage x509.CertificateInvalidError
		switch {
		case err == nil:
		case errors.As(err, &usage) && usage.Reason == x509.IncompatibleUsage:
			return bad("its extended key usage is not good for %s, and it is shown as server and as client", side.what)
		default:
			return bad("no authority in %s vouches for it: %v", f.CA, err)
		}
	}
	for _, n := range needs {
		if !names(leaf, n.Any) {
			return bad("it names %s; %s look for %s in it (subjectAltName)", listed(leaf), n.What, strings.Join(n.Any, " or "))
		}
	}
	return nil
}

func names(leaf *x509.Certificate, wanted []string) bool {
	for _, n := range wanted {
		if leaf.VerifyHostname(n) == nil {
			return true
		}
	}
	return false
}

// listed are the names of a certificate.
func listed(leaf *x509.Certificate) string {
	var all []string
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	all = append(all, leaf.DNSNames...)
	if len(all) == 0 {
		return "nobody"
	}
	return strings.Join(all, ", ")
}

// Expiry is when something in a file ends to count.
type Expiry struct {
	File string
	What string // the subject of a certificate
	At   time.Time
}

// Expiries returns until when the certificate counts, and each authority that is
// trusted.
func (f Files) Expiries() (all []Expiry, err error) {
	s, err := f.read()
	if err != nil {
		return nil, err
	}
	if s.pair != nil {
		all = append(all, Expiry{f.Cert, s.pair.Leaf.Subject.String(), s.pair.Leaf.NotAfter})
	}
	if f.CA == "" {
		return all, nil
	}
	trusted, err := authorities(f.CA)
	for _, c := range trusted {
		all = append(all, Expiry{f.CA, c.Subject.String(), c.NotAfter})
	}
	return all, err
}

// authorities returns the certificates of a PEM file.
func authorities(name string) (all []*x509.Certificate, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return all, nil
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, c)
		}
	}
}

// Refusal reports whether an error is one of TLS or of certificates, by its text:
// some come through layers that keep nothing else.
func Refusal(text string) bool {
	return strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ")
}
