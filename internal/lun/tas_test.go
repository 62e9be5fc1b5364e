package lun

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// wantAborted wants a task to have been aborted: answered with TASK ABORTED, or
// not at all.
func wantAborted(t testing.TB, task *Task, tas bool) {
	t.Helper()
	answered := task.Status == scsi.TaskAborted && !task.Aborted && len(task.Sense) == 0 && task.In.Len() == 0
	if tas && !answered || !tas && !task.Aborted || task.Void {
		t.Errorf("task %d (% x): status %v, aborted %v; answered: want %v", task.Tag, task.CDB, task.Status, task.Aborted, tas)
	}
}

// setTAS sets TAS of the control mode page.
func (w *wire) setTAS(on, save bool) {
	w.t.Helper()
	c := w.page(0, 0x0a)
	if c[3] &^= 0x40; on {
		c[3] |= 0x40
	}
	wantGood(w.t, w.selectPage(0x0a, c, save))
}

// preemptAndAbort sends PREEMPT AND ABORT of key 1 with key 2.
func (w *wire) preemptAndAbort() *Task {
	list := (&pr.Out{Key: 2, ActionKey: 1}).Append(nil, pr.PreemptAndAbort)
	task := w.out(len(list), 0x5f, byte(pr.PreemptAndAbort), byte(pr.WriteExclusiveRegistrantsOnly), 0, 0, 0, 0, 0, byte(len(list)), 0)
	w.Admit(task)
	give(task, list)
	task.Ready()
	return task
}

// What another nexus aborts ends with TASK ABORTED, wherever it is on its way,
// and through whatever gateways the two come; with TAS = 0 it is not answered,
// and neither is ever what its own nexus aborts.
func TestTaskAborted(t *testing.T) {
	const preempt Function = 0
	attentions := map[Function][]scsi.ASC{
		preempt: {scsi.ASCRegistrationsPreempted}, ClearTaskSet: nil,
		LogicalUnitReset: {scsi.ASCDeviceReset}, TargetWarmReset: {scsi.ASCPowerOnOrReset},
	}
	for f, want := range attentions {
		for _, c := range []struct{ owner, victim, by int }{{0, 1, 2}, {0, 0, 1}, {0, 1, 0}, {0, 1, 1}, {0, 0, 0}} {
			for _, tas := range []bool{true, false} {
				t.Run(fmt.Sprintf("function %d, %+v, TAS %v", f, c, tas), func(t *testing.T) {
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
					if !tas {
						b.setTAS(false, false)
					}
					a.settle()
					a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
					b.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})

					running, own := a.hold(0, 1), b.hold(8, 1)
					a.Admit(running)
					b.Admit(own)
					<-h.entered
					<-h.entered
					dormant, gathering := a.hold(0, 1), a.out(512, 0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0)
					behind, door := a.newTask(testUnitReady), a.newTask(testUnitReady)
					behind.Attr = scsi.Ordered
					others := []*Task{dormant, gathering, behind}
					for _, task := range others {
						a.Admit(task)
					}
					if c.victim != c.owner && c.victim != c.by { // its gateway hears of a move
						g.gates[c.victim].unit.Hold(func() {})
						door.Attr = scsi.HeadOfQueue
						a.Admit(door)
						wantWaiting(t, a, door)
						others = append(others, door)
					}

					answer := make(chan TMFResponse, 1)
					if f == preempt {
						task := b.preemptAndAbort()
						go func() {
							b.wait(task)
							answer <- TMFResponse(task.Status)
						}()
					} else {
						b.Manage(TMF{Function: f, LUN: lun0}, func(r TMFResponse) { answer <- r })
					}
					for _, task := range others {
						a.wait(task)
						wantAborted(t, task, tas)
					}
					wantWaiting(t, a, running)
					gathering.Ready() // harmless
					h.letGo(running, nil)
					h.letGo(own, nil)
					if r := <-answer; r != TMFComplete {
						t.Errorf("answer %d", r)
					}
					if !a.isDone(running) {
						t.Fatal("answered before the task of the other had ended")
					}
					wantAborted(t, running, tas)
					if b.wait(own); f != preempt {
						wantAborted(t, own, false)
					} else {
						wantGood(t, own)
					}
					if f == ClearTaskSet && !tas {
						wantPending(t, a, scsi.ASCCommandsCleared)
					} else {
						wantPending(t, a, want...)
					}
				})
			}
		}
	}
}

