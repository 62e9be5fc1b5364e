package cluster

import (
	"context"
	"errors"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/san"
)

// NewStore makes a Store of the metadata. It makes no members but while the
// heartbeats of all gateways count for ttl; 0: for nobody who serves beside other
// processes. It fails where the layout of the metadata is older than gateways
// that serve together.
func NewStore(ctx context.Context, m *meta.Store, ttl time.Duration) (Store, error) {
	if err := m.Clustered(ctx); err != nil {
		return nil, err
	}
	return &metaStore{m, ttl}, nil
}

type metaStore struct {
	m   *meta.Store
	ttl time.Duration
}

// Commit implements Store.
func (s *metaStore) Commit(ctx context.Context, t model.Txn) (model.Revision, model.Outcome) {
	guards := make([]meta.Guard, len(t.Guards))
	for i, g := range t.Guards {
		guards[i] = meta.Guard{RecordKey: keyOf(g.Key), Revision: int64(g.Rev)}
	}
	changes := make([]meta.Record, 0, len(t.Puts)+len(t.Deletes))
	for _, r := range t.Puts {
		changes = append(changes, recordOf(r))
		if g, ok := r.(model.GatewayRecord); ok && g.Life == model.Alive {
			guards = append(guards, meta.Guard{RecordKey: meta.RecordKey{Kind: meta.RecordRegistered, Name: string(g.ID)}, Revision: meta.Present})
			if s.ttl != 0 {
				guards = append(guards, meta.Guard{RecordKey: meta.TTLKey(s.ttl), Revision: meta.Present})
			}
		}
	}
	for _, k := range t.Deletes {
		changes = append(changes, meta.Record{RecordKey: keyOf(k)})
	}
	rev, made, err := s.m.Change(ctx, guards, changes)
	switch {
	case err != nil:
		return 0, model.Unknown
	case !made:
		return 0, model.Refused
	}
	return model.Revision(rev), model.Committed
}

// Follow implements Store.
func (s *metaStore) Follow(ctx context.Context, coordinator bool, f func(model.Revision, model.Event) error) error {
	return s.m.Follow(ctx, coordinator, func(revision int64, whole bool, records []meta.Record) error {
		rev := model.Revision(revision)
		var changes []model.Change
		var besides []model.Event
		for _, r := range records {
			switch v := r.Value.(type) {
			case *meta.Ask:
				if id, err := san.ParseUUID(r.Name); err == nil {
					besides = append(besides, model.MoveAsked{Volume: id, To: model.GatewayID(v.To), Asked: v.By})
				}
				continue
			case *meta.Busy:
				besides = append(besides, model.Weighed{Gateway: model.GatewayID(r.Name), Work: v.Volumes})
				continue
			}
			if r.Kind == meta.RecordBusy { // deleted
				besides = append(besides, model.Weighed{Gateway: model.GatewayID(r.Name)})
				continue
			}
			if c, ok := changeOf(r); ok {
				changes = append(changes, c)
			}
		}
		var ev model.Event
		switch {
		case whole:
			ev = model.Snapshot{Rev: rev, Changes: changes}
		case len(changes) > 0:
			ev = model.Changed{Changes: changes}
		}
		if err := f(rev, ev); err != nil {
			return err
		}
		for _, ev := range besides {
			if err := f(rev, ev); err != nil {
				return err
			}
		}
		return nil
	})
}

// Read implements Store.
func (s *metaStore) Read(ctx context.Context, keys ...model.Key) ([]model.Change, error) {
	names := make([]meta.RecordKey, len(keys))
	for i, k := range keys {
		names[i] = keyOf(k)
	}
	_, records, err := s.m.Records(ctx, names...)
	if err != nil {
		return nil, err
	}
	changes := make([]model.Change, len(keys))
	for i, r := range records {
		c, _ := changeOf(r)
		c.Key = keys[i]
		changes[i] = c
	}
	return changes, nil
}

// Current implements Store.
func (s *metaStore) Current(ctx context.Context) (model.Revision, error) {
	rev, err := s.m.Current(ctx)
	return model.Revision(rev), err
}

// Campaign implements Store.
func (s *metaStore) Campaign(ctx context.Context, m model.Member, ttl time.Duration) (Office, error) {
	o, err := s.m.Campaign(ctx, meta.Coordinator{Gateway: string(m.Gateway), Incarnation: uint64(m.Incarnation)}, ttl)
	if err != nil {
		return nil, err
	}
	return office{o}, nil
}

type office struct{ *meta.Office }

// Term implements Office.
func (o office) Term() model.Revision { return model.Revision(o.Office.Term) }

// askSeconds is how long a wish waits for a coordinator.
const askSeconds = 5

// Ask implements Store.
func (s *metaStore) Ask(ctx context.Context, a model.MoveAsked) error {
	key := meta.RecordKey{Kind: meta.RecordAsk, Name: a.Volume.String()}
	return s.m.Passing(ctx, meta.Record{RecordKey: key, Value: &meta.Ask{To: string(a.To), By: a.Asked}}, askSeconds)
}

// Weigh implements Store.
func (s *metaStore) Weigh(ctx context.Context, id model.GatewayID, work map[san.UUID]int) error {
	key := meta.RecordKey{Kind: meta.RecordBusy, Name: string(id)}
	_, made, err := s.m.Change(ctx, nil, []meta.Record{{RecordKey: key, Value: &meta.Busy{Volumes: work}}})
	if err == nil && !made {
		err = errors.New("a change without guards was refused")
	}
	return err
}

// Remove implements Store.
func (s *metaStore) Remove(ctx context.Context, id model.GatewayID) error {
	return s.m.Ensure(ctx, func(tx *meta.Tx) error { return tx.TakeAway(string(id)) })
}

// Unit implements Store.
func (s *metaStore) Unit(id san.UUID) UnitState { return s.m.Unit(id) }
