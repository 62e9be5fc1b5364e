package cluster

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/san"
)

// A gateway is removed and forgotten in one transaction, and one that is
// forgotten is not made a member before it has registered again.
func TestRemoveIsOneTransaction(t *testing.T) {
	m, err := meta.Open(t.Context(), t.TempDir(), meta.Options{NoSync: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := NewStore(t.Context(), m, 0)
	if err != nil {
		t.Fatal(err)
	}
	const id = "gw1"
	key := model.GatewayRecord{ID: id}.Key()
	live := func(life model.Life) model.Outcome {
		t.Helper()
		got, err := s.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		_, o := s.Commit(t.Context(), model.Txn{
			Guards: []model.Guard{{Key: key, Rev: got[0].Rev}}, Puts: []model.Record{model.GatewayRecord{ID: id, Incarnation: 1, Life: life}},
		})
		return o
	}
	if o := live(model.Alive); o != model.Refused {
		t.Errorf("a member that is not registered: %v", o)
	}
	if err := register(t.Context(), m, id); err != nil {
		t.Fatal(err)
	}
	if o := live(model.Alive); o != model.Committed {
		t.Fatal(o)
	}
	if err := Remove(t.Context(), s, id); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a gateway that lives: %v", err)
	}
	if err := m.Update(t.Context(), func(tx *meta.Tx) error { _, err := tx.Gateway(id); return err }); err != nil {
		t.Errorf("one that could not be removed: %v", err)
	}
	if o := live(model.Dead); o != model.Committed {
		t.Fatal(o)
	}
	before, err := m.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := Remove(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context(), key)
	if g, _ := got[0].Record.(model.GatewayRecord); err != nil || g.Life != model.Removed {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := m.Watch(ctx, before, func(rev int64, c []meta.Change) error {
		for _, c := range c {
			if c.Gateway == id && c.GatewayInfo == nil {
				if cancel(); model.Revision(rev) != got[0].Rev {
					t.Errorf("removed at revision %d, forgotten at %d", got[0].Rev, rev)
				}
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if o := live(model.Alive); o != model.Refused {
		t.Errorf("a member that was removed: %v", o)
	}
}

// A gateway becomes no member while another time was agreed on for heartbeats
// than it counts with: it had registered before.
func TestNoMemberWithAnotherTTL(t *testing.T) {
	m, err := meta.Open(t.Context(), t.TempDir(), meta.Options{NoSync: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const id = "gw1"
	s, err := NewStore(t.Context(), m, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := register(t.Context(), m, id); err != nil {
		t.Fatal(err)
	}
	begin := func() model.Outcome {
		_, o := s.Commit(t.Context(), model.Txn{Puts: []model.Record{model.GatewayRecord{ID: id, Incarnation: 1, Life: model.Alive}}})
		return o
	}
	share := func(who string, ttl time.Duration) error {
		return m.Update(t.Context(), func(tx *meta.Tx) error { return tx.ShareTTL(who, ttl) })
	}
	if err := share(id, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := share("gw2", 10*time.Second); err != nil { // nobody lives
		t.Fatal(err)
	}
	if o := begin(); o != model.Refused {
		t.Errorf("a member that counts otherwise: %v", o)
	}
	if err := share(id, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	if o := begin(); o != model.Committed {
		t.Errorf("one that counts alike: %v", o)
	}
	if err := share("gw2", 10*time.Second); !errors.Is(err, san.ErrRefused) {
		t.Errorf("another time while it lives: %v", err)
	}
}
