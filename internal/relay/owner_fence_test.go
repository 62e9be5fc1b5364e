package relay

import (
	"testing"
	"testing/synctest"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/scsi"
)

// A nexus that is ended while a slow medium has one of its commands holds up
// nobody else on the link, whatever still comes for it.
func TestEndingHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := newGateway(t, memberB, nil)
		started := owner.unit.slow()
		f := dialRaw(t, owner, model.Member{Gateway: "a", Incarnation: 1}, 0)
		for h := range wire.Handle(2) {
			f.open(h, testNexus(byte(h), 1))
			f.expectOpened(h)
		}
		f.write(f.command(0, 0, 1))
		k := <-started
		r := k.User.(*task).to
		slow := r.nexus.(*fakeRemote)
		slow.killed = func(*lun.Task) {}
		r.end()
		synctest.Wait()
		go func() {
			f.write(f.command(0, 1, 2))
			f.write((&wire.Cancel{Tag: 0}).Append(nil))
			m := wire.Manage{ID: 1, Handle: 0, Function: uint8(lun.LogicalUnitReset)}
			f.write(m.Append(nil))
			f.write(f.command(1, 2, 1))
		}()
		synctest.Wait()
		f.expectOutcome(1, wire.Aborted)
		f.next(wire.TypeManaged)
		if len(started) == 0 {
			t.Fatal("the link stands still")
		}
		finish(<-started, scsi.Good)
		f.expectOutcome(2, wire.Done)
		slow.end(k, k.Call, func() { k.Aborted = true })
		f.expectOutcome(0, wire.Aborted)
	})
}

// A nexus that is ended while it is being opened is refused: its handle is free.
func TestFencedWhileItIsOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := newGateway(t, memberB, nil)
		f := dialRaw(t, owner, model.Member{Gateway: "a", Incarnation: 1}, 0)
		owner.unit.attach = func() error {
			owner.node.nexuses.mu.Lock()
			r := owner.node.nexuses.all[nexusKey{testNexus(1, 1), 0, testVolume}]
			owner.node.nexuses.mu.Unlock()
			r.end()
			return nil
		}
		f.open(0, testNexus(1, 1))
		f.expectRefused(wire.ReasonFenced)
		owner.unit.attach = nil
		f.open(0, testNexus(1, 1))
		f.expectOpened(0)
		if n := len(owner.unit.all()); n != 1 {
			t.Errorf("%d nexuses are attached", n)
		}
	})
}
