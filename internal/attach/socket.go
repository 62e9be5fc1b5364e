package attach

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"sango/internal/block"
	"sango/internal/nbdserver"
	"sango/internal/san"
)

// socketServer is a frontend: an NBD server on a unix socket, on TCP or on
// both. Each has its own, for TLS is asked for on TCP alone: the permissions of
// a unix socket protect it.
type socketServer struct {
	servers []*nbdserver.Server
	name    string
	path    string     // of the unix socket; "": none
	tcp     string     // address, with the port that was found; "": none
	over    chan error // what Serve of each came to
	serving sync.WaitGroup
}

// startSocket serves dev where o says, as the default export and by the name
// of the attachment.
func startSocket(ctx context.Context, o *Options, dev block.Device) (_ frontend, err error) {
	s := &socketServer{name: o.Name, path: o.SocketPath, over: make(chan error, 2)}
	var listeners []net.Listener
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	if o.SocketPath != "" {
		l, err := listen(o.SocketPath)
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
		s.servers = append(s.servers, nbdserver.New(nbdserver.Options{Depth: o.Depth, Logger: o.Logger}))
	}
	if o.Listen != "" {
		var c net.ListenConfig
		l, err := c.Listen(ctx, "tcp", o.Listen)
		if err != nil {
			return nil, san.Errorf(san.ErrRefused, "NBD on %s: %v; choose an address of this host and a free port", o.Listen, err)
		}
		listeners = append(listeners, l)
		s.tcp = l.Addr().String()
		if o.TLSClients == "" {
			o.Logger.Warn("whoever reaches the NBD server may read and write the volume", "addr", s.tcp)
		}
		s.servers = append(s.servers, nbdserver.New(nbdserver.Options{
			Depth: o.Depth, Logger: o.Logger, TLS: o.tls, RequireTLS: o.tls != nil,
		}))
	}
	for _, srv := range s.servers {
		if err := srv.Add(o.Name, dev, nbdserver.ExportOptions{Description: o.Source.String(), ReadOnly: o.ReadOnly, Default: true}); err != nil {
			return nil, err
		}
	}
	for i, srv := range s.servers {
		s.serving.Go(func() {
			err := srv.Serve(listeners[i])
			if errors.Is(err, nbdserver.ErrClosed) {
				err = nil
			}
			s.over <- err
		})
	}
	return s, nil
}

// checkListen says what is wrong with the address and the TLS files of o.
func (o *Options) checkListen() error {
	if (o.TLSCert == "") != (o.TLSKey == "") || o.TLSClients != "" && o.TLSCert == "" {
		return san.Errorf(san.ErrInvalid, "TLS needs a certificate and its key: --tls-cert and --tls-key, and --tls-clients goes with both")
	}
	if o.Listen == "" {
		if o.TLSCert != "" || o.Insecure {
			return san.Errorf(san.ErrInvalid, "TLS and --insecure are for NBD on TCP: name its address with --listen")
		}
		return nil
	}
	a, err := netip.ParseAddrPort(o.Listen)
	if err != nil {
		return san.Errorf(san.ErrInvalid, "NBD on %q: write it as IP:PORT; port 0 takes a free one", clip(o.Listen))
	}
	if !a.Addr().Unmap().IsLoopback() && o.TLSClients == "" && !o.Insecure {
		return san.Errorf(san.ErrInvalid, "NBD on %s: whoever reaches it could read and write the volume; admit clients by their certificates with --tls-clients, or everybody with --insecure", o.Listen)
	}
	return nil
}

// loadTLS reads the files that o names.
func (o *Options) loadTLS() error {
	if o.TLSCert == "" {
		return nil
	}
	c, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	if err != nil {
		return san.Errorf(san.ErrInvalid, "TLS certificate %s and key %s: %v", o.TLSCert, o.TLSKey, err)
	}
	o.tls = &tls.Config{Certificates: []tls.Certificate{c}}
	if o.TLSClients == "" {
		return nil
	}
	pem, err := os.ReadFile(o.TLSClients)
	if err != nil {
		return san.Errorf(san.ErrInvalid, "certificates of clients: %v", err)
	}
	o.tls.ClientAuth, o.tls.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !o.tls.ClientCAs.AppendCertsFromPEM(pem) {
		return san.Errorf(san.ErrInvalid, "certificates of clients: %s holds no certificate in PEM form", o.TLSClients)
	}
	return nil
}

// listen listens on a unix socket for its owner alone. A socket that nobody
// listens on is replaced.
func listen(path string) (net.Listener, error) {
	st, err := os.Lstat(path)
	if err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return nil, san.Errorf(san.ErrRefused, "%s exists and is not a socket; name another path, or remove it", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, san.Errorf(san.ErrRefused, "another process listens on %s; end it, or name another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, san.Errorf(san.ErrRefused, "the socket %s that a dead process left can't be removed: %v", path, err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, san.Errorf(san.ErrRefused, "socket %s: %v; name a path in a directory that exists and is writable", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

func (s *socketServer) place() (string, int, string) { return "", noDevice, s.path }

// resize has nobody to tell: NBD has no message for it, and requests are
// checked against the size of the moment.
func (s *socketServer) resize(context.Context, int64) error {
	var errs []error
	for _, srv := range s.servers {
		_, err := srv.Resized(s.name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// wait returns when no server serves any more; one that fails ends the other.
func (s *socketServer) wait() error {
	var first error
	for range s.servers {
		err := <-s.over
		if err == nil || first != nil {
			continue
		}
		first = err
		ctx, cancel := context.WithTimeout(context.Background(), clientTime)
		err = s.stop(ctx, true)
		cancel()
		first = errors.Join(first, err)
	}
	return first
}

// stop ends the clients' connections: nobody can tell whether an NBD client is
// in the middle of something.
func (s *socketServer) stop(ctx context.Context, _ bool) error {
	closed := make(chan error, len(s.servers))
	for _, srv := range s.servers {
		go func() { closed <- srv.Close(ctx) }()
	}
	var errs []error
	for range s.servers {
		errs = append(errs, <-closed)
	}
	s.serving.Wait()
	return errors.Join(errs...)
}
