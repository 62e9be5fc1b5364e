package api

import (
	"context"
	"maps"
	"slices"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
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

func (s hostService) SetHost(ctx context.Context, r *connect.Request[v1.SetHostRequest]) (*connect.Response[v1.SetHostResponse], error) {
	want, err := messageHost(&v1.Host{Accounts: r.Msg.GetAccounts().GetAccounts(), Allowed: r.Msg.GetRanges().GetAllowed()})
	if err != nil {
		return nil, err
	}
	var h *san.Host
	var targets []*san.Target
	if err := change(ctx, s.n, func(tx *meta.Tx) (err error) {
		if h, err = tx.Host(r.Msg.GetName()); err != nil {
			return err
		}
		if targets, err = tx.Targets(); err != nil {
			return err
		}
		if r.Msg.GetAccounts() != nil {
			h.Auth = want.Auth
		}
		if r.Msg.GetRanges() != nil {
			h.Allowed = want.Allowed
		}
		return tx.PutHost(h)
	}); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.SetHostResponse{Host: hostMessage(h, targets)}), nil
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
