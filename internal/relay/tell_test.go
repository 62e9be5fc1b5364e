package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/san"
	"sango/internal/scsi"
)

// What the owner tells a nexus is acknowledged when it is in effect there.
func TestTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		h := front.host(v, 1)
		h.ack = false
		front.settled(v)
		r := owner.unit.all()[0]
		if !r.standing.Fresh {
			t.Error("it is fresh")
		}
		acked := 0
		e := lun.Event{Attention: scsi.ASCNexusLoss, Abort: true, Only: true}
		r.tr.Tell(0, e, func() { acked++ })
		synctest.Wait()
		if len(h.told) != 1 || h.told[0] != e || acked != 0 {
			t.Fatalf("told %v, acknowledged %d", h.told, acked)
		}
		h.acks[0]()
		synctest.Wait()
		if acked != 1 {
			t.Errorf("acknowledged %d times", acked)
		}
		// The end of the nexus is an acknowledgement as well: before the tasks end
		// that may be waiting for it.
		started := owner.unit.slow()
		h.send(write(1))
		k := <-started
		release := make(chan struct{})
		r.killed = func(*lun.Task) {
			go func() {
				<-release
				finish(k, scsi.Good)
			}()
		}
		r.tr.Tell(0, lun.Event{Drop: true}, func() { acked++; close(release) })
		p.cut(nil)
		synctest.Wait()
		if acked != 2 {
			t.Errorf("acknowledged %d times", acked)
		}
		r.tr.Tell(0, e, func() { acked++ })
		if acked != 3 {
			t.Error("a nexus that has ended is waited for")
		}
		front.settled(v)
		if r = owner.unit.all()[0]; !r.standing.Fresh || h.losses() != 1 {
			t.Error("it is told of the loss, and of nothing else")
		}
		v.Over()
	})
}

// What another nexus aborts at the owner ends with a status, as what it aborts at
// the front does; what the own nexus aborts does not.
func TestTaskAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, nil)
		h := front.host(v, 1)
		front.settled(v)
		r := owner.unit.all()[0]
		started := owner.unit.slow()
		other, own := h.send(write(1)), h.send(write(2))
		k := <-started
		r.end(k, k.Call, func() { k.Status = scsi.TaskAborted })
		expect(t, other, lun.Ended, scsi.TaskAborted)
		k = <-started
		r.end(k, k.Call, func() { k.Status, k.Aborted = scsi.TaskAborted, true })
		expect(t, own, lun.Aborted, 0)
		e := lun.Event{Abort: true, TAS: true}
		r.tr.Tell(0, e, func() {})
		synctest.Wait()
		if len(h.told) != 1 || h.told[0] != e {
			t.Errorf("told %+v", h.told)
		}
		v.Over()
	})
}

// The owner learns when it knows all nexuses.
func TestSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, nil)
		owner.unit.attach = func() error {
			if owner.node.stamp() < 2_000_000 {
				return lun.ErrNexusExists
			}
			return nil
		}
		for i := range byte(3) {
			front.host(v, i)
		}
		v.Joined()
		pass(time.Second)
		if owner.synced > 0 {
			t.Error("too early")
		}
		owner.wait(func() bool { return owner.synced == 1 })
		if n := len(owner.unit.all()); n != 3 {
			t.Errorf("%d nexuses", n)
		}
		pass(time.Second)
		if owner.synced != 1 {
			t.Errorf("told %d times", owner.synced)
		}
	})
}

