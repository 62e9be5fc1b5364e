package relay

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/lun"
	"sango/internal/scsi"
)

// When a link is lost, what changes nothing is sent again; of a write nobody
// knows, and it is answered so when the owner has answered that nothing is left
// of the former nexus, and not before.
func TestLossAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		started := owner.unit.slow()
		h := front.host(v, 1)
		w, r := h.send(write(1)), h.send(read(1))
		executing := <-started
		<-started
		// The owner's medium is slow to let go of the write.
		var landed atomic.Bool
		owner.unit.all()[0].killed = func(k *lun.Task) {
			if k != executing {
				finish(k, scsi.Good)
				return
			}
			time.AfterFunc(1500*time.Millisecond, func() {
				landed.Store(true)
				finish(k, scsi.Good)
			})
		}
		owner.unit.set(func(r *fakeRemote, k *lun.Task) { r.done(k, scsi.Good) })
		p.cut(nil)
		synctest.Wait()
		later := h.send(write(2))
		pass(900 * time.Millisecond)
		pending(t, w)
		pending(t, r)
		pending(t, later)
		expect(t, later, lun.Unreachable, 0) // after the hold time: it was not sent
		k := <-w
		if k.outcome != lun.Lost || !landed.Load() {
			t.Errorf("outcome %d, landed: %v", k.outcome, landed.Load())
		}
		if n := h.losses(); n != 1 {
			t.Errorf("%d times nexus loss", n)
		}
		expect(t, h.send(write(3)), lun.Ended, scsi.Good)
		if o := (<-r).outcome; o != lun.Unreachable { // it waited too long as well
			t.Errorf("outcome %d", o)
		}
	})
}

// A nexus whose link was lost begins anew: the owner knows it under another
// login, and what it had to say to the former one is not known. What waited for
// the owner and changes something is for the host to send again.
func TestLossBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		h := front.host(v, 1)
		front.settled(v)
		first := owner.unit.all()[0].standing
		p.cut(errDenied)
		synctest.Wait()
		w, r := h.send(write(1)), h.send(read(1))
		p.cut(nil)
		if k := expect(t, w, lun.Ended, scsi.Busy); k.Want != 0 {
			t.Errorf("it wanted %d bytes", k.Want)
		}
		expect(t, r, lun.Ended, scsi.Good)
		second := owner.unit.all()[0].standing
		if lost := h.losses(); h.cuts != 1 || lost != 1 || !second.Fresh || second.Doubt || second.Login == first.Login || second.Login == 0 {
			t.Errorf("%d times cut, %d times begun anew, at first %+v, then %+v", h.cuts, lost, first, second)
		}
		expect(t, h.send(write(2)), lun.Ended, scsi.Good)
	})
}

// The same where it was lost before the owner had answered: it may have known
// the nexus for a moment.
func TestLossBeforeTheNexusIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		know, seen := make(chan struct{}), make(chan struct{}, 9)
		owner.unit.attach = func() error {
			seen <- struct{}{}
			<-know
			return nil
		}
		h := front.host(v, 1)
		<-seen
		p.cut(nil)
		synctest.Wait()
		close(know)
		front.settled(v)
		if s := owner.unit.all()[0].standing; h.losses() != 1 || s.Login == 1 {
			t.Errorf("%d times begun anew, under %+v", h.losses(), s)
		}
	})
}

// However old it is by then: it changes nothing.
func TestReadIsSentAgain(t *testing.T) {
	for _, age := range []time.Duration{0, 5*time.Second + tickTime/2} {
		synctest.Test(t, func(t *testing.T) {
			front, owner, p, v := pair(t, nil)
			started := owner.unit.slow()
			h := front.host(v, 1)
			r := h.send(read(1))
			<-started
			owner.unit.set(func(r *fakeRemote, k *lun.Task) { r.done(k, scsi.Good) })
			pass(age)
			p.cut(nil)
			expect(t, r, lun.Ended, scsi.Good)
		})
	}
}

// Without a way to the owner a write is unknown until the owner would not let it
// in any more.
func TestLossForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		started := owner.unit.slow()
		h := front.host(v, 1)
		began := time.Now()
		w := h.send(write(1))
		<-started
		p.cut(errDenied)
		expect(t, w, lun.Lost, 0)
		if d := time.Since(began); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

// The end of the epoch ends the wait at once. What was not sent goes back, in
// order.
func TestLossAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		started := owner.unit.slow()
		h := front.host(v, 1)
		began := time.Now()
		w := h.send(write(1))
		<-started
		p.cut(errDenied)
		synctest.Wait()
		var order []uint64
		var all []<-chan result
		for range 5 {
			all = append(all, h.send(write(2)))
		}
		pending(t, w)
		v.Over()
		expect(t, w, lun.Lost, 0)
		for _, c := range all {
			order = append(order, expect(t, c, lun.Again, 0).Call)
		}
		for i := range order[1:] {
			if order[i] > order[i+1] {
				t.Errorf("came back in the order %v", order)
			}
		}
		expect(t, h.send(write(3)), lun.Again, 0)
		if d := time.Since(began); d > 0 {
			t.Errorf("after %v", d)
		}
	})
}

// What the owner has not decoded when the connection is lost is not executed.
func TestUndecodedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, owner, _, _ := pair(t, nil)
		f := dialRaw(t, owner, memberA, 9)
		f.open(1, testNexus(7, 1))
		f.expectOpened(1)
		started := owner.unit.slow()
		in := owner.inbound(memberA, 9)
		// The reader is busy with the first; the link dies while more is buffered.
		stuck := make(chan struct{})
		owner.unit.set(func(r *fakeRemote, k *lun.Task) {
			started <- k
			in.conn.end(errors.New("cut"))
			<-stuck
			r.done(k, scsi.Good)
		})
		b := f.command(1, 0, 1)
		b = append(b, f.command(1, 1, 2)...)
		f.write(b)
		<-started
		close(stuck)
		synctest.Wait()
		if len(started) > 0 {
			t.Error("a command was executed after the link was lost")
		}
	})
}

