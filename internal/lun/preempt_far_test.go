package lun

import (
	"testing"

	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// PREEMPT AND ABORT through one gateway, of a nexus on another, of a volume that
// is on any: it is answered when no write of the one that was preempted can touch
// the medium, and that one has its unit attention.
func TestPreemptAndAbortAcrossGateways(t *testing.T) {
	for _, c := range []struct{ owner, victim, by int }{{0, 1, 2}, {0, 0, 1}, {0, 1, 0}, {0, 1, 1}} {
		g := newGang(t, 3, nil)
		g.serve(c.owner)
		h := holdCommands(g.gates[c.owner].unit)
		hold := *g.gates[c.owner].unit.table.lookup(opHold, 0)
		for i, x := range g.gates {
			if i != c.owner {
				inject(x.unit, hold)
			}
		}
		a, b := g.attach(c.victim, 1), g.attach(c.by, 2)
		a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
		b.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})
		a.mustPersist(pr.Reserve, pr.WriteExclusiveRegistrantsOnly, pr.Out{Key: 1})

		running, waiting, gathering := a.hold(0, 1), a.hold(0, 1), a.out(512, 0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0)
		a.Admit(running)
		<-h.entered
		a.Admit(waiting)
		a.Admit(gathering)
		list := (&pr.Out{Key: 2, ActionKey: 1}).Append(nil, pr.PreemptAndAbort)
		preempt := b.out(len(list), 0x5f, byte(pr.PreemptAndAbort), byte(pr.WriteExclusiveRegistrantsOnly), 0, 0, 0, 0, 0, byte(len(list)), 0)
		b.Admit(preempt)
		give(preempt, list)
		preempt.Ready()
		for _, task := range []*Task{waiting, gathering} {
			wantAborted(t, a.wait(task), true)
		}
		if r := b.reservation(); r == nil || r.Key != 2 {
			t.Errorf("%+v: reservation %+v", c, r)
		}
		wantWaiting(t, b, preempt)
		wantWaiting(t, a, running)
		h.letGo(running, nil)
		wantGood(t, b.wait(preempt))
		if !a.isDone(running) {
			t.Fatalf("%+v: answered before the write of the other had ended", c)
		}
		wantAborted(t, running, true)
		wantPending(t, a, scsi.ASCRegistrationsPreempted)
		wantConflict(t, a.wait(a.put(9, 1)))
		if b.get(9) != 0 {
			t.Errorf("%+v: a write that was aborted reached the medium", c)
		}
	}
}

// RESERVE(6) ends with the gateway of its nexus, be it the owner or another: the
// next owner sweeps when it knows that it is dead.
func TestReserve6EndsWithItsGateway(t *testing.T) {
	for _, holder := range []int{0, 1} {
		g := newGang(t, 3, nil)
		g.serve(0)
		w, other := g.attach(holder, 1), g.attach(2, 2)
		wantGood(t, w.run(w.newTask(reserve6CDB)))
		g.giveUp()
		g.epoch++
		g.open(2)
		if holder != 0 {
			g.relay(0) // the other one is dead
		}
		// Whether the former owner saw the nexus end is not known here.
		wantBusy(t, other.tur())
		u := g.gates[2].unit
		u.Sweep(func(p san.TPG) bool { return p != san.TPG(1+holder) }) // those that live
		wantBusy(t, other.tur())
		wantBusy(t, other.run(other.newTask(reserve6CDB)))
		u.Sweep(func(p san.TPG) bool { return p == san.TPG(1+holder) })
		u.guard.reading.Wait()
		wantGood(t, other.tur())
		wantGood(t, other.run(other.newTask(reserve6CDB)))
	}
}

// wantBusy wants a task to have ended with BUSY.
func wantBusy(t testing.TB, task *Task) {
	t.Helper()
	if task.Status != scsi.Busy {
		t.Fatalf("% x: status %v; want BUSY", task.CDB, task.Status)
	}
}

// What RESERVE(6) and RELEASE(6) change is stored before anybody sees it: the
// owner may be followed by another at any time.
func TestReserve6IsStoredBeforeItIsSeen(t *testing.T) {
	st := &doubtfulStore{memStore: newStore()}
	v := testVolume()
	dev, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock})
	if err != nil {
		t.Fatal(err)
	}
	u := localUnit(t, v, dev, st, UnitOptions{Shared: true})
	if err := u.Serve(1); err != nil {
		t.Fatal(err)
	}
	tg := oneUnit(u)
	a, b := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	for _, cdb := range [][]byte{reserve6CDB, release6CDB} {
		st.mu.Lock()
		st.doubtful, st.gate = true, make(chan struct{})
		st.mu.Unlock()
		held := u.guard.state.Load()
		wantSense(t, a.run(a.newTask(cdb)), scsi.HardwareError, scsi.ASCInternalTargetFailure)
		if u.guard.state.Load() != held {
			t.Errorf("% x is in force before it is stored", cdb)
		}
		wantBusy(t, b.run(b.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)))
		st.mu.Lock()
		gate := st.gate
		st.doubtful, st.gate = false, nil
		st.mu.Unlock()
		close(gate)
		u.guard.reading.Wait()
		wantGood(t, a.run(a.newTask(cdb)))
	}
}
