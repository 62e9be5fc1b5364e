package lun

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"sango/internal/san"
	"sango/internal/scsi"
)

var lun0 = san.LUN(0).Field()

// The answer comes when the task that executes can no longer touch the medium;
// those that wait or gather data end at once.
func TestAbortTaskSetWaits(t *testing.T) {
	for _, f := range []Function{AbortTaskSet, ClearTaskSet, LogicalUnitReset, TargetWarmReset, NexusReset} {
		u := testUnit(t, nil, nil)
		h := holdCommands(u)
		w := attach(t, oneUnit(u), nexusName(1), "")
		running, waiting, gathering := w.hold(0, 1), w.hold(0, 1), w.out(16, opHold, 0, 9, 1, 16)
		w.Admit(running)
		<-h.entered
		w.Admit(waiting)
		w.Admit(gathering)
		answer := make(chan TMFResponse, 1)
		w.Manage(TMF{Function: f, LUN: lun0}, func(r TMFResponse) { answer <- r })
		for _, task := range []*Task{waiting, gathering} {
			if !w.isDone(task) || !task.Aborted {
				t.Errorf("function %d: task %d is not aborted at once", f, task.Tag)
			}
		}
		gathering.Ready() // harmless
		select {
		case r := <-answer:
			t.Fatalf("function %d: answer %d while a task executes", f, r)
		default:
		}
		h.letGo(running, nil)
		if r := <-answer; r != TMFComplete {
			t.Errorf("function %d: answer %d", f, r)
		}
		if !w.isDone(running) || !running.Aborted {
			t.Errorf("function %d: the task that executed is not aborted before the answer", f)
		}
	}
}

func TestAbortTask(t *testing.T) {
	u := testUnit(t, nil, nil)
	h := holdCommands(u)
	w := attach(t, oneUnit(u), nexusName(1), "")
	a, b := w.hold(0, 1), w.hold(0, 1)
	w.Admit(a)
	<-h.entered
	w.Admit(b)
	if r := w.manage(TMF{Function: QueryTask, LUN: lun0, RefTag: b.Tag}); r != TMFSucceeded {
		t.Errorf("QUERY TASK: %d", r)
	}
	if r := w.manage(TMF{Function: AbortTask, LUN: lun0, RefTag: b.Tag}); r != TMFComplete {
		t.Errorf("ABORT TASK: %d", r)
	}
	if r := w.manage(TMF{Function: AbortTask, LUN: lun0, RefTag: b.Tag}); r != TMFNoTask {
		t.Errorf("ABORT TASK again: %d", r)
	}
	if r := w.manage(TMF{Function: QueryTask, LUN: lun0, RefTag: b.Tag}); r != TMFComplete {
		t.Errorf("QUERY TASK: %d", r)
	}
	h.letGo(a, nil)
	wantGood(t, w.wait(a))
	if r := w.manage(TMF{Function: QueryTaskSet, LUN: lun0}); r != TMFComplete {
		t.Errorf("QUERY TASK SET: %d", r)
	}
}

func TestFunctionsRefused(t *testing.T) {
	w := attach(t, oneUnit(testUnit(t, nil, nil)), nexusName(1), "")
	for f, want := range map[TMF]TMFResponse{
		{Function: ClearACA, LUN: lun0}:                          TMFNotSupported,
		{Function: TaskReassign, LUN: lun0}:                      TMFNoReassign,
		{Function: QueryAsyncEvent, LUN: lun0}:                   TMFNotSupported,
		{Function: 99, LUN: lun0}:                                TMFNotSupported,
		{Function: LogicalUnitReset, LUN: [8]byte{0, 7}}:         TMFNoLUN,
		{Function: AbortTask, LUN: [8]byte{0xc1, 1}}:             TMFNoLUN,
		{Function: AbortTask, LUN: lun0, RefTag: 4711}:           TMFNoTask,
		{Function: TargetWarmReset, LUN: [8]byte{0xff, 1, 2, 3}}: TMFComplete,
	} {
		if r := w.manage(f); r != want {
			t.Errorf("%+v: answer %d, want %d", f, r, want)
		}
	}
}

