package api

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// gatewayService implements sango.v1.GatewayService.
type gatewayService struct{ n Node }

func gatewayMessage(g *meta.Gateway, st Status) *v1.Gateway {
	m := &v1.Gateway{Name: g.Name, Group: int32(g.Group), Portals: portalMessages(g), Started: stamp(g.Started), State: "serving"}
	if g.Name == st.Gateway && st.Draining {
		m.State = "draining"
	}
	return m
}

func (s gatewayService) ListGateways(ctx context.Context, _ *connect.Request[v1.ListGatewaysRequest]) (*connect.Response[v1.ListGatewaysResponse], error) {
	st, err := s.n.Status(ctx)
	if err != nil {
		return nil, err
	}
	resp := &v1.ListGatewaysResponse{}
	err = s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		all, err := tx.Gateways()
		for _, g := range all {
			resp.Gateways = append(resp.Gateways, gatewayMessage(g, st))
		}
		return err
	})
	return connect.NewResponse(resp), err
}

func (s gatewayService) GetGateway(ctx context.Context, r *connect.Request[v1.GetGatewayRequest]) (*connect.Response[v1.GetGatewayResponse], error) {
	st, err := s.n.Status(ctx)
	if err != nil {
		return nil, err
	}
	snap, err := s.n.Meta().Load(ctx)
	if err != nil {
		return nil, err
	}
	g := snap.Gateways[r.Msg.GetName()]
	if g == nil {
		return nil, san.Errorf(san.ErrNotFound, "there is no gateway %s; 'sango gateway list' shows what there is", r.Msg.GetName())
	}
	m := gatewayMessage(g, st)
	if g.Name == st.Gateway {
		for _, sess := range s.n.Sessions() {
			m.Sessions = append(m.Sessions, sessionMessage(sess))
		}
	}
	return connect.NewResponse(&v1.GetGatewayResponse{Gateway: m}), nil
}

// describeNode adds what the metadata tells of a node to its status. It reads no
// more than it tells: there may be thousands of volumes.
func describeNode(tx *meta.Tx, st Status, jobs map[san.UUID]Job, resp *v1.GetStatusResponse) error {
	c, err := tx.Counts()
	if err != nil {
		return err
	}
	resp.Volumes, resp.Targets, resp.Hosts, resp.Luns = int32(c.Volumes), int32(c.Targets), int32(c.Hosts), int32(c.LUNs)
	all, err := tx.Gateways()
	if err != nil {
		return err
	}
	for _, g := range all {
		if g.Name == st.Gateway {
			resp.Gateway = gatewayMessage(g, st)
		}
	}
	resp.Jobs = nil
	for id, j := range jobs {
		v, err := tx.Volume(id)
		if errors.Is(err, san.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		resp.Jobs = append(resp.Jobs, &v1.VolumeJob{Volume: v.Name, Job: jobMessage(j)})
	}
	return nil
}

func (s gatewayService) GetStatus(ctx context.Context, _ *connect.Request[v1.GetStatusRequest]) (*connect.Response[v1.GetStatusResponse], error) {
	st, err := s.n.Status(ctx)
	if err != nil {
		return nil, err
	}
	resp := &v1.GetStatusResponse{
		Version: st.Version, Pid: int32(os.Getpid()), Dir: st.Dir, Sessions: int32(len(s.n.Sessions())),
		StoreFree: st.StoreFree, StoreSize: st.StoreSize, Problems: st.Problems, ClockJumps: int32(st.ClockJumps),
	}
	jobs := s.n.Volumes().Jobs()
	if err := s.n.Meta().Update(ctx, func(tx *meta.Tx) error { return describeNode(tx, st, jobs, resp) }); err != nil {
		return nil, err
	}
	slices.SortFunc(resp.Jobs, func(a, b *v1.VolumeJob) int { return strings.Compare(a.GetVolume(), b.GetVolume()) })
	return connect.NewResponse(resp), nil
}
