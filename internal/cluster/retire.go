package cluster

import (
	"context"
	"errors"
	"slices"

	"sango/internal/cluster/model"
)

// Retire declares dead, and harmless, every gateway but those named: for a
// process that runs all gateways which there are, over a store that nobody else
// uses.
func Retire(ctx context.Context, s Store, but ...model.GatewayID) error {
	all, err := everyGateway(ctx, s)
	if err != nil {
		return err
	}
	for _, g := range all {
		if g.Life != model.Alive || slices.Contains(but, g.ID) {
			continue
		}
		if err := edit(ctx, s, []model.Key{g.Key(), model.FenceRecord{ID: g.ID}.Key()}, func(now []model.Record) ([]model.Record, []model.Key, error) {
			g, ok := now[0].(model.GatewayRecord)
			if !ok || g.Life != model.Alive {
				return nil, nil, nil
			}
			g.Life, g.Why = model.Dead, model.ReasonLeft
			return []model.Record{g, model.FenceRecord{ID: g.ID, Upto: g.Incarnation}}, nil, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// everyGateway returns the records of all gateways.
func everyGateway(ctx context.Context, s Store) (all []model.GatewayRecord, err error) {
	enough := errors.New("enough")
	err = s.Follow(ctx, false, func(_ model.Revision, ev model.Event) error {
		snap, ok := ev.(model.Snapshot)
		if !ok {
			return nil
		}
		for _, c := range snap.Changes {
			if g, ok := c.Record.(model.GatewayRecord); ok {
				all = append(all, g)
			}
		}
		return enough
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return all, err
}
