package gateway

import (
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/san"
	"sango/internal/scsi"
)

// named logs in to a gateway of n under an instance.
func named(t *testing.T, n *Node, gateway int, i san.Instance) *iscsitest.Conn {
	t.Helper()
	c, err := iscsitest.Dial(n.Portals()[gateway].Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Reset)
	l := iscsitest.Login{Target: demoIQN, Initiator: webIQN, ISID: san.ISID{0x80, 0, 0, 0, 1, byte(i.Login)}}
	l.Keys = iscsi.Keys{{Key: "X-io.sango.Instance", Value: "0x" + i.String()}}
	if err := c.Login(l); err != nil {
		t.Fatal(err)
	}
	return c
}

// fence sends FENCE for an instance and returns the status.
func fence(t *testing.T, c *iscsitest.Conn, i san.Instance) byte {
	t.Helper()
	return fenceAt(t, c, 0, i)
}

// fenceAt is fence at a LUN.
func fenceAt(t *testing.T, c *iscsitest.Conn, lun int, i san.Instance) byte {
	t.Helper()
	l := scsi.FenceList{Group: i.Group, Entries: []scsi.FenceEntry{{Run: i.Run, Login: i.Login}}}
	list := l.Append(nil)
	f := scsi.Fence{Action: scsi.SAFenceInstances, Length: uint32(len(list))}
	r, err := c.Do(iscsitest.Command{LUN: lunField(lun), CDB: f.CDB(), Out: list})
	if err != nil {
		t.Fatal(err)
	}
	return r.Status
}

// A fence asks every gateway that lives, also one of which the gateway that got
// it has still to hear; and is not answered with GOOD where it can't be asked.
func TestFenceAsksAll(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 3)
	t.Cleanup(func() { stop(t, n) })
	mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	own := san.Instance{Group: 5, Run: 1, Login: 1}
	c := named(t, n, 0, own)
	gone := n.gateways()[2]
	forget := func() {
		change(t, n, func(tx *meta.Tx) error {
			tx.RemoveGateway(gone.cfg.Name)
			return nil
		})
	}

	forget()
	if s := fence(t, c, san.Instance{Group: 5, Run: 1, Login: 9}); s != 8 {
		t.Errorf("status %#x where a gateway can't be asked, want BUSY", s)
	}
	if err := gone.registerAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Sync(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	old := san.Instance{Group: 5, Run: 1, Login: 2}
	victim := named(t, n, 2, old)
	moved(t, victim, 0)

	// The first gateway is slow to hear that the third is there.
	forget()
	v := n.view
	v.still.Lock()
	if err := gone.registerAgain(t.Context()); err != nil {
		v.still.Unlock()
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, v.still.Unlock)
	if s := fence(t, c, old); s != 0 {
		t.Fatalf("status %#x", s)
	}
	if _, err := victim.Do(iscsitest.Command{LUN: lunField(0)}); err == nil {
		t.Error("the session that was fenced goes on")
	}
}

// groups returns how many target port groups REPORT TARGET PORT GROUPS tells.
func groups(t *testing.T, c *iscsitest.Conn) (n int) {
	t.Helper()
	k := iscsitest.Command{LUN: lunField(0), In: 256}
	k.CDB[0], k.CDB[1], k.CDB[8], k.CDB[9] = 0xa3, 0x0a, 1, 0
	r, err := c.Do(k)
	if err != nil || r.Status != 0 || len(r.Data) < 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	for b := r.Data[4:]; len(b) >= 8; b = b[8+4*int(b[7]):] {
		n++
	}
	return n
}

// The target port groups that a gateway tells are those of all registrations
// that were made before it was asked.
func TestGroupsAreCurrent(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 3)
	t.Cleanup(func() { stop(t, n) })
	mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	allServed(t, n)
	c := at(t, n, 0, 0)
	moved(t, c, 0)
	if got := groups(t, c); got != 3 {
		t.Fatalf("%d groups", got)
	}
	n.view.still.Lock()
	err := n.meta.Update(t.Context(), func(tx *meta.Tx) error {
		tx.RemoveGateway(n.gateways()[2].cfg.Name)
		return nil
	})
	time.AfterFunc(100*time.Millisecond, n.view.still.Unlock)
	if err != nil {
		t.Fatal(err)
	}
	if got := groups(t, c); got != 2 {
		t.Errorf("%d groups after one was taken away", got)
	}
}