// A host that gives up waits until the task can't touch the medium any more.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, func(c *Config) { c.NexusCommands = 1 })
		started := owner.unit.slow()
		h := front.host(v, 1)
		executing, waiting := h.send(write(1)), h.send(write(2))
		<-started
		release := make(chan struct{})
		owner.unit.all()[0].killed = func(k *lun.Task) {
			go func() {
				<-release
				r := k.User.(*task).to.nexus.(*fakeRemote)
				r.end(k, k.Call, func() { k.Aborted = true })
			}()
		}
		v.Cancel(99)
		v.Cancel(2) // waits for credit: at once
		expect(t, waiting, lun.Aborted, 0)
		v.Cancel(1)
		v.Cancel(1)
		synctest.Wait()
		pending(t, executing)
		close(release)
		expect(t, executing, lun.Aborted, 0)
		// One of which nobody knows.
		w := h.send(write(3))
		<-started
		release = make(chan struct{})
		p.cut(nil)
		synctest.Wait()
		v.Cancel(3)
		synctest.Wait()
		pending(t, w)
		close(release)
		expect(t, w, lun.Aborted, 0)
	})
}

// A task whose LUN is gone goes back if it was not sent; else the owner is told.
func TestHasten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, func(c *Config) { c.NexusCommands = 1 })
		started := owner.unit.slow()
		h := front.host(v, 1)
		executing, waiting := h.send(write(1)), h.send(write(2))
		k := <-started
		v.Hasten(2)
		expect(t, waiting, lun.Again, 0)
		v.Hasten(1)
		synctest.Wait()
		if got := owner.unit.all()[0].hastened; len(got) != 1 || got[0] != k.Call {
			t.Errorf("hastened: %v", got)
		}
		finish(k, scsi.Good)
		expect(t, executing, lun.Ended, scsi.Good)
	})
}

// A session that ends gets its successor in only after its own end.
func TestReinstatement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, nil)
		started := owner.unit.slow()
		h := front.host(v, 1)
		w := h.send(write(1))
		old := <-started
		owner.unit.all()[0].killed = func(*lun.Task) {}
		v.Part(h.nexus, 0, func() {}) // against the rules, with a task under way
		h2 := front.host(v, 1)
		w2 := h2.send(write(2))
		pass(500 * time.Millisecond)
		pending(t, w2)
		if len(started) > 0 {
			t.Fatal("the successor's task was let in")
		}
		finish(old, scsi.Good)
		<-w
		finish(<-started, scsi.Good)
		expect(t, w2, lun.Ended, scsi.Good)
	})
}

// An owner that is none any more says so: all that was sent and not executed
// comes back in order, and what comes later at once.
func TestMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, func(c *Config) { c.NexusCommands = 3 })
		started := owner.unit.slow()
		h := front.host(v, 1)
		var all []<-chan result
		for range 6 {
			all = append(all, h.send(write(1)))
		}
		moved := func(k *lun.Task) {
			r := k.User.(*task).to.nexus.(*fakeRemote)
			r.end(k, k.Call, func() { k.Moved = true })
		}
		finish(<-started, scsi.Good)
		moved(<-started)
		moved(<-started)
		expect(t, all[0], lun.Ended, scsi.Good)
		for _, c := range all[1:3] {
			expect(t, c, lun.Again, 0)
		}
		synctest.Wait()
		for len(started) > 0 { // one was sent when the first had ended
			moved(<-started)
		}
		for _, c := range all[3:] {
			expect(t, c, lun.Again, 0)
		}
		expect(t, h.send(write(1)), lun.Again, 0)
		if len(started) > 0 {
			t.Error("it was asked again")
		}
		v.Over()
	})
}

// A gateway whose right has run out tells nobody how a command ended: its
// links end.
func TestVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		started := owner.unit.slow()
		h := front.host(v, 1)
		w := h.send(write(1))
		k := <-started
		p.mu.Lock()
		p.deny = errDenied
		p.mu.Unlock()
		k.User.(*task).to.nexus.(*fakeRemote).end(k, 1, func() { k.Void = true })
		synctest.Wait()
		pending(t, w)
		expect(t, w, lun.Lost, 0)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, nil)
		started := owner.unit.slow()
		h := front.host(v, 1)
		w := h.send(write(1))
		<-started
		owner.node.Close()
		if len(owner.unit.all()) > 0 {
			t.Error("a nexus is left")
		}
		synctest.Wait()
		pending(t, w)
		front.node.Close()
		<-w
		expect(t, h.send(write(1)), lun.Again, 0)
	})
}

// A request whose answer was lost with the link is one for the next owner, if the
// volume has moved meanwhile: nobody knows here whether it was performed.
func TestManageAndLossAndMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		h := front.host(v, 1)
		front.settled(v)
		owner.unit.all()[0].managed = func(lun.TMF, func(lun.TMFResponse)) {}
		answered := make(chan lun.TMFResponse, 1)
		v.Manage(h.nexus, 0, lun.TMF{Function: lun.LogicalUnitReset}, func(x lun.TMFResponse) { answered <- x })
		synctest.Wait()
		owner.unit.attach = func() error { return lun.ErrMoved }
		p.cut(nil)
		if x := <-answered; x != lun.TMFMoved {
			t.Error(x)
		}
	})
}
