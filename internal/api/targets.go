package api

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/san"
)

// targetService implements sango.v1.TargetService.
type targetService struct {
	n     Node
	peers *peers
}

// change commits fn and waits until it is in effect.
func change(ctx context.Context, n Node, fn func(*meta.Tx) error) error {
	rev, err := n.Meta().UpdateAt(ctx, fn)
	if err != nil {
		return err
	}
	return n.Sync(ctx, rev)
}

func (s targetService) describe(ctx context.Context, name string) (m *v1.Target, err error) {
	if err := s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		t, err := tx.Target(name)
		if err != nil {
			return err
		}
		volumes, err := mappedBy(tx, t)
		if err != nil {
			return err
		}
		m = targetMessage(t, volumes)
		gateways, err := tx.Gateways()
		for _, g := range gateways {
			m.Portals = append(m.Portals, portalMessages(g)...)
		}
		return err
	}); err != nil {
		return nil, err
	}
	sessions, silent, err := s.peers.sessions(ctx)
	if err != nil {
		return nil, err
	}
	addSessions(m, sessions, silent)
	return m, nil
}

func addSessions(m *v1.Target, sessions []*v1.Session, silent []string) {
	for _, sess := range sessions {
		if sess.GetTarget() == m.GetName() {
			m.Sessions = append(m.Sessions, sess)
		}
	}
	m.Silent = silent
}

// oneByOne is how many volumes are looked up by themselves rather than with
// all others.
const oneByOne = 100

// mappedBy returns the volumes that a target maps, and perhaps others.
func mappedBy(tx *meta.Tx, t *san.Target) (map[san.UUID]*san.Volume, error) {
	volumes := map[san.UUID]*san.Volume{}
	if len(t.LUNs) > oneByOne {
		all, err := tx.Volumes()
		for _, v := range all {
			volumes[v.ID] = v
		}
		return volumes, err
	}
	for _, m := range t.LUNs {
		v, err := tx.Volume(m.Volume)
		if err != nil && !errors.Is(err, san.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			volumes[v.ID] = v
		}
	}
	return volumes, nil
}

// checkAccounts refuses accounts of a target that nobody would be asked for.
func checkAccounts(t *san.Target) error {
	if len(t.Auth) > 0 && !t.Open {
		return san.Errorf(san.ErrInvalid, "target %s: accounts of a target are for --open; without it each host has its own ('sango host set NAME --chap-user')", t.Name)
	}
	return nil
}

// checkExplicit refuses to let hosts ask for another gateway where there is none.
func (s targetService) checkExplicit(name string, explicit bool) error {
	if explicit && s.n.Cluster() == nil {
		return san.Errorf(san.ErrRefused, "target %s: with --explicit-alua hosts ask for the gateway that serves a volume, and this one serves alone; leave it out", name)
	}
	return nil
}

func (s targetService) CreateTarget(ctx context.Context, r *connect.Request[v1.CreateTargetRequest]) (*connect.Response[v1.CreateTargetResponse], error) {
	t := &san.Target{Name: iqn(r.Msg.GetName()), Open: r.Msg.GetOpen(), Auth: accounts(r.Msg.GetAccounts()), Explicit: r.Msg.GetExplicitAlua()}
	if err := checkAccounts(t); err != nil {
		return nil, err
	}
	if err := s.checkExplicit(t.Name, t.Explicit); err != nil {
		return nil, err
	}
	if err := change(ctx, s.n, func(tx *meta.Tx) error { return tx.CreateTarget(t) }); err != nil {
		return nil, err
	}
	m, err := s.describe(ctx, t.Name)
	return connect.NewResponse(&v1.CreateTargetResponse{Target: m}), err
}

func (s targetService) SetTarget(ctx context.Context, r *connect.Request[v1.SetTargetRequest]) (*connect.Response[v1.SetTargetResponse], error) {
	name := iqn(r.Msg.GetName())
	if err := change(ctx, s.n, func(tx *meta.Tx) error {
		t, err := tx.Target(name)
		if err != nil {
			return err
		}
		if r.Msg.Accounts != nil {
			t.Auth = accounts(r.Msg.GetAccounts().GetAccounts())
		}
		if r.Msg.ExplicitAlua != nil {
			t.Explicit = r.Msg.GetExplicitAlua()
			if err := s.checkExplicit(name, t.Explicit); err != nil {
				return err
			}
		}
		if err := checkAccounts(t); err != nil {
			return err
		}
		return tx.PutTarget(t)
	}); err != nil {
		return nil, err
	}
	m, err := s.describe(ctx, name)
	return connect.NewResponse(&v1.SetTargetResponse{Target: m}), err
}

func (s targetService) ListTargets(ctx context.Context, _ *connect.Request[v1.ListTargetsRequest]) (*connect.Response[v1.ListTargetsResponse], error) {
	resp := &v1.ListTargetsResponse{}
	snap, err := s.n.Meta().Load(ctx)
	if err != nil {
		return nil, err
	}
	sessions, silent, err := s.peers.sessions(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range sorted(snap.Targets) {
		m := targetMessage(snap.Targets[name], snap.Volumes)
		addSessions(m, sessions, silent)
		resp.Targets = append(resp.Targets, m)
	}
	return connect.NewResponse(resp), nil
}

func (s targetService) GetTarget(ctx context.Context, r *connect.Request[v1.GetTargetRequest]) (*connect.Response[v1.GetTargetResponse], error) {
	m, err := s.describe(ctx, iqn(r.Msg.GetName()))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.GetTargetResponse{Target: m}), nil
}

func (s targetService) MapVolume(ctx context.Context, r *connect.Request[v1.MapVolumeRequest]) (*connect.Response[v1.MapVolumeResponse], error) {
	want := meta.AnyLUN
	if r.Msg.Lun != nil {
		if want = int(r.Msg.GetLun()); want < 0 {
			return nil, san.Errorf(san.ErrInvalid, "LUN %d is out of range; use 0 to %d", want, san.MaxLUN)
		}
	}
	var got san.LUN
	err := change(ctx, s.n, func(tx *meta.Tx) error {
		v, err := tx.VolumeNamed(r.Msg.GetVolume())
		if err != nil {
			return err
		}
		got, err = tx.Map(iqn(r.Msg.GetTarget()), want, san.Mapping{Volume: v.ID, Hosts: r.Msg.GetHosts()})
		return err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.MapVolumeResponse{Lun: int32(got)}), nil
}

func (s targetService) UnmapVolume(ctx context.Context, r *connect.Request[v1.UnmapVolumeRequest]) (*connect.Response[v1.UnmapVolumeResponse], error) {
	lun := r.Msg.GetLun()
	if lun < 0 || lun > int32(san.MaxLUN) {
		return nil, san.Errorf(san.ErrInvalid, "LUN %d is out of range; use 0 to %d", lun, san.MaxLUN)
	}
	if err := change(ctx, s.n, func(tx *meta.Tx) error { return tx.Unmap(iqn(r.Msg.GetTarget()), san.LUN(lun)) }); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.UnmapVolumeResponse{}), nil
}

func (s targetService) DeleteTarget(ctx context.Context, r *connect.Request[v1.DeleteTargetRequest]) (*connect.Response[v1.DeleteTargetResponse], error) {
	if err := change(ctx, s.n, func(tx *meta.Tx) error { return tx.DeleteTarget(iqn(r.Msg.GetName())) }); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.DeleteTargetResponse{}), nil
}
