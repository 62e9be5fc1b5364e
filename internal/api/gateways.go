package api

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// gatewayService implements sango.v1.GatewayService. It works on a witness too,
// which has no peers.
type gatewayService struct {
	n     Base
	peers *peers
}

func gatewayMessage(g *meta.Gateway, st Status) *v1.Gateway {
	m := &v1.Gateway{Name: g.Name, Group: int32(g.Group), Portals: portalMessages(g), Started: stamp(g.Started), State: "serving"}
	if g.Name == st.Gateway && st.Draining {
		m.State = "draining"
	}
	return m
}

// gateways returns all that there are.
func (s gatewayService) gateways(ctx context.Context, st Status) (all []*v1.Gateway, err error) {
	err = s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		known, err := tx.Gateways()
		if err != nil {
			return err
		}
		if s.n.Cluster() != nil {
			now, err := tx.State()
			if err == nil {
				all = clusterGateways(known, now, st)
			}
			return err
		}
		all = nil
		for _, g := range known {
			all = append(all, gatewayMessage(g, st))
		}
		return nil
	})
	return all, err
}

func (s gatewayService) ListGateways(ctx context.Context, _ *connect.Request[v1.ListGatewaysRequest]) (*connect.Response[v1.ListGatewaysResponse], error) {
	st, err := s.n.Status(ctx)
	if err != nil {
		return nil, err
	}
	resp := &v1.ListGatewaysResponse{}
	resp.Old, err = s.orRemember(ctx, func(ctx context.Context) (err error) {
		resp.Gateways, err = s.gateways(ctx, st)
		return err
	}, func(snap *meta.Snapshot, now *meta.State) {
		resp.Gateways = clusterGateways(slices.Collect(maps.Values(snap.Gateways)), now, st)
		outdate(resp.Gateways, s.n.Cluster().Here)
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(resp), nil
}

// gateway returns one.
func (s gatewayService) gateway(ctx context.Context, name string, st Status) (*v1.Gateway, error) {
	all, err := s.gateways(ctx, st)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if g.GetName() == name {
			return g, nil
		}
	}
	return nil, san.Errorf(san.ErrNotFound, "there is no gateway %s; 'sango gateway list' shows what there is", name)
}

func (s gatewayService) GetGateway(ctx context.Context, r *connect.Request[v1.GetGatewayRequest]) (*connect.Response[v1.GetGatewayResponse], error) {
	st, err := s.n.Status(ctx)
	if err != nil {
		return nil, err
	}
	m, err := s.gateway(ctx, r.Msg.GetName(), st)
	if err != nil {
		return nil, err
	}
	node, _ := s.n.(Node)
	c := s.n.Cluster()
	switch {
	case node != nil && (m.Name == st.Gateway || c != nil && c.Here(m.Name)):
		for _, sess := range node.Sessions() {
			m.Sessions = append(m.Sessions, sessionMessage(sess))
		}
	case c == nil || m.State != stateServing && m.State != stateDraining:
	case s.peers == nil:
		m.Silent = "a witness asks no gateway"
	default:
		a := s.peers.ask(ctx, map[string]*v1.DescribeRequest{m.Name: {Sessions: true}})[m.Name]
		if a.err != nil {
			m.Silent = a.err.Error()
		} else {
			m.Sessions = a.GetSessions()
		}
	}
	m.Sessions = slices.DeleteFunc(m.Sessions, func(sess *v1.Session) bool { // a process may have several gateways
		return !slices.ContainsFunc(m.Portals, func(p *v1.Portal) bool { return p.GetTag() == sess.GetTag() })
	})
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
		Version: st.Version, Pid: int32(os.Getpid()), Dir: st.Dir,
		StoreFree: st.StoreFree, StoreSize: st.StoreSize, DirFree: st.DirFree, DirSize: st.DirSize, Problems: st.Problems, ClockJumps: int32(st.ClockJumps),
	}
	var jobs map[san.UUID]Job
	if n, ok := s.n.(Node); ok {
		resp.Sessions = int32(len(n.Sessions()))
		jobs = n.Volumes().Jobs()
	}
	var all agreed
	resp.Old, err = s.orRemember(ctx, func(ctx context.Context) error {
		err := s.n.Meta().Update(ctx, func(tx *meta.Tx) error { return describeNode(tx, st, jobs, resp) })
		if err == nil && s.n.Cluster() != nil {
			all, err = s.cluster(ctx, st)
		}
		return err
	}, func(snap *meta.Snapshot, now *meta.State) {
		rememberNode(snap, st, jobs, resp)
		all = agreedOn(slices.Collect(maps.Values(snap.Gateways)), now, slices.Collect(maps.Values(snap.Volumes)), st)
		outdate(all.Gateways, s.n.Cluster().Here)
		all.Coordinator = ""
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(resp.Jobs, func(a, b *v1.VolumeJob) int { return strings.Compare(a.GetVolume(), b.GetVolume()) })
	if resp.Cluster = all.Cluster; resp.Cluster != nil {
		resp.Problems = append(resp.Problems, all.problems...)
		s.troubles(ctx, all.Coordinator, all.failed)
		for _, g := range resp.Cluster.Gateways {
			if resp.Gateway != nil && g.Name == resp.Gateway.Name {
				resp.Gateway = g
			}
		}
	}
	return connect.NewResponse(resp), nil
}
