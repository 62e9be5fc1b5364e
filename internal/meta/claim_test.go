package meta

import (
	"errors"
	"testing"

	"sango/internal/san"
)

// One node serves a store; its next process takes over, and what is left of
// the one before changes nothing.
func claimFences(t *testing.T, s, s2 *Store) {
	node := san.NewUUID()
	c := &Claim{Node: node, Gateway: "gw1", Machine: "here", Dir: "/srv/a"}
	if err := s.Claim(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	v := volume(t, s, "disk1")
	u := s.Unit(v.ID)
	if err := u.Save("mode", []byte("1")); err != nil {
		t.Fatal(err)
	}
	other := &Claim{Node: san.NewUUID(), Gateway: "gw2", Machine: "there", Dir: "/srv/b"}
	if err := s2.Claim(t.Context(), other); !errors.Is(err, san.ErrRefused) {
		t.Fatalf("a second node: %v", err)
	}
	next := &Claim{Node: node, Gateway: "gw1", Machine: "here", Dir: "/srv/a"}
	if s == s2 {
		s2 = &Store{kv: s.kv, cli: s.cli, etcd: s.etcd, log: s.log, room: s.room, schemas: s.schemas}
	}
	if err := s2.Claim(t.Context(), next); err != nil || next.Incarnation <= c.Incarnation {
		t.Fatalf("the next process of the node: %+v, %v", next, err)
	}
	if err := s.Update(t.Context(), func(tx *Tx) error { return tx.put("test", 1) }); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a change of the former process: %v", err)
	}
	if err := u.Save("mode", []byte("2")); !errors.Is(err, san.ErrRefused) {
		t.Errorf("Save of the former process: %v", err)
	}
	update(t, s2, func(tx *Tx) error { return tx.put("test", 2) })

	if err := s2.Update(t.Context(), func(tx *Tx) error { return tx.Release("gw2") }); !errors.Is(err, san.ErrNotFound) {
		t.Errorf("Release of a gateway without claim: %v", err)
	}
	update(t, s2, func(tx *Tx) error { return tx.Release("gw1") })
	if err := s2.Update(t.Context(), func(tx *Tx) error { return tx.put("test", 3) }); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a change after the release: %v", err)
	}
	s.fence.Store(nil)
	if err := s.Claim(t.Context(), other); err != nil {
		t.Errorf("another node after the release: %v", err)
	}
}
