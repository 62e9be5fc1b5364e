package meta

import (
	"context"
	"errors"
	"testing"
	"time"

	"sango/internal/san"
)

// What others write beside the configuration does not keep a watch from
// reaching the revision that Current told.
func currentReachesTheWatch(t *testing.T, s, s2 *Store) {
	if !s.shared() {
		return // nobody else writes there
	}
	snap, err := s2.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, ended := make(chan int64, 100), make(chan error, 1)
	go func() {
		ended <- s2.Watch(ctx, snap.Revision, func(rev int64, _ []Change) error {
			told <- rev
			return nil
		})
	}()
	for range 3 {
		if _, err := s.kv.Put(t.Context(), "/elsewhere", "x"); err != nil {
			t.Fatal(err)
		}
		rev, err := s2.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for got := int64(0); got < rev; {
			got = <-told
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// register adds a gateway and returns it.
func register(t *testing.T, s *Store, name string) *Gateway {
	t.Helper()
	var g *Gateway
	update(t, s, func(tx *Tx) error {
		g = &Gateway{Name: name, State: GatewayServing, Portals: []Portal{{Name: "a", Listen: "127.0.0.1:1", Advertise: "127.0.0.1:1"}}}
		return tx.Register(g)
	})
	return g
}

// A gateway that was declared dead never beats again, and one that starts
// again is another.
func beatsUntilDeclaredDead(t *testing.T, s, s2 *Store) {
	g := register(t, s, "gw1")
	beat := func(s *Store, inc uint64) error {
		return s.Beat(t.Context(), "gw1", Heartbeat{Incarnation: inc, Count: 1})
	}
	if err := beat(s2, g.Incarnation); err != nil {
		t.Fatal(err)
	}
	if err := beat(s, g.Incarnation+1); !errors.Is(err, ErrDead) || !errors.Is(err, san.ErrRefused) {
		t.Errorf("Beat of another incarnation = %v", err)
	}
	state := func(inc uint64, to GatewayState) error {
		return s2.Update(t.Context(), func(tx *Tx) error { return tx.SetGatewayState("gw1", inc, to, "it is silent") })
	}
	if err := state(g.Incarnation+1, GatewayDead); !errors.Is(err, san.ErrRefused) {
		t.Errorf("another incarnation declared dead: %v", err)
	}
	if err := state(g.Incarnation, GatewayDead); err != nil {
		t.Fatal(err)
	}
	if err := beat(s, g.Incarnation); !errors.Is(err, ErrDead) {
		t.Errorf("Beat of a dead gateway = %v", err)
	}
	if err := state(g.Incarnation, GatewayServing); !errors.Is(err, ErrDead) {
		t.Errorf("a dead gateway serves again: %v", err)
	}
	later := register(t, s2, "gw1")
	if later.Incarnation <= g.Incarnation || later.Group != g.Group || later.Portals[0].TPG != g.Portals[0].TPG {
		t.Errorf("the next incarnation: %+v after %+v", later, g)
	}
	if err := beat(s, g.Incarnation); !errors.Is(err, ErrDead) {
		t.Errorf("Beat of a gateway that has been followed = %v", err)
	}
	if err := s.Update(t.Context(), func(tx *Tx) error { return tx.Register(g) }); !errors.Is(err, san.ErrRefused) {
		t.Errorf("the former incarnation registers again: %v", err)
	}
	if err := beat(s, later.Incarnation); err != nil {
		t.Error(err)
	}
	update(t, s2, func(tx *Tx) error { tx.RemoveGateway("gw1"); return nil })
	if err := beat(s, later.Incarnation); !errors.Is(err, ErrDead) {
		t.Errorf("Beat of a gateway that was removed = %v", err)
	}
}

// Ownership moves from what it was decided on only, with epochs that never
// fall.
func ownersAreGuarded(t *testing.T, s, s2 *Store) {
	v := volume(t, s, "disk1")
	set := func(s *Store, from, to Owner) error {
		return s.Update(t.Context(), func(tx *Tx) error { return tx.SetOwner(v.ID, &from, &to) })
	}
	none := Owner{State: OwnerNone}
	a1 := Owner{State: OwnerActive, Gateway: "a", Incarnation: 1, Epoch: 1}
	b2 := Owner{State: OwnerMoving, Gateway: "a", Incarnation: 1, To: "b", ToIncarnation: 2, Epoch: 2}
	c2 := Owner{State: OwnerMoving, Gateway: "a", Incarnation: 1, To: "c", ToIncarnation: 3, Epoch: 2}
	if err := set(s, none, a1); err != nil {
		t.Fatal(err)
	}
	if err := set(s2, none, a1); !errors.Is(err, san.ErrRefused) {
		t.Errorf("granted twice: %v", err)
	}
	for _, epoch := range []san.Epoch{0, 3} {
		to := b2
		to.Epoch = epoch
		if err := set(s, a1, to); !errors.Is(err, san.ErrRefused) {
			t.Errorf("from epoch 1 to %d: %v", epoch, err)
		}
	}
	// Two decide at once on the same state.
	errs := make(chan error, 2)
	go func() { errs <- set(s, a1, b2) }()
	go func() { errs <- set(s2, a1, c2) }()
	if e1, e2 := <-errs, <-errs; (e1 == nil) == (e2 == nil) {
		t.Errorf("two grants of epoch 2: %v, %v", e1, e2)
	}
	snap, err := s2.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if o := snap.Owners[v.ID]; o == nil || o.Epoch != 2 || o.State != OwnerMoving || o.Revision == 0 || o.Revision > snap.Revision {
		t.Errorf("owner = %+v", o)
	}
	update(t, s, func(tx *Tx) error { return tx.DeleteVolume(v.ID) })
	if snap, err = s.Load(t.Context()); err != nil || len(snap.Owners) != 0 {
		t.Errorf("a deleted volume has an owner: %v, %v", snap.Owners, err)
	}
}

// A gateway that is not the owner any more changes no reservation.
func savesUnderOneOwner(t *testing.T, s, s2 *Store) {
	v := volume(t, s, "disk1")
	none, a1 := Owner{State: OwnerNone}, Owner{State: OwnerActive, Gateway: "a", Incarnation: 1, Epoch: 1}
	b2 := Owner{State: OwnerActive, Gateway: "b", Incarnation: 2, Epoch: 2}
	owner := func() int64 {
		var o *Owner
		update(t, s, func(tx *Tx) (err error) { o, err = tx.Owner(v.ID); return err })
		return o.Revision
	}
	update(t, s, func(tx *Tx) error { return tx.SetOwner(v.ID, &none, &a1) })
	u, u2 := s.Unit(v.ID), s2.Unit(v.ID)
	u.Own(owner())
	if err := u.Save("reservations", []byte("a")); err != nil {
		t.Fatal(err)
	}
	update(t, s2, func(tx *Tx) error { return tx.SetOwner(v.ID, &a1, &b2) })
	if err := u.Save("reservations", []byte("late")); !errors.Is(err, san.ErrRefused) {
		t.Errorf("Save of the former owner = %v", err)
	}
	u2.Own(owner())
	if b, err := u2.Load("reservations"); err != nil || string(b) != "a" {
		t.Errorf("Load = %q, %v", b, err)
	}
	if err := u2.Save("reservations", []byte("b")); err != nil {
		t.Error(err)
	}
}

// One is coordinator at a time; the next has a higher term, and the last one
// decides nothing any more.
func oneCoordinator(t *testing.T, s, s2 *Store) {
	const ttl = time.Minute
	first, err := s.Campaign(t.Context(), Coordinator{Gateway: "a", Incarnation: 1}, ttl)
	if err != nil {
		t.Fatal(err)
	}
	elected := make(chan *Office, 1)
	go func() {
		o, err := s2.Campaign(t.Context(), Coordinator{Gateway: "b", Incarnation: 2}, ttl)
		if err != nil {
			t.Error(err)
		}
		elected <- o
	}()
	decide := func(s *Store, o *Office) error {
		return s.Update(t.Context(), func(tx *Tx) error {
			if err := tx.As(o); err != nil {
				return err
			}
			return tx.put("test", o.Term)
		})
	}
	if err := decide(s, first); err != nil {
		t.Error(err)
	}
	first.Resign(t.Context())
	<-first.Lost()
	second := <-elected
	if second == nil {
		t.FailNow()
	}
	if second.Term <= first.Term {
		t.Errorf("term %d after %d", second.Term, first.Term)
	}
	if err := decide(s, first); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a decision after the office = %v", err)
	}
	if err := decide(s2, second); err != nil {
		t.Error(err)
	}
	l, err := s.LoadLive(t.Context())
	if err != nil || l.Coordinator == nil || l.Coordinator.Gateway != "b" || l.Coordinator.Term != second.Term {
		t.Errorf("LoadLive = %+v, %v", l, err)
	}
	second.Resign(t.Context())
}

func liveIsWatched(t *testing.T, s, s2 *Store) {
	a, b := register(t, s, "a"), register(t, s, "b")
	l, err := s2.LoadLive(t.Context())
	if err != nil || l.Alive["a"] != a.Incarnation || l.Alive["b"] != b.Incarnation {
		t.Fatalf("LoadLive = %+v, %v", l, err)
	}
	changes, ended := make(chan LiveChange, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		ended <- s2.WatchLive(ctx, l.Revision, func(_ int64, all []LiveChange) error {
			for _, c := range all {
				changes <- c
			}
			return nil
		})
	}()
	if err := s.Beat(t.Context(), "a", Heartbeat{Incarnation: a.Incarnation, Count: 7}); err != nil {
		t.Fatal(err)
	}
	v := Suspicion{Suspect: "b", Incarnation: b.Incarnation, By: "a", Reason: "connection refused"}
	if err := s.Suspect(t.Context(), a.Incarnation, v); err != nil {
		t.Fatal(err)
	}
	if err := s.Suspect(t.Context(), b.Incarnation, v); !errors.Is(err, ErrDead) {
		t.Errorf("Suspect with another's incarnation = %v", err)
	}
	if l, err = s.LoadLive(t.Context()); err != nil || len(l.Suspicions) != 1 || l.Suspicions[0] != v || l.Heartbeats["a"].Count != 7 {
		t.Errorf("LoadLive = %+v, %v", l, err)
	}
	if err := s.Trust(t.Context(), a.Incarnation, v); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.SetGatewayState("b", b.Incarnation, GatewayDead, "") })
	if c := <-changes; c.Gateway != "a" || c.Heartbeat == nil || c.Heartbeat.Count != 7 {
		t.Errorf("heartbeat: %+v", c)
	}
	if c := <-changes; c.Suspicion == nil || *c.Suspicion != v || c.Trusted {
		t.Errorf("suspicion: %+v", c)
	}
	if c := <-changes; c.Suspicion == nil || !c.Trusted || c.Suspicion.Suspect != "b" || c.Suspicion.By != "a" {
		t.Errorf("trust: %+v", c)
	}
	if c := <-changes; c.Gateway != "b" || c.Heartbeat != nil || c.Alive != 0 {
		t.Errorf("death: %+v", c)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
