package api

import (
	"context"
	"maps"
	"slices"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
)

// hostService implements sango.v1.HostService.
type hostService struct{ n Node }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (s hostService) CreateHost(ctx context.Context, r *connect.Request[v1.CreateHostRequest]) (*connect.Response[v1.CreateHostResponse], error) {
	h, err := messageHost(r.Msg.GetHost())
	if err != nil {
		return nil, err
	}
	if err := change(ctx, s.n, func(tx *meta.Tx) error { return tx.CreateHost(h) }); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.CreateHostResponse{Host: hostMessage(h, nil)}), nil
}

func (s hostService) ListHosts(ctx context.Context, _ *connect.Request[v1.ListHostsRequest]) (*connect.Response[v1.ListHostsResponse], error) {
	resp := &v1.ListHostsResponse{}
	err := s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		targets, err := tx.Targets()
		if err != nil {
			return err
		}
		hosts, err := tx.Hosts()
		for _, h := range hosts {
			resp.Hosts = append(resp.Hosts, hostMessage(h, targets))
		}
		return err
	})
	return connect.NewResponse(resp), err
}

func (s hostService) AllowHost(ctx context.Context, r *connect.Request[v1.AllowHostRequest]) (*connect.Response[v1.AllowHostResponse], error) {
	err := change(ctx, s.n, func(tx *meta.Tx) error { return tx.Allow(r.Msg.GetHost(), iqn(r.Msg.GetTarget())) })
	return connect.NewResponse(&v1.AllowHostResponse{}), err
}

func (s hostService) DenyHost(ctx context.Context, r *connect.Request[v1.DenyHostRequest]) (*connect.Response[v1.DenyHostResponse], error) {
	err := change(ctx, s.n, func(tx *meta.Tx) error { return tx.Deny(r.Msg.GetHost(), iqn(r.Msg.GetTarget())) })
	return connect.NewResponse(&v1.DenyHostResponse{}), err
}

func (s hostService) DeleteHost(ctx context.Context, r *connect.Request[v1.DeleteHostRequest]) (*connect.Response[v1.DeleteHostResponse], error) {
	err := change(ctx, s.n, func(tx *meta.Tx) error { return tx.DeleteHost(r.Msg.GetName()) })
	return connect.NewResponse(&v1.DeleteHostResponse{}), err
}