func TestOthersLearnOfClearedTasksAndResets(t *testing.T) {
	u := testUnit(t, nil, nil)
	h := holdCommands(u)
	tg := oneUnit(u)
	w1, w2, w3 := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), ""), attach(t, tg, nexusName(3), "")
	held := w2.hold(0, 1)
	w2.Admit(held)
	<-h.entered
	answer := make(chan TMFResponse, 1)
	w1.Manage(TMF{Function: ClearTaskSet, LUN: lun0}, func(r TMFResponse) { answer <- r })
	h.letGo(held, nil)
	<-answer
	wantAborted(t, w2.wait(held), true)
	wantGood(t, w2.tur())
	wantGood(t, w1.tur())
	wantGood(t, w3.tur())

	if r := w1.manage(TMF{Function: LogicalUnitReset, LUN: lun0}); r != TMFComplete {
		t.Errorf("LOGICAL UNIT RESET: %d", r)
	}
	for _, w := range []*wire{w1, w2, w3} {
		wantSense(t, w.tur(), scsi.UnitAttention, scsi.ASCDeviceReset)
		wantGood(t, w.tur())
	}
	if r := w1.manage(TMF{Function: NexusReset}); r != TMFComplete {
		t.Errorf("I_T NEXUS RESET: %d", r)
	}
	wantSense(t, w1.tur(), scsi.UnitAttention, scsi.ASCNexusLoss)
	wantGood(t, w2.tur())
}

// Resets of the target stay with the units that the nexus sees.
func TestTargetResetKeepsToVisibleUnits(t *testing.T) {
	mine, yours := testUnit(t, nil, nil), testUnit(t, nil, func(v *san.Volume, _ *UnitOptions) { v.ID[0]++ })
	tg := NewTarget("iqn.2026-11.test:target", TargetOptions{})
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: mine, Hosts: []string{"me"}}, 1: {Unit: yours, Hosts: []string{"you"}}})
	me, you := attach(t, tg, nexusName(1), "me"), attach(t, tg, nexusName(2), "you")
	if r := me.manage(TMF{Function: TargetColdReset}); r != TMFComplete {
		t.Errorf("TARGET COLD RESET: %d", r)
	}
	if len(me.dropped) != 1 || len(you.dropped) != 0 {
		t.Errorf("sessions dropped: mine %q, yours %q", me.dropped, you.dropped)
	}
	wantSense(t, me.tur(), scsi.UnitAttention, scsi.ASCPowerOnOrReset)
	task := you.newTask(testUnitReady)
	task.LUN = san.LUN(1).Field()
	wantGood(t, you.run(task))
	tg.SetMap(nil)
}

func TestDetachWaitsAndFreesTheName(t *testing.T) {
	u := testUnit(t, nil, nil)
	h := holdCommands(u)
	tg := oneUnit(u)
	w := attach(t, tg, nexusName(1), "")
	held, other := w.hold(0, 1), w.hold(0, 1)
	w.Admit(held)
	<-h.entered
	w.Admit(other)
	detached := make(chan struct{})
	go func() {
		w.Detach()
		close(detached)
	}()
	if !w.wait(other).Aborted {
		t.Error("the waiting task is not aborted")
	}
	if _, err := tg.Attach(nexusName(1), "", w); err == nil {
		t.Error("the name is free before the tasks have ended")
	}
	select {
	case <-detached:
		t.Error("Detach returns while a task executes")
	default:
	}
	h.letGo(held, nil)
	<-detached
	if !w.isDone(held) || !held.Aborted {
		t.Error("the task that executed is not aborted")
	}
	attach(t, tg, nexusName(1), "")
}

