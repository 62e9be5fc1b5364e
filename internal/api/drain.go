package api

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// known returns the cluster and one of its gateways, with the others.
func (s gatewayService) known(ctx context.Context, name string) (c Cluster, g *v1.Gateway, others []*v1.Gateway, err error) {
	if c, err = together(s.n); err != nil {
		return nil, nil, nil, err
	}
	if err := san.CheckName("gateway", name); err != nil {
		return nil, nil, nil, err
	}
	st, err := s.n.Status(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	all, err := s.gateways(ctx, st)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, x := range all {
		if x.GetName() == name {
			g = x
		} else {
			others = append(others, x)
		}
	}
	if g == nil {
		return nil, nil, nil, san.Errorf(san.ErrNotFound, "there is no gateway %s; 'sango gateway list' shows what there is", name)
	}
	return c, g, others, nil
}

// drainSlow bounds the share of time that looks at owners take: there may be
// thousands of volumes.
const drainSlow = 10

func (s gatewayService) DrainGateway(ctx context.Context, r *connect.Request[v1.DrainGatewayRequest], stream *connect.ServerStream[v1.DrainGatewayResponse]) error {
	name := r.Msg.GetName()
	c, g, others, err := s.known(ctx, name)
	if err != nil {
		return err
	}
	free := false
	for _, x := range others {
		free = free || x.State == stateServing && !x.Drained
	}
	switch {
	case g.State == stateRemoved:
		return san.Errorf(san.ErrRefused, "gateway %s was removed; its volumes go to others by themselves", name)
	case !free && g.Volumes > 0 && g.State != stateDead && !g.Drained:
		return san.Errorf(san.ErrRefused, "there is no other gateway that could take the %d volumes of %s: start one, or let one have volumes again ('sango gateway undrain')", g.Volumes, name)
	}
	if err := c.Drain(ctx, name); err != nil {
		return err
	}
	for {
		began := time.Now()
		_, g, _, err := s.known(ctx, name)
		if err != nil {
			return err
		}
		if err := stream.Send(&v1.DrainGatewayResponse{Volumes: g.Volumes}); err != nil || g.Volumes == 0 || r.Msg.GetNoWait() {
			return err
		}
		switch {
		case !g.Drained:
			return san.Errorf(san.ErrRefused, "gateway %s was told to have volumes again meanwhile; it has %d", name, g.Volumes)
		case g.State == stateDead || g.State == stateRemoved:
			return san.Errorf(san.ErrUnavailable, "gateway %s is dead: its %d volumes go to others once it is certain that it can't write; 'sango status' shows them", name, g.Volumes)
		}
		if !pause.For(ctx, max(progressEvery, drainSlow*time.Since(began))) {
			return ctx.Err()
		}
	}
}

func (s gatewayService) UndrainGateway(ctx context.Context, r *connect.Request[v1.UndrainGatewayRequest]) (*connect.Response[v1.UndrainGatewayResponse], error) {
	c, _, _, err := s.known(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	if err := c.Undrain(ctx, r.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.UndrainGatewayResponse{}), nil
}

func (s gatewayService) RemoveGateway(ctx context.Context, r *connect.Request[v1.RemoveGatewayRequest]) (*connect.Response[v1.RemoveGatewayResponse], error) {
	c, g, _, err := s.known(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	if err := c.Remove(ctx, g.Name); err != nil {
		return nil, err
	}
	resp := &v1.RemoveGatewayResponse{}
	if resp.Listed, err = s.listed(ctx, g.Name); err != nil {
		return nil, err
	}
	if !g.Harmless {
		resp.Volumes = g.Volumes
	}
	return connect.NewResponse(resp), nil
}

// forgetTime bounds the wait for a removed gateway to be forgotten, which the
// coordinator does.
const forgetTime = 3 * time.Second

// listed reports whether a gateway that was removed is known still: because
// volumes name it of which it is not certain that it can't write to them, or
// after a while because nobody has forgotten it.
func (s gatewayService) listed(ctx context.Context, name string) (bool, error) {
	for end := time.Now().Add(forgetTime); ; {
		_, g, _, err := s.known(ctx, name)
		switch {
		case errors.Is(err, san.ErrNotFound):
			return false, nil
		case err != nil:
			return false, err
		case g.State != stateRemoved: // another one of that name
			return false, nil
		case g.Volumes > 0 && !g.Harmless || time.Now().After(end):
			return true, nil
		}
		if !pause.For(ctx, forgetLook) {
			return false, ctx.Err()
		}
	}
}

// forgetLook is how often a gateway that is being forgotten is looked at.
const forgetLook = 20 * time.Millisecond

func (s gatewayService) ConfirmDeadGateway(ctx context.Context, r *connect.Request[v1.ConfirmDeadGatewayRequest]) (*connect.Response[v1.ConfirmDeadGatewayResponse], error) {
	c, g, _, err := s.known(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	if g.State == stateJoining {
		// It may have been there before a backup was put back, and have had volumes.
		if err := s.n.Meta().Update(ctx, func(tx *meta.Tx) error {
			all, err := tx.Owners()
			for _, o := range all {
				if o.Gateway == g.Name || o.To == g.Name {
					return err
				}
			}
			if err == nil {
				err = san.Errorf(san.ErrRefused, "gateway %s has had no part in the cluster yet: there is nothing to confirm", g.Name)
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	if err := c.ConfirmDead(ctx, g.Name); err != nil {
		return nil, err
	}
	return connect.NewResponse(&v1.ConfirmDeadGatewayResponse{}), nil
}
