package gateway

import (
	"sync"
	"testing"
	"time"

	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// remapped unmaps LUN 0 and maps the volume there again, where the owner puts
// neither into effect before a host has come to it through the front: from the
// unit that the front made anew to the one that the owner is about to lose. It
// returns how long the front could not serve. ok is false where the owner took
// both changes at once, and has its unit still.
func remapped(t *testing.T, n *Node, v san.UUID, owner, front int) (stood time.Duration, ok bool) {
	t.Helper()
	held, asks := n.gateways()[owner].view, n.gateways()[front].view
	c := at(t, n, front, 40)
	defer c.Reset()
	moved(t, c, 0)
	was, before := held.mapped(v), asks.mapped(v)
	held.still.Lock()
	let := sync.OnceFunc(held.still.Unlock)
	defer let()
	update := func(f func(tx *meta.Tx) error) {
		t.Helper()
		err := n.meta.Update(t.Context(), f)
		if err == nil {
			err = follows(t, n, asks)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *meta.Tx) error { return tx.Unmap(demoIQN, 0) })
	if asks.mapped(v) != nil {
		t.Fatal("the front has a unit that no LUN maps")
	}
	update(func(tx *meta.Tx) error {
		_, err := tx.Map(demoIQN, 0, san.Mapping{Volume: v})
		return err
	})
	if u := asks.mapped(v); u == nil || u == before {
		t.Fatal("the front made no unit for a LUN that was mapped anew")
	}
	moved(t, c, 0)
	let()
	if err := follows(t, n, held); err != nil {
		t.Fatal(err)
	}
	if held.mapped(v) == nil {
		t.Fatal("the owner has no unit for a LUN that is mapped")
	}
	began := time.Now()
	moved(t, c, 0)
	return time.Since(began), held.mapped(v) != was
}

// follows waits until everything that was changed is in effect at a gateway.
func follows(t *testing.T, n *Node, v *view) error {
	t.Helper()
	rev, err := n.meta.Current(t.Context())
	if err != nil {
		return err
	}
	return v.wait(t.Context(), rev, 0)
}

// A LUN that is unmapped and mapped again is served through every gateway, in
// whatever order they follow.
func TestRemapped(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 3)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	for range 5 {
		owner := ownerOf(t, n, v.ID)
		for d := 1; d < 3; d++ {
			for ok := false; !ok; {
				var stood time.Duration
				stood, ok = remapped(t, n, v.ID, owner, (owner+d)%3)
				t.Logf("stood still for %v; the owner let go in between: %t", stood, ok)
			}
		}
	}
	// Relays in whose place others are don't stay.
	for _, g := range n.gateways() {
		for left := 1; left > 0; pause.For(t.Context(), 10*time.Millisecond) {
			s := g.member.found(v.ID)
			s.wait(func() { left = len(s.former) })
		}
	}
}
