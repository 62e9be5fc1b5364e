package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/nbdserver"
)

// The exports.
const (
	disk512  = "disk"
	disk4096 = "disk 4k" // a name with a blank is one too
	frozen   = "frozen"
)

const diskSize = 256 << 20 // bytes

// place is where clients reach the server.
type place string

const (
	unix   place = "unix"
	tcp    place = "tcp"
	secure place = "tls"
)

// server is an NBD server in this process, once in the clear and once with TLS only, whose devices are under
// block.Check.
type server struct {
	plain, tlsOnly *nbdserver.Server
	socket         string
	tcpAddr        *net.TCPAddr
	tlsAddr        *net.TCPAddr
	certificates   string // directory
	disk           *mem.Device
	wg             sync.WaitGroup

	mu     sync.Mutex
	faults []string
}

// Errorf implements block.Reporter.
func (s *server) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func startServer(dir string) (*server, error) {
	s := &server{socket: filepath.Join(dir, "nbd.sock"), certificates: filepath.Join(dir, "tls")}
	conf, err := makeCertificates(s.certificates)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	s.plain = nbdserver.New(nbdserver.Options{Logger: log})
	s.tlsOnly = nbdserver.New(nbdserver.Options{Logger: log, TLS: conf, RequireTLS: true})
	for name, o := range map[string]mem.Options{
		disk512: {Size: diskSize}, disk4096: {Size: diskSize, BlockSize: 4096}, frozen: {Size: diskSize, ReadOnly: true},
	} {
		d, err := mem.New(o)
		if err != nil {
			return nil, err
		}
		checked := block.Check(d, s)
		export := nbdserver.ExportOptions{Description: "a disk", Default: name == disk512}
		if err := errors.Join(s.plain.Add(name, checked, export), s.tlsOnly.Add(name, checked, export)); err != nil {
			return nil, err
		}
		if name == disk512 {
			s.disk = d
		}
	}
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		return nil, err
	}
	s.serve(s.plain, l)
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.tcpAddr = l.Addr().(*net.TCPAddr)
	s.serve(s.plain, l)
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.tlsAddr = l.Addr().(*net.TCPAddr)
	s.serve(s.tlsOnly, l)
	return s, nil
}

func (s *server) serve(srv *nbdserver.Server, l net.Listener) {
	s.wg.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, nbdserver.ErrClosed) {
			s.Errorf("serving %s: %v", l.Addr(), err)
		}
	})
}

// uri of an export.
func (s *server) uri(where place, export string) string {
	u := url.URL{Scheme: "nbd+unix", Path: "/" + export, RawQuery: "socket=" + s.socket}
	switch where {
	case tcp:
		u = url.URL{Scheme: "nbd", Host: s.tcpAddr.String(), Path: "/" + export}
	case secure:
		u = url.URL{Scheme: "nbds", Host: fmt.Sprintf("localhost:%d", s.tlsAddr.Port), Path: "/" + export, RawQuery: "tls-certificates=" + s.certificates}
	}
	return u.String()
}

func (s *server) tcp() (host, port string) { return s.tcpAddr.IP.String(), fmt.Sprint(s.tcpAddr.Port) }

func (s *server) tls() (host, port string) { return "localhost", fmt.Sprint(s.tlsAddr.Port) }

// grow doubles the size of disk512.
func (s *server) grow() error {
	if err := s.disk.Resize(2 * diskSize); err != nil {
		return err
	}
	_, err := s.plain.Resized(disk512)
	return err
}

// stop ends the server and says what was found wrong.
func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(s.plain.Close(ctx), s.tlsOnly.Close(ctx)); err != nil {
		return err
	}
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) > 0 {
		return fmt.Errorf("%d faults, the first: %s", len(s.faults), s.faults[0])
	}
	return nil
}

// makeCertificates makes a CA and a server's certificate. The directory is one that libnbd and QEMU find the CA in.
func makeCertificates(dir string) (*tls.Config, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey, caDER, err := sign(ca, ca, nil)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key, der, err := sign(leaf, ca, caKey)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	if err := os.WriteFile(filepath.Join(dir, "ca-cert.pem"), text, 0o600); err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}

// sign makes a key and its certificate, signed by parent's key, or its own where that is nil.
func sign(cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	return key, der, err
}