// A task that another nexus aborts, and its own one too, is not answered,
// whoever comes first.
func TestAbortedTwice(t *testing.T) {
	for _, first := range []Function{AbortTask, LogicalUnitReset} {
		u := testUnit(t, nil, nil)
		h := holdCommands(u)
		tg := oneUnit(u)
		a, b := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
		task := a.hold(0, 1)
		a.Admit(task)
		<-h.entered
		answers := make(chan TMFResponse, 2)
		own := func() {
			a.Manage(TMF{Function: AbortTask, LUN: lun0, RefTag: task.Tag}, func(r TMFResponse) { answers <- r })
		}
		other := func() { b.Manage(TMF{Function: LogicalUnitReset, LUN: lun0}, func(r TMFResponse) { answers <- r }) }
		if first == AbortTask {
			own()
			other()
		} else {
			other()
			own()
		}
		h.letGo(task, nil)
		for range 2 {
			if r := <-answers; r != TMFComplete {
				t.Errorf("answer %d", r)
			}
		}
		wantAborted(t, a.wait(task), false)
	}
}

// Without the right to serve nobody is told of an abort.
func TestTaskAbortedWithoutRight(t *testing.T) {
	var right atomic.Bool
	right.Store(true)
	g := newGang(t, 1, func(o *UnitOptions) { o.Right = right.Load })
	g.serve(0)
	h := holdCommands(g.gates[0].unit)
	a, b := g.attach(0, 1), g.attach(0, 2)
	running, waiting := a.hold(0, 1), a.hold(0, 1)
	a.Admit(running)
	<-h.entered
	a.Admit(waiting)
	right.Store(false)
	answer := make(chan TMFResponse, 1)
	b.Manage(TMF{Function: LogicalUnitReset, LUN: lun0}, func(r TMFResponse) { answer <- r })
	h.letGo(running, nil)
	<-answer
	for _, task := range []*Task{running, waiting} {
		if a.wait(task); !task.Aborted || !task.Void {
			t.Errorf("status %v, aborted %v, void %v", task.Status, task.Aborted, task.Void)
		}
	}
	if len(a.dropped) == 0 {
		t.Error("the session was not dropped")
	}
	right.Store(true)
}

// An owner that is asked to abort by a nexus of its own has the front of
// another end what it has there, and what went to the owner is answered by it.
func TestTaskAbortedEvents(t *testing.T) {
	for _, tas := range []bool{true, false} {
		g := newGang(t, 1, nil)
		g.serve(0)
		u := g.gates[0].unit
		h := holdCommands(u)
		w, d := g.attach(0, 1), join(t, u, 1, 2, true)
		if !tas {
			w.setTAS(false, false)
			d.events()
		}
		task := d.send(1, AskExecute, nil, opHold, 0, 0, 1)
		<-h.entered
		answer := make(chan TMFResponse, 1)
		w.Manage(TMF{Function: ClearTaskSet, LUN: lun0}, func(r TMFResponse) { answer <- r })
		h.letGo(task, nil)
		if r := <-answer; r != TMFComplete {
			t.Errorf("answer %d", r)
		}
		wantAborted(t, d.wait(task), tas)
		want := Event{Abort: true, TAS: true}
		if !tas {
			want = Event{Attention: scsi.ASCCommandsCleared, Abort: true}
		}
		if got := d.events(); len(got) != 1 || got[0] != want {
			t.Errorf("TAS %v: told %+v", tas, got)
		}
	}
}

// TAS is 1 unless a host has changed it, also of volumes whose pages a program
// kept that could not change it; what a host has saved stays.
func TestTASIsKept(t *testing.T) {
	tas := func(st *memStore) bool {
		w := attach(t, oneUnit(testUnit(t, st, nil)), nexusName(1), "")
		return w.page(0, 0x0a)[3]&0x40 != 0
	}
	if !tas(newStore()) {
		t.Error("TAS is 0 by default")
	}
	old := newStore()
	c := scsi.Control{QueueModifier: 1, SWP: true, BusyTimeout: 0xffff}.Params()
	b, err := json.Marshal(savedModes{"0a/00": c})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Save(StateModePages, b); err != nil {
		t.Fatal(err)
	}
	if !tas(old) {
		t.Error("TAS is 0 where nobody has changed it")
	}
	st := newStore()
	w := attach(t, oneUnit(testUnit(t, st, nil)), nexusName(1), "")
	if m := w.page(1, 0x0a); m[3] != 0x40 {
		t.Errorf("changeable: %02x", m[3])
	}
	w.setTAS(false, true)
	if tas(st) {
		t.Error("what a host saved is lost")
	}
	w = attach(t, oneUnit(testUnit(t, st, nil)), nexusName(1), "")
	w.setTAS(true, true)
	if !tas(st) {
		t.Error("what a host saved is lost")
	}
}

// A part of an EXTENDED COPY that another nexus aborts fails as others do.
func TestTaskAbortedOfACopy(t *testing.T) {
	p := &Task{}
	p.Status = scsi.TaskAborted
	c := copier{}
	if err := c.relayed(p, nil); ascOfPart(err) != scsi.ASCCopyTargetNotReachable {
		t.Errorf("got %v", err)
	}
}
