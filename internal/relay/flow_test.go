package relay

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/lun"
	"sango/internal/scsi"
)

// A nexus whose commands are slow has its credit, and no more; others go on,
// also when it and its like have used up the link's.
func TestSlowNexus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, func(c *Config) { c.NexusCommands, c.Commands = 4, 6 })
		started := make(chan *lun.Task, 100)
		owner.unit.set(func(r *fakeRemote, k *lun.Task) {
			if r.id.Initiator.ISID[5] >= 10 {
				started <- k
				return
			}
			r.done(k, scsi.Good)
		})
		var slow []<-chan result
		for i := range byte(2) {
			h := front.host(v, 10+i)
			for range 10 {
				slow = append(slow, h.send(write(1)))
			}
		}
		synctest.Wait()
		if n := len(started); n != 6 {
			t.Fatalf("%d slow commands were let in, not 6", n)
		}
		quick := front.host(v, 1)
		for range 20 {
			expect(t, quick.send(write(1)), lun.Ended, scsi.Good)
		}
		var all []<-chan result
		for range 20 { // more than one at a time
			all = append(all, quick.send(read(0)))
		}
		for _, c := range all {
			expect(t, c, lun.Ended, scsi.Good)
		}
		for range slow {
			finish(<-started, scsi.Good)
		}
		for _, c := range slow {
			expect(t, c, lun.Ended, scsi.Good)
		}
		l := v.peer.lines[0]
		if l.out != 0 || l.bytes != 0 {
			t.Errorf("%d commands, %d bytes are left of the credit", l.out, l.bytes)
		}
		in := owner.inbound(memberA, 0)
		if in.out != 0 || in.bytes != 0 {
			t.Errorf("%d commands, %d bytes are left at the owner", in.out, in.bytes)
		}
	})
}

// Bytes count as well; a command that is larger than all of the credit goes
// alone.
func TestCreditOfBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, func(c *Config) { c.NexusBytes, c.Bytes = 10_000, 15_000 })
		started := owner.unit.slow()
		h := front.host(v, 1)
		var all []<-chan result
		for _, n := range []int{6000, 5000, 4000, 20_000, 100} {
			all = append(all, h.send(write(bytes.Repeat([]byte{1}, n)...)))
		}
		for _, want := range []int{1, 2, 1, 1} {
			synctest.Wait()
			if n := len(started); n != want {
				t.Fatalf("%d commands were let in, not %d", n, want)
			}
			for range want {
				finish(<-started, scsi.Good)
			}
		}
		for _, c := range all {
			expect(t, c, lun.Ended, scsi.Good)
		}
	})
}

// What waits for credit for long is told to its host as a full task set, and
// not as a lost path (DESIGN R8).
func TestTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, func(c *Config) { c.NexusCommands = 1 })
		started := owner.unit.slow()
		h := front.host(v, 1)
		first, second := h.send(write(1)), h.send(write(2))
		expect(t, second, lun.Ended, scsi.TaskSetFull)
		pending(t, first)
		finish(<-started, scsi.Good)
		expect(t, first, lun.Ended, scsi.Good)
	})
}

// As many nexuses as there may be are opened when a link is there, and closed.
func TestManyNexuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		p.cut(errDenied)
		synctest.Wait()
		const n = 9_000
		var all []*host
		for i := range n {
			h := &host{g: front, vol: v, ack: true, nexus: new(lun.Nexus), id: testNexus(byte(i), 1)}
			h.id.Initiator.ISID[3], h.id.Initiator.ISID[4] = byte(i>>16), byte(i>>8)
			front.mu.Lock()
			front.hosts[h.nexus] = h
			front.mu.Unlock()
			v.Join(h.nexus, 0, lun.Standing{})
			all = append(all, h)
		}
		p.cut(nil)
		expect(t, all[n-1].send(write(1)), lun.Ended, scsi.Good)
		if got := len(owner.unit.all()); got != n {
			t.Errorf("%d nexuses", got)
		}
		owner.unit.mu.Lock()
		owner.unit.remotes = nil // whose removal one by one takes long
		owner.unit.mu.Unlock()
		for _, h := range all {
			v.Part(h.nexus, 0, func() {})
		}
		synctest.Wait()
		in := owner.inbound(memberA, 0)
		in.mu.Lock()
		defer in.mu.Unlock()
		for _, r := range in.remotes {
			if r != nil {
				t.Fatal("a nexus is left")
			}
		}
		if in.conn.err != nil {
			t.Error(in.conn.err)
		}
	})
}

