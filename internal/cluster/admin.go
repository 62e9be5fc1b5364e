package cluster

import (
	"context"
	"maps"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/pause"
	"sango/internal/san"
)

// What administrators and hosts ask for. It works on every node, also on one
// that runs no gateway.

// adminTries is how often a change is tried whose records changed meanwhile.
const adminTries = 20

// edit makes a change of the records that keys name: f gets them as they are,
// and returns what to write and to delete, or nothing where all is well.
func edit(ctx context.Context, s Store, keys []model.Key, f func(now []model.Record) (puts []model.Record, deletes []model.Key, err error)) error {
	for range adminTries {
		got, err := s.Read(ctx, keys...)
		if err != nil {
			return err
		}
		t, now := model.Txn{}, []model.Record(nil)
		for _, c := range got {
			t.Guards = append(t.Guards, model.Guard{Key: c.Key, Rev: c.Rev})
			now = append(now, c.Record)
		}
		if t.Puts, t.Deletes, err = f(now); err != nil || len(t.Puts)+len(t.Deletes) == 0 {
			return err
		}
		switch _, outcome := s.Commit(ctx, t); outcome {
		case model.Committed:
			return nil
		case model.Unknown:
			return san.Errorf(san.ErrUnknown, "the metadata did not confirm the change: it may or may not have been made; look before trying again")
		}
	}
	return san.Errorf(san.ErrUnavailable, "others change the same all the time; try again")
}

func noGateway(id model.GatewayID) error {
	return san.Errorf(san.ErrNotFound, "there is no gateway %s in the cluster; 'sango gateway list' shows what there is", id)
}

// Drain has a gateway emptied, and given no volumes, until Undrain.
func Drain(ctx context.Context, s Store, id model.GatewayID) error {
	gw, drain := model.GatewayRecord{ID: id}.Key(), model.DrainRecord{ID: id}
	return edit(ctx, s, []model.Key{gw, drain.Key()}, func(now []model.Record) ([]model.Record, []model.Key, error) {
		switch {
		case now[0] == nil:
			return nil, nil, noGateway(id)
		case now[1] != nil:
			return nil, nil, nil
		}
		return []model.Record{drain}, nil, nil
	})
}

// Undrain lets a gateway have volumes again.
func Undrain(ctx context.Context, s Store, id model.GatewayID) error {
	gw, drain := model.GatewayRecord{ID: id}.Key(), model.DrainRecord{ID: id}.Key()
	return edit(ctx, s, []model.Key{gw, drain}, func(now []model.Record) ([]model.Record, []model.Key, error) {
		switch {
		case now[0] == nil && now[1] == nil:
			return nil, nil, noGateway(id)
		case now[1] == nil:
			return nil, nil, nil
		}
		return nil, []model.Key{drain}, nil
	})
}

// Remove takes a gateway away that is dead, for good, with what it serves on.
// The rest goes when no volume names it any more. Where its process is there
// still, it registers again and comes back as another member.
func Remove(ctx context.Context, s Store, id model.GatewayID) error { return s.Remove(ctx, id) }

// ConfirmDead is the word of a person that the dead incarnations of a gateway
// are off: that nothing of them can reach a medium any more. Its volumes are
// given to others then, also where nothing could fence it.
func ConfirmDead(ctx context.Context, s Store, id model.GatewayID) error {
	gw, harmless, counter := model.GatewayRecord{ID: id}.Key(), model.FenceRecord{ID: id}, model.CounterRecord{}.Key()
	return edit(ctx, s, []model.Key{gw, harmless.Key(), counter}, func(now []model.Record) ([]model.Record, []model.Key, error) {
		old, _ := now[1].(model.FenceRecord)
		last, _ := now[2].(model.CounterRecord)
		switch g, ok := now[0].(model.GatewayRecord); {
		case !ok: // of a former life of the store: no later one is there
			harmless.Upto = last.Last
		case g.Life == model.Alive:
			// That one is not dead; those before it are.
			harmless.Upto = g.Incarnation - 1
		default:
			harmless.Upto = g.Incarnation
		}
		if g, ok := now[0].(model.GatewayRecord); ok && g.Life == model.Alive && old.Upto >= harmless.Upto {
			return nil, nil, san.Errorf(san.ErrRefused, "gateway %s is alive: there is nothing to confirm", id)
		}
		if old.Upto >= harmless.Upto {
			return nil, nil, nil
		}
		return []model.Record{harmless}, nil, nil
	})
}

// moveLook is how often a move that was asked for is looked at.
const moveLook = 20 * time.Millisecond

// Move asks for a volume to be moved, in the name of a host (asked is what
// Driver.Attend gets), and returns when it is served there. ErrRefused: it was
// asked for too often. ErrUnavailable: it did not happen before ctx was done;
// the coordinator decides, and tells nobody why not.
func (r *Runtime) Move(ctx context.Context, v san.UUID, to model.GatewayID, asked string) error {
	there := func() (ok, done bool) {
		ok = r.look(ctx, func(g *model.Gateway) {
			o, _ := g.Owner(v)
			done = o.State == model.Active && o.Owner.Gateway == to
		})
		return ok, done
	}
	if _, done := there(); done {
		return nil
	}
	every := time.Duration(r.o.Times.AskEvery)
	if every <= 0 {
		every = 5 * time.Second
	}
	r.mu.Lock()
	last, before := r.asked[v]
	soon := before && time.Since(last) < every
	if !soon {
		r.asked[v] = time.Now()
	}
	r.mu.Unlock()
	if soon {
		return san.Errorf(san.ErrRefused, "the volume %s was asked to move less than %v ago", v, every)
	}
	if err := r.o.Store.Ask(ctx, model.MoveAsked{Volume: v, To: to, Asked: asked}); err != nil {
		return err
	}
	for pause.For(ctx, moveLook) {
		if ok, done := there(); done || !ok {
			if done {
				return nil
			}
			break
		}
	}
	return san.Errorf(san.ErrUnavailable, "the volume %s was not moved to gateway %s", v, to)
}

// Weigh tells the cluster how much work the volumes are that are served here, all
// that are worth a word: requests a second and 64 KiB a second that they move,
// together. Nothing is written where nothing has changed. Nobody changes work any more.
func (r *Runtime) Weigh(ctx context.Context, work map[san.UUID]int) error {
	r.mu.Lock()
	same := r.weighed != nil && maps.Equal(work, r.weighed)
	r.mu.Unlock()
	if same {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	if err := r.o.Store.Weigh(ctx, r.o.Gateway, work); err != nil {
		return err
	}
	r.mu.Lock()
	r.weighed = maps.Clone(work)
	if r.weighed == nil {
		r.weighed = map[san.UUID]int{}
	}
	r.mu.Unlock()
	return nil
}