// Aborts, resets, LUN changes and detaches race with admission and execution:
// every task is done exactly once, and nothing executes after the answer.
func TestAbortsRaceExecution(t *testing.T) {
	u := testUnit(t, nil, func(_ *san.Volume, o *UnitOptions) { o.Workers = 4 })
	ioCommands(u)
	var executing atomic.Int64
	inject(u, command{
		op: opHold, name: "COUNT", usage: "\xc0\x00\xff\xff\xff\x00\x00\x00\x00\x00", access: accessWrite, flags: changes,
		parse: func(t *Task) error {
			t.need = int(t.CDB[4])
			t.span(lockMode(1+t.CDB[3]%3), int64(t.CDB[2])*512, 1024)
			return nil
		},
		run: func(t *Task) error {
			executing.Add(1)
			defer executing.Add(-1)
			return t.do(1, 0, 0, 4096, [][]byte{make([]byte, 4096)})
		},
	})
	tg := oneUnit(u)
	var wg sync.WaitGroup
	for n := range 3 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 1))
			for range 30 {
				w := &racer{done: map[*Task]int{}}
				nx, err := tg.Attach(nexusName(n), "", w)
				if err != nil {
					t.Error(err)
					return
				}
				nx.view.Load().at(0).attn.take()
				w.session(nx, rnd)
				nx.Detach()
				w.check(t)
			}
		})
	}
	wg.Wait()
	answered := make(chan struct{})
	w := &racer{done: map[*Task]int{}}
	nx, err := tg.Attach(nexusName(9), "", w)
	if err != nil {
		t.Fatal(err)
	}
	nx.Manage(TMF{Function: LogicalUnitReset, LUN: lun0}, func(TMFResponse) { close(answered) })
	<-answered
	if n := executing.Load(); n != 0 {
		t.Errorf("%d commands execute after a reset", n)
	}
	nx.Detach()
	if n := u.tasks.Load() + owner(u).tasks.Load(); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
}

type racer struct {
	mu    sync.Mutex
	tasks []*Task
	done  map[*Task]int
}

func (r *racer) TaskDone(t *Task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[t]++
}
func (r *racer) Drop(string) {}

func (r *racer) session(n *Nexus, rnd *rand.Rand) {
	var wg sync.WaitGroup
	for i := range 60 {
		t := &Task{Tag: uint32(i), Attr: scsi.TaskAttr(1 + rnd.IntN(3))}
		t.CDB = [16]byte{byte(opHold + rnd.IntN(3)), 0, byte(rnd.IntN(4))}
		if t.CDB[0] == opHold {
			t.CDB[3], t.CDB[4] = byte(rnd.IntN(3)), byte(rnd.IntN(2)*8)
		}
		t.Expected, t.Read = 4096, t.CDB[0] == opRead
		t.Write = !t.Read
		r.mu.Lock()
		r.tasks = append(r.tasks, t)
		r.mu.Unlock()
		n.Admit(t)
		gather := t.CDB[0] == opWrite || t.CDB[0] == opHold && t.CDB[4] > 0
		if gather && rnd.IntN(8) > 0 {
			give(t, make([]byte, 4096))
			if rnd.IntN(2) == 0 {
				wg.Go(t.Ready)
			} else {
				t.Ready()
			}
		}
		if rnd.IntN(6) == 0 {
			f := []Function{AbortTask, AbortTask, AbortTaskSet, ClearTaskSet, LogicalUnitReset, TargetWarmReset, NexusReset, QueryTask}[rnd.IntN(8)]
			wg.Add(1)
			n.Manage(TMF{Function: f, LUN: lun0, RefTag: uint32(rnd.IntN(i + 1))}, func(TMFResponse) { wg.Done() })
		}
	}
	wg.Wait()
}

func (r *racer) check(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, task := range r.tasks {
		if r.done[task] != 1 {
			t.Errorf("task %d is done %d times", task.Tag, r.done[task])
		}
	}
}
