package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"sango/internal/api/gen/sango/v1/sangov1connect"
)

// maxMessage bounds one message, in bytes: a chunk of data and what is around
// it.
const maxMessage = 4 << 20

// Server answers management calls.
type Server struct {
	http http.Server
}

// NewServer returns a server for n.
func NewServer(n Node) *Server {
	opt := connect.WithHandlerOptions(connect.WithInterceptors(toWireErrors{}), connect.WithReadMaxBytes(maxMessage))
	mux := http.NewServeMux()
	mux.Handle(sangov1connect.NewVolumeServiceHandler(volumeService{n}, opt))
	mux.Handle(sangov1connect.NewTargetServiceHandler(targetService{n}, opt))
	mux.Handle(sangov1connect.NewHostServiceHandler(hostService{n}, opt))
	mux.Handle(sangov1connect.NewGatewayServiceHandler(gatewayService{n}, opt))
	return &Server{http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
}

// Serve answers calls from l until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown ends the server: no new calls, those under way may finish until
// ctx is done, the rest are cut off.
func (s *Server) Shutdown(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
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
