package lun

import (
	"runtime"
	"testing"
	"time"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// shortly is how long commands of most tests wait for reservations to be settled.
const shortly = 20 * time.Millisecond

// patient makes commands wait for longer than any test takes.
func (g *gang) patient() {
	for _, x := range g.gates {
		x.unit.guard.waiters.most = time.Hour
	}
}

// waits admits a task, and wants it to wait for the reservations of gateway at.
func (g *gang) waits(at int, w *wire, task *Task, data ...byte) *Task {
	g.t.Helper()
	s := &g.gates[at].unit.guard.waiters
	waiting := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.all)
	}
	before := waiting()
	w.Admit(task)
	if task.OutLen > 0 {
		give(task, data)
		task.Ready()
	}
	for waiting() == before { // a worker has it
		if w.isDone(task) {
			g.t.Fatalf("% x does not wait: status %v, sense % x", task.CDB, task.Status, task.Sense)
		}
		runtime.Gosched()
	}
	return task
}

// A host that comes while the store is slow to note that the holder of a
// RESERVE(6) is gone is not told BUSY: it may take that for a failed login.
func TestCommandsWaitForTheEndOfReserve6(t *testing.T) {
	g := newGang(t, 2, nil)
	g.patient()
	st := &slowStore{UnitStore: g.store}
	g.gates[0].unit.store = st
	g.serve(0)
	a := g.attach(1, 1)
	a.pending()
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	let := st.slow()
	t.Cleanup(let)
	a.Detach()
	<-st.saves
	var tasks []*Task
	var wires []*wire
	for at := range g.gates {
		w := g.attach(at, 2)
		u := 0
		if at == 0 { // what a unit attention would end waits as well
			g.gates[at].unit.Renamed()
			tasks, wires = append(tasks, g.waits(u, w, w.newTask(testUnitReady))), append(wires, w)
			continue
		}
		w.pending()
		for _, task := range []*Task{w.newTask(testUnitReady), w.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)} {
			tasks, wires = append(tasks, g.waits(u, w, task)), append(wires, w)
		}
		write := w.out(512, 0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0)
		tasks, wires = append(tasks, g.waits(u, w, write, make([]byte, 512)...)), append(wires, w)
	}
	aborted := g.waits(0, wires[1], wires[1].newTask(testUnitReady))
	if r := wires[1].manage(TMF{Function: AbortTask, LUN: lun0, RefTag: aborted.Tag}); r != TMFComplete {
		t.Errorf("ABORT TASK: %v", r)
	}
	if wires[1].wait(aborted); !aborted.Aborted {
		t.Errorf("a task that waited and was aborted ended with %v", aborted.Status)
	}
	for i, task := range tasks {
		wantWaiting(t, wires[i], task)
	}
	let()
	for i, task := range tasks {
		wires[i].wait(task)
		if i == 0 {
			wantSense(t, task, scsi.UnitAttention, scsi.ASCInquiryDataChanged)
			continue
		}
		wantGood(t, task)
	}
}

// What waits for reservations goes to the next owner with all else, and is
// executed there; what is aborted by a reset ends at once.
func TestCommandsThatWaitForReservationsMove(t *testing.T) {
	g := newGang(t, 3, nil)
	g.patient()
	g.serve(0)
	a, b, c := g.attach(1, 1), g.attach(2, 2), g.attach(0, 3)
	quiet(a, b, c)
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	record := g.record()
	a.Detach()
	g.crash(record)
	g.serve(0) // it does not know whether a is there
	quiet(b, c)
	far, near := g.waits(0, b, b.newTask(testUnitReady)), g.waits(0, c, c.newTask(testUnitReady))
	six := g.waits(0, b, b.newTask(reserve6CDB))
	reset := g.waits(0, c, c.newTask(testUnitReady))
	if r := c.manage(TMF{Function: AbortTask, LUN: lun0, RefTag: reset.Tag}); r != TMFComplete || !c.wait(reset).Aborted {
		t.Errorf("ABORT TASK: %v, and the task ended with %v", r, reset.Status)
	}
	g.move(2)
	wantWaiting(t, b, far, six)
	wantWaiting(t, c, near)
	g.gates[2].unit.Sweep(func(san.TPG) bool { return true })
	for _, task := range []*Task{far, six} {
		wantGood(t, b.wait(task))
	}
	if c.wait(near); near.Status != scsi.Good && near.Status != scsi.ReservationConflict { // of two that waited at a time
		t.Errorf("status %v", near.Status)
	}
}

// While the record is read again commands wait for that, those about reservations
// too; and for no longer than is good for a host.
func TestCommandsWaitForTheRecord(t *testing.T) {
	for _, patient := range []bool{true, false} {
		g := newGang(t, 1, nil)
		if patient {
			g.patient()
		}
		st := &doubtfulStore{memStore: g.store}
		u := g.gates[0].unit
		u.store = st
		g.serve(0)
		a, b := g.attach(0, 1), g.attach(0, 2)
		a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
		quiet(b)
		st.mu.Lock()
		gate := make(chan struct{})
		st.doubtful, st.gate = true, gate
		st.mu.Unlock()
		wantSense(t, a.persist(pr.Reserve, pr.WriteExclusive, pr.Out{Key: 1}), scsi.HardwareError, scsi.ASCInternalTargetFailure)
		list := (&pr.Out{Key: 1}).Append(nil, pr.Reserve)
		tasks := []*Task{
			b.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0),
			b.in(8, 0x5e, byte(pr.ReadKeys), 0, 0, 0, 0, 0, 0, 8, 0),
			b.out(len(list), 0x5f, byte(pr.Reserve), byte(pr.WriteExclusive), 0, 0, 0, 0, 0, byte(len(list)), 0),
			b.newTask(reserve6CDB),
		}
		for _, task := range tasks {
			if patient {
				g.waits(0, b, task, list...)
			} else {
				wantBusy(t, b.run(task, list...))
			}
		}
		st.mu.Lock()
		st.doubtful, st.gate = false, nil
		st.mu.Unlock()
		close(gate)
		u.guard.reading.Wait()
		if !patient {
			wantGood(t, b.tur())
			continue
		}
		wantGood(t, b.wait(tasks[0]))
		wantGood(t, b.wait(tasks[1]))
		wantConflict(t, b.wait(tasks[2]))
		wantConflict(t, b.wait(tasks[3]))
	}
}

// A record that could not be read before the volume moved is the next owner's to
// read: the former one executes what belongs to the front.
func TestUnreadRecordStaysBehind(t *testing.T) {
	g := newGang(t, 2, nil)
	st := &doubtfulStore{memStore: g.store}
	g.gates[0].unit.store = st
	g.serve(0)
	a := g.attach(0, 1)
	st.mu.Lock()
	st.doubtful = true
	st.mu.Unlock()
	g.gates[0].unit.store = unreadStore{st}
	wantSense(t, a.run(a.newTask(reserve6CDB)), scsi.HardwareError, scsi.ASCInternalTargetFailure)
	g.cut()
	g.serve(1)
	quiet(a)
	wantGood(t, a.run(a.newTask([]byte{0x83}))) // EXTENDED COPY of nothing
}

// unreadStore can't be read.
type unreadStore struct{ UnitStore }

func (unreadStore) Load(string) ([]byte, error) { return nil, errDoubt }