// A command that arrived before the owner was first heard has no token, and
// none that is later; a read needs none. What the front executes after an
// answer is no read.
func TestNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, _, _, v := pair(t, nil)
		h := front.host(v, 1)
		early := func(k *lun.Task) *lun.Task {
			k.Arrival = time.Now().Add(-time.Millisecond)
			return k
		}
		expect(t, h.send(early(write(1))), lun.Ended, scsi.Busy)
		expect(t, h.send(early(read(1))), lun.Ended, scsi.Good)
		question := read(0)
		question.Ask = lun.AskAllowed
		expect(t, h.send(early(question)), lun.Ended, scsi.Busy)
		expect(t, h.send(write(1)), lun.Ended, scsi.Good)
	})
}

// A command that is too old when it comes to the owner is not executed. One that
// has waited for so long at the front, for others of its nexus, is to be sent
// again; a read is never too old.
func TestTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, nil)
		ran := 0
		owner.unit.set(func(r *fakeRemote, k *lun.Task) { ran++; r.done(k, scsi.Good) })
		pass(5 * time.Second)
		old := func(k *lun.Task, age time.Duration) *lun.Task {
			k.Arrival = time.Now().Add(-age)
			return k
		}
		h := front.host(v, 1)
		front.settled(v)
		const maxAge = 3 * time.Second
		expect(t, h.send(old(write(1), maxAge)), lun.Stale, 0) // its token came before that
		expect(t, h.send(old(write(1), maxAge+1)), lun.Ended, scsi.Busy)
		question := old(read(0), maxAge+1)
		question.Ask = lun.AskAllowed
		expect(t, h.send(question), lun.Ended, scsi.Busy)
		if ran > 0 {
			t.Errorf("%d commands that are too old were executed", ran)
		}
		expect(t, h.send(old(read(1), 4*time.Second)), lun.Ended, scsi.Good)
	})
}

// settled waits until every nexus of v is open.
func (g *gateway) settled(v *Volume) {
	for _, ln := range v.all() {
		for {
			ln.line.mu.Lock()
			open := ln.state == laneOpen
			ln.line.mu.Unlock()
			if open {
				break
			}
			pass(time.Millisecond)
		}
	}
}

// A large write takes its turn with the others of its link: a small one of
// another nexus does not wait for its end.
func TestTurns(t *testing.T) {
	front, owner, v := tcp(t, func(c *Config) { c.Links = 1 })
	var order []int
	done := make(chan struct{})
	owner.unit.set(func(r *fakeRemote, k *lun.Task) {
		order = append(order, k.Out.Len()) // by the one reader
		if len(order) == 2 {
			close(done)
		}
		r.done(k, scsi.Good)
	})
	a, b := front.host(v, 1), front.host(v, 2)
	front.settled(v)
	l := v.peer.lines[0]
	l.mu.Lock() // as if a batch was under way: both wait
	l.conn.sending = true
	l.mu.Unlock()
	large := a.send(write(make([]byte, 4<<20)...))
	small := b.send(write(1))
	l.mu.Lock()
	l.conn.sending = false
	l.kick()
	<-done
	expect(t, large, lun.Ended, scsi.Good)
	expect(t, small, lun.Ended, scsi.Good)
	if order[0] != 1 {
		t.Errorf("executed in the order of %v bytes", order)
	}
}

