package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
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
	cut   context.CancelFunc // ends the contexts of all calls
	calls sync.WaitGroup     // those under way
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
	mux := http.NewServeMux()
	mux.Handle(sangov1connect.NewVolumeServiceHandler(volumeService{n}, opt))
	mux.Handle(sangov1connect.NewTargetServiceHandler(targetService{n}, opt))
	mux.Handle(sangov1connect.NewHostServiceHandler(hostService{n}, opt))
	mux.Handle(sangov1connect.NewGatewayServiceHandler(gatewayService{n}, opt))
	mux.Handle(sangov1connect.NewClusterServiceHandler(clusterService{n.Meta()}, opt))
	return newServer(mux)
}

func newServer(mux *http.ServeMux) *Server {
	ctx, cut := context.WithCancel(context.Background())
	s := &Server{cut: cut}
	s.http = http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.calls.Add(1)
			defer s.calls.Done()
			mux.ServeHTTP(w, r)
		}),
	}
	return s
}

// Serve answers calls from l until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown ends the server: no new calls, those under way may finish for a
// moment and not after ctx is done, the rest are cut off. No call runs any more
// when it returns.
func (s *Server) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shutdownGrace)
	defer cancel()
	err := s.http.Shutdown(ctx)
	s.cut()
	if err != nil {
		s.http.Close()
	}
	s.calls.Wait()
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
