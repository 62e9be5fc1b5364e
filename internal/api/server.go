package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"sango/internal/api/gen/sango/v1/sangov1connect"
)

// maxMessage bounds one message, in bytes: a chunk of data and what is around
// it.
const maxMessage = 4 << 20

// Server answers management calls.
type Server struct {
	http  http.Server
	peers http.Server        // for other gateways
	cut   context.CancelFunc // ends the contexts of all calls
	calls sync.WaitGroup     // those under way
	hops  *peers             // the way to other gateways; nil: none
	from  atomic.Int32       // connections of other gateways
}

// shutdownGrace is what calls under way are given to finish. Transfers may
// take hours and can be repeated.
const shutdownGrace = 2 * time.Second

func handlerOptions() connect.HandlerOption {
	return connect.WithHandlerOptions(connect.WithInterceptors(toWireErrors{}), connect.WithReadMaxBytes(maxMessage))
}

// NewServer returns a server for n.
func NewServer(n Node) *Server {
	opt := handlerOptions()
	hops := newPeers(n)
	all := everywhere{n, hops}
	volumes := ownedService{volumeService{all, hops}}
	mux := http.NewServeMux()
	mux.Handle(sangov1connect.NewVolumeServiceHandler(volumes, opt))
	mux.Handle(sangov1connect.NewTargetServiceHandler(targetService{all, hops}, opt))
	mux.Handle(sangov1connect.NewHostServiceHandler(hostService{all}, opt))
	mux.Handle(sangov1connect.NewGatewayServiceHandler(gatewayService{all, hops}, opt))
	mux.Handle(sangov1connect.NewClusterServiceHandler(clusterService{all}, opt))
	s := newServer(mux)
	s.hops = hops
	peer := http.NewServeMux()
	peer.Handle(sangov1connect.NewVolumeServiceHandler(volumes, opt))
	peer.Handle(sangov1connect.NewPeerServiceHandler(peerService{n}, opt))
	s.peers.Handler = s.counted(onlyPassedOn(peer))
	return s
}

func newServer(h http.Handler) *Server {
	ctx, cut := context.WithCancel(context.Background())
	s := &Server{cut: cut}
	under := func(net.Listener) context.Context { return ctx }
	s.http = http.Server{ReadHeaderTimeout: headerTime, BaseContext: under, Handler: s.counted(h)}
	s.peers = http.Server{
		ReadHeaderTimeout: headerTime, IdleTimeout: 2 * peerIdle, BaseContext: under, Handler: http.NotFoundHandler(), ConnState: s.bound,
	}
	return s
}

// maxPeers bounds the connections of other gateways, of which those count too
// that have not shown a certificate yet.
const maxPeers = 512

// bound closes connections of other gateways that are too many.
func (s *Server) bound(c net.Conn, st http.ConnState) {
	switch st {
	case http.StateNew:
		if s.from.Add(1) > maxPeers {
			c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.from.Add(-1)
	}
}

// headerTime bounds the wait for the head of a call.
const headerTime = 10 * time.Second

// counted has Shutdown wait for the calls of h.
func (s *Server) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		defer s.calls.Done()
		h.ServeHTTP(w, r)
	})
}

// onlyPassedOn refuses what does not come from a gateway: without certificates a
// browser on the same network could be made to call.
func onlyPassedOn(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(passedOn) == "" {
			http.Error(w, "this is for other gateways", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Serve answers calls from l until Shutdown.
func (s *Server) Serve(l net.Listener) error { return until(s.http.Serve(l)) }

// ServePeers answers the calls of other gateways from l until Shutdown: what
// they pass on because this one owns the volume, and what it alone knows. Who
// connects there has shown that it is a gateway.
func (s *Server) ServePeers(l net.Listener) error { return until(s.peers.Serve(l)) }

func until(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown ends the server: no new calls, those under way may finish for a
// moment and not after ctx is done, the rest are cut off. No call runs any more
// when it returns.
func (s *Server) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shutdownGrace)
	defer cancel()
	var ends sync.WaitGroup
	errs := make([]error, 2)
	for i, h := range []*http.Server{&s.http, &s.peers} {
		ends.Go(func() { errs[i] = h.Shutdown(ctx) })
	}
	ends.Wait()
	s.cut()
	if errors.Join(errs...) != nil {
		s.http.Close()
		s.peers.Close()
	}
	s.calls.Wait()
	if s.hops != nil {
		s.hops.close()
	}
}

// toWireErrors gives the errors of handlers their codes.
type toWireErrors struct{}

func (toWireErrors) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		resp, err := next(ctx, req)
		return resp, toWire(err)
	}
}

func (toWireErrors) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (toWireErrors) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return toWire(next(ctx, conn))
	}
}