// A request for task management holds back what the front has not sent, and
// ends it with the owner's answer; what comes later goes on.
func TestManage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, func(c *Config) { c.NexusCommands = 2 })
		started := owner.unit.slow()
		h := front.host(v, 1)
		a, b, waiting := h.send(write(1)), h.send(write(2)), h.send(write(3))
		ka, kb := <-started, <-started
		r := owner.unit.all()[0]
		var answer func(lun.TMFResponse)
		var got lun.TMF
		r.managed = func(f lun.TMF, done func(lun.TMFResponse)) { got, answer = f, done }
		var responses []lun.TMFResponse
		var order []string
		v.Manage(h.nexus, 0, lun.TMF{Function: lun.LogicalUnitReset, RefTag: 5}, func(x lun.TMFResponse) {
			responses = append(responses, x)
			select {
			case <-waiting:
				order = append(order, "after")
			default:
				order = append(order, "before")
			}
		})
		later := h.send(write(4))
		synctest.Wait()
		if got.Function != lun.LogicalUnitReset || got.RefTag != 5 || answer == nil {
			t.Fatalf("%+v", got)
		}
		finish(ka, scsi.Good)
		synctest.Wait()
		if len(started) > 0 {
			t.Error("a command overtook the request")
		}
		r.end(kb, kb.Call, func() { kb.Aborted = true })
		answer(lun.TMFComplete)
		expect(t, a, lun.Ended, scsi.Good)
		expect(t, b, lun.Aborted, 0)
		k := <-started
		if k.Call != 4 {
			t.Errorf("command %d is executed", k.Call)
		}
		finish(k, scsi.Good)
		expect(t, later, lun.Ended, scsi.Good)
		if len(responses) != 1 || responses[0] != lun.TMFComplete || order[0] != "after" {
			t.Errorf("%v, %v", responses, order)
		}
		r.managed = func(_ lun.TMF, done func(lun.TMFResponse)) { done(lun.TMFMoved) }
		v.Manage(h.nexus, 0, lun.TMF{Function: lun.ClearTaskSet}, func(x lun.TMFResponse) { responses = append(responses, x) })
		synctest.Wait()
		if len(responses) != 2 || responses[1] != lun.TMFMoved {
			t.Errorf("%v", responses)
		}
	})
}

// Commands that wait in the queue of a connection are overtaken by a request:
// the owner refuses them, and the host is answered when they have ended.
func TestManageOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, v := pair(t, nil)
		ran := 0
		owner.unit.set(func(r *fakeRemote, k *lun.Task) { ran++; r.done(k, scsi.Good) })
		h := front.host(v, 1)
		front.settled(v)
		l := v.peer.lines[0]
		l.mu.Lock() // as if a batch was under way
		l.conn.sending = true
		l.mu.Unlock()
		w := h.send(write(1))
		ended := false
		answered := make(chan bool, 1)
		l.mu.Lock()
		l.feed()
		if l.lanes[0].wait.n > 0 {
			t.Error("it is not in the queue")
		}
		l.mu.Unlock()
		v.Manage(h.nexus, 0, lun.TMF{Function: lun.LogicalUnitReset}, func(lun.TMFResponse) {
			select {
			case r := <-w:
				ended = r.outcome == lun.Aborted
			default:
			}
			answered <- ended
		})
		l.mu.Lock()
		l.conn.sending = false
		l.kick()
		if !<-answered || ran != 0 {
			t.Errorf("ended before the answer: %v; %d were executed", ended, ran)
		}
	})
}

// A request outlives a lost link: it is sent again.
func TestManageAndLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		h := front.host(v, 1)
		front.settled(v)
		owner.unit.all()[0].managed = func(lun.TMF, func(lun.TMFResponse)) {}
		answered := make(chan lun.TMFResponse, 1)
		v.Manage(h.nexus, 0, lun.TMF{Function: lun.LogicalUnitReset}, func(x lun.TMFResponse) { answered <- x })
		synctest.Wait()
		p.cut(nil)
		if x := <-answered; x != lun.TMFComplete {
			t.Error(x)
		}
		front.settled(v)
		owner.unit.all()[0].managed = func(lun.TMF, func(lun.TMFResponse)) {}
		v.Manage(h.nexus, 0, lun.TMF{Function: lun.LogicalUnitReset}, func(x lun.TMFResponse) { answered <- x })
		p.cut(errDenied)
		if x := <-answered; x != lun.TMFRejected {
			t.Error(x)
		}
	})
}
