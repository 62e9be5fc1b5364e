package api

import (
	"context"
	"errors"
	"net"
	"net/http"

	"connectrpc.com/connect"

	"sango/internal/api/gen/sango/v1/sangov1connect"
	"sango/internal/san"
)

// Client calls a node. Errors of its calls carry a kind of package san.
type Client struct {
	sangov1connect.VolumeServiceClient
	sangov1connect.TargetServiceClient
	sangov1connect.HostServiceClient
	sangov1connect.GatewayServiceClient
	sangov1connect.ClusterServiceClient

	// Absent says why nobody answers in the directory, nil where it does not know
	// better; nil: nobody is asked.
	Absent func() error

	http *http.Client
}

// NewClient returns a client of the node that serves dir. It connects at the
// first call.
func NewClient(dir string) *Client {
	c := &Client{}
	h := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dial(ctx, dir)
			if errors.Is(err, san.ErrUnavailable) && c.Absent != nil {
				if why := c.Absent(); why != nil {
					err = why
				}
			}
			return conn, err
		},
	}}
	const base = "http://sango" // the host is not looked at: dir says where
	opt := connect.WithClientOptions(
		connect.WithInterceptors(errorKinds{}),
		connect.WithAcceptCompression("gzip", nil, nil), // the other side is on this machine
	)
	*c = Client{
		VolumeServiceClient:  sangov1connect.NewVolumeServiceClient(h, base, opt),
		TargetServiceClient:  sangov1connect.NewTargetServiceClient(h, base, opt),
		HostServiceClient:    sangov1connect.NewHostServiceClient(h, base, opt),
		GatewayServiceClient: sangov1connect.NewGatewayServiceClient(h, base, opt),
		ClusterServiceClient: sangov1connect.NewClusterServiceClient(h, base, opt),
		http:                 h,
	}
	return c
}

// Close gives the client's connections up.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// errorKinds gives the errors of unary calls their kinds. Streams keep the
// errors of connect; their callers use FromWire.
type errorKinds struct{}

func (errorKinds) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		resp, err := next(ctx, req)
		return resp, FromWire(err)
	}
}

func (errorKinds) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (errorKinds) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}
