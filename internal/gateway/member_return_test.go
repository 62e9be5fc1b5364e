package gateway

import (
	"testing"
	"time"

	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// twice maps a volume at LUN 0 of the target of the tests and of another one, so
// that it stays mapped when the first goes.
func twice(t *testing.T, n *Node) *san.Volume {
	t.Helper()
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	const other = demoIQN + "2"
	change(t, n, func(tx *meta.Tx) error { return tx.CreateTarget(&san.Target{Name: other, Open: true}) })
	change(t, n, func(tx *meta.Tx) error {
		_, err := tx.Map(other, meta.AnyLUN, san.Mapping{Volume: v.ID})
		return err
	})
	allServed(t, n)
	return v
}

// unmap takes LUN 0 away, and does not wait for anybody.
func unmap(t *testing.T, n *Node) {
	t.Helper()
	if err := n.meta.Update(t.Context(), func(tx *meta.Tx) error { return tx.Unmap(demoIQN, 0) }); err != nil {
		t.Fatal(err)
	}
}

const noSuchUnit = 0x2500

// A gateway that was away lets hosts in when it has caught up: what was taken
// from them meanwhile it does not serve.
func TestCatchesUpBeforeItServes(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	twice(t, n)
	g := n.gateways()[1]
	moved(t, at(t, n, 1, 1), 0)
	g.member.RightLost()
	g.view.still.Lock() // what it is told takes no effect yet
	unmap(t, n)
	g.member.RightBack()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); pause.For(t.Context(), 10*time.Millisecond) {
		c, err := iscsitest.Dial(n.Portals()[1].Listen)
		if err == nil {
			err = c.Login(iscsitest.Login{Target: demoIQN, Initiator: webIQN, ISID: [6]byte{0x80, 0, 0, 0, 0, 7}})
			c.Reset()
		}
		if err == nil {
			t.Error("a host is let in before the gateway has caught up")
			break
		}
	}
	g.view.still.Unlock()
	if _, asc := ready(t, at(t, n, 1, 7), 0); asc != noSuchUnit {
		t.Errorf("what was unmapped answers %04x", asc)
	}
}

// A right that is lost again lets nobody in.
func TestRightLostWhileItCatchesUp(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	m := n.gateways()[1].member
	m.RightLost()
	m.n.view.still.Lock()
	change := func(tx *meta.Tx) error { return tx.CreateTarget(&san.Target{Name: demoIQN, Open: true}) }
	if err := n.meta.Update(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	m.RightBack()
	m.RightLost()
	m.n.view.still.Unlock()
	if err := n.Sync(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	pause.For(t.Context(), 3*catchUpAgain)
	if m.letsIn() {
		t.Error("hosts are let in without a right")
	}
	m.RightBack()
	at(t, n, 1, 1)
}

// A volume that does not close keeps no hosts out, and ends the access of none
// later.
func TestCatchesUpBesideAVolumeThatDoesNotClose(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	m := n.gateways()[1].member
	closes := make(chan struct{})
	m.found(v.ID).do(func() { <-closes })
	unmap(t, n)
	m.RightLost()
	m.RightBack()
	if _, asc := ready(t, at(t, n, 1, 1), 0); asc != noSuchUnit {
		t.Errorf("what was unmapped answers %04x", asc)
	}
	close(closes)
}