// A fence is answered when every live member has ended the sessions, and the
// owner the nexuses, whose instances are not let in again.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owns := make(chan func(), 10)
		owner := newGateway(t, memberB, func(c *Config) {
			c.Fence = func(f Fence, done func()) {
				if f.Initiator == testNexus(1, 1).Initiator.Name && f.List.Group == 5 {
					owns <- done
				}
			}
		})
		p := &piped{owner: owner}
		front := newGateway(t, memberA, func(c *Config) { c.Dial, c.Links = p.dial, 1 })
		deaf := model.Member{Gateway: "c", Incarnation: 9}
		front.node.SetPeers([]Peer{{Member: memberB, Addr: "b:1"}, {Member: deaf, Addr: "c:1"}})
		front.wait(func() bool { return len(front.found) > 0 })
		started := owner.unit.slow()
		open := func(f *raw, h wire.Handle, isid byte, i san.Instance) {
			o := wire.NexusOpen{Handle: h, Nexus: testNexus(isid, 1), Volume: testVolume, Epoch: 7, Instance: i}
			f.write(o.Append(nil))
		}
		f := dialRaw(t, owner, model.Member{Gateway: "a", Incarnation: 1}, 5)
		f.beat()
		open(f, 0, 1, san.Instance{Group: 5, Run: 1, Login: 1})
		f.expectOpened(0)
		open(f, 1, 2, san.Instance{Group: 5, Run: 1, Login: 2})
		f.expectOpened(1)
		f.write(f.command(0, 0, 1))
		k := <-started
		r := k.User.(*task).to.nexus.(*fakeRemote)
		r.killed = func(*lun.Task) {}
		list := Fence{
			Initiator: testNexus(1, 1).Initiator.Name,
			List:      scsi.FenceList{Group: 5, Entries: []scsi.FenceEntry{{Run: 1, Login: 1}}},
		}
		answered := make(chan bool, 1)
		if !front.node.Fence(list, nil, func(ok bool) { answered <- ok }) {
			t.Fatal("refused")
		}
		still := func(why string) {
			t.Helper()
			pass(time.Second)
			if len(answered) > 0 {
				t.Fatalf("answered before %s", why)
			}
		}
		still("the task has ended")
		r.end(k, k.Call, func() { k.Aborted = true })
		f.expectOutcome(0, wire.Aborted)
		still("the owner's own sessions have")
		(<-owns)()
		still("a member that does not answer is over")
		front.node.SetPeers([]Peer{{Member: memberB, Addr: "b:1"}})
		if !<-answered {
			t.Error("it was given up")
		}
		f.write(f.command(0, 0, 2))
		f.expectOutcome(0, wire.Aborted)
		f.write((&wire.NexusClose{Handle: 0}).Append(nil))
		f.next(wire.TypeNexusClosed)
		open(f, 0, 1, san.Instance{Group: 5, Run: 1, Login: 1})
		f.expectRefused(wire.ReasonFenced)
		f.write(f.command(1, 0, 1)) // another instance
		finish(<-started, scsi.Good)
		f.expectOutcome(0, wire.Done)
		// A fence that nobody waits for any more.
		stop := make(chan struct{})
		list.List.Entries[0].Login = 9
		if !front.node.Fence(list, stop, func(ok bool) { answered <- ok }) {
			t.Fatal("refused")
		}
		still("it was stopped")
		close(stop)
		if <-answered {
			t.Error("it was not done")
		}
		if n := len(front.node.fences.all); n > 0 {
			t.Errorf("%d fences are left", n)
		}
		(<-owns)()
		owner.node.graves.tick(time.Now().Add(2 * graveTime))
		if owner.node.graves.n != 0 {
			t.Errorf("%d tombstones are left", owner.node.graves.n)
		}
	})
}

// A fence reaches a member whose link is down when it is back.
func TestFenceAndLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, _, p, _ := pair(t, nil)
		p.cut(errDenied)
		answered := make(chan bool, 1)
		front.node.Fence(Fence{Initiator: "iqn.x", List: scsi.FenceList{Group: 1, Run: 1}}, nil, func(ok bool) { answered <- ok })
		pass(5 * time.Second)
		if len(answered) > 0 {
			t.Fatal("answered")
		}
		p.cut(nil)
		if !<-answered {
			t.Error("it was given up")
		}
	})
}

// Tombstones are bounded.
func TestGraves(t *testing.T) {
	var g graves
	l := scsi.FenceList{Group: 1, Entries: make([]scsi.FenceEntry, 1000)}
	n := 0
	for ; n < 1000 && g.add("x", l, time.Now()); n++ {
	}
	if n != maxGraves/1001 {
		t.Errorf("%d lists", n)
	}
}
