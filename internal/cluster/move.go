package cluster

import (
	"context"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/pause"
	"sango/internal/san"
)

// Serving returns the member that serves a volume, by a linearizable read;
// nobody where there is none at this moment.
func Serving(ctx context.Context, s Store, v san.UUID) (model.Member, error) {
	got, err := s.Read(ctx, model.OwnerRecord{Volume: v}.Key())
	if err != nil {
		return model.Member{}, err
	}
	o, _ := got[0].Record.(model.OwnerRecord)
	if o.State != model.Active {
		return model.Member{}, nil
	}
	alive, err := Living(ctx, s, o.Owner)
	if err != nil || !alive {
		return model.Member{}, err
	}
	return o.Owner, nil
}

// Living reports whether a member is alive, as far as the cluster has decided.
func Living(ctx context.Context, s Store, m model.Member) (bool, error) {
	got, err := s.Read(ctx, model.GatewayRecord{ID: m.Gateway}.Key())
	if err != nil {
		return false, err
	}
	g, _ := got[0].Record.(model.GatewayRecord)
	return g.Life == model.Alive && g.Incarnation == m.Incarnation, nil
}

const (
	orderLook  = 50 * time.Millisecond // between two looks at a move
	orderAgain = time.Second           // before the coordinator is told once more: there may be another one
)

// MoveVolume has a volume moved in the name of an administrator, for whom there
// is no limit as there is for hosts, and returns when the gateway serves it.
// ErrRefused: that one gets no volumes. ErrUnavailable: it could not open the
// volume, or it did not happen before ctx was done.
func MoveVolume(ctx context.Context, s Store, v san.UUID, to model.GatewayID) error {
	keys := []model.Key{model.GatewayRecord{ID: to}.Key(), model.DrainRecord{ID: to}.Key(), model.OwnerRecord{Volume: v}.Key()}
	var told time.Time
	var before san.Epoch
	for {
		got, err := s.Read(ctx, keys...)
		if err != nil {
			return err
		}
		g, _ := got[0].Record.(model.GatewayRecord)
		o, _ := got[2].Record.(model.OwnerRecord)
		switch {
		case o.State == model.Active && o.Owner == g.Member() && g.Life == model.Alive:
			return nil
		case g.Life == 0, g.Life == model.Removed:
			return noGateway(to)
		case g.Life != model.Alive:
			return san.Errorf(san.ErrRefused, "gateway %s is dead: start it, or choose one that serves ('sango gateway list')", to)
		case got[1].Record != nil:
			return san.Errorf(san.ErrRefused, "gateway %s is to be empty: 'sango gateway undrain %s' lets it have volumes again", to, to)
		case !told.IsZero() && o.Epoch > before && (o.Failed == to || o.State == model.Active && o.Reason == model.ReasonFailed):
			return san.Errorf(san.ErrUnavailable, "gateway %s could not open the volume; 'sango status' tells why", to)
		}
		if now := time.Now(); now.Sub(told) >= orderAgain {
			if told.IsZero() {
				before = o.Epoch
			}
			told = now
			if err := s.Ask(ctx, model.MoveAsked{Volume: v, To: to, Asked: model.Administrator}); err != nil {
				return err
			}
		}
		if !pause.For(ctx, orderLook) {
			return san.Errorf(san.ErrUnavailable, "the volume is not at gateway %s yet, and the order stands for some seconds still; 'sango status' tells where it is", to)
		}
	}
}
