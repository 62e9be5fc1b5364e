package lun

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
	"sango/internal/scsi"
)

// self is the instance of the session that fences in tests.
var self = san.Instance{Group: 7, Run: 3, Login: 5}

// fencing returns a unit at LUN 0 of a target, and a nexus whose session has
// a name.
func fencing(t *testing.T, change func(*san.Volume, *UnitOptions)) (*Target, *wire) {
	tg := oneUnit(testUnit(t, nil, change))
	w := attach(t, tg, nexusName(1), "")
	w.sango = scsi.SangoPage{Fence: true, MaxInstances: MaxFenceInstances, Instance: self}
	return tg, w
}

// fenceTask returns a FENCE command for list, of which it says that it has n
// bytes.
func (w *wire) fenceTask(sa scsi.ServiceAction, n int) *Task {
	f := scsi.Fence{Action: sa, Length: uint32(n)}
	cdb := f.CDB()
	return w.out(n, cdb[:]...)
}

func (w *wire) fence(sa scsi.ServiceAction, l scsi.FenceList) *Task {
	w.t.Helper()
	b := l.Append(nil)
	return w.run(w.fenceTask(sa, len(b)), b...)
}

func instances(entries ...scsi.FenceEntry) scsi.FenceList {
	return scsi.FenceList{Group: self.Group, Entries: entries}
}

func TestFenceReachesTheTransport(t *testing.T) {
	_, w := fencing(t, nil)
	for _, tt := range []struct {
		sa   scsi.ServiceAction
		list scsi.FenceList
	}{
		{scsi.SAFenceInstances, instances(scsi.FenceEntry{Run: 3, Login: 4}, scsi.FenceEntry{Run: 9, Login: 9})},
		{scsi.SAFenceInstances, scsi.FenceList{Group: 8, Entries: []scsi.FenceEntry{{Run: 3, Login: 5}}}}, // another group's
		{scsi.SAFenceEarlierRuns, scsi.FenceList{Group: 7, Run: 3}},
	} {
		var got []scsi.FenceList
		w.fencing = func(l scsi.FenceList, _ <-chan struct{}, done func(bool)) bool {
			got = append(got, l)
			done(true)
			return true
		}
		wantGood(t, w.fence(tt.sa, tt.list))
		if d := cmp.Diff([]scsi.FenceList{tt.list}, got); d != "" {
			t.Error(d)
		}
	}
}

func TestFenceThatIsWrong(t *testing.T) {
	_, w := fencing(t, nil)
	w.fencing = func(scsi.FenceList, <-chan struct{}, func(bool)) bool {
		t.Error("a wrong list was acted upon")
		return false
	}
	good := instances(scsi.FenceEntry{Run: 3, Login: 4})
	list := good.Append(nil)
	wrong := func(at int, v byte) []byte {
		b := bytes.Clone(list)
		b[at] = v
		return b
	}
	const param, length = scsi.ASCInvalidFieldInParameterList, scsi.ASCParameterListLength
	for name, tt := range map[string]struct {
		sa   scsi.ServiceAction
		list []byte
		asc  scsi.ASC
	}{
		"version":                {0, wrong(0, 2), param},
		"too many":               {0, wrong(3, 2), length},
		"none":                   {0, wrong(3, 0), param},
		"no group":               {0, wrong(11, 0), param},
		"a run":                  {0, wrong(19, 1), param},
		"cut in the header":      {0, list[:23], length},
		"cut in the entries":     {0, list[:35], length},
		"empty":                  {0, nil, length},
		"instances and a run":    {1, list, param},
		"itself":                 {0, wrong(35, 5), param},
		"its own run and others": {1, (&scsi.FenceList{Group: 7, Run: 4}).Append(nil), param},
		"another service action": {2, list, scsi.ASCInvalidFieldInCDB},
		"longer than it may be":  {0, make([]byte, 24+12*MaxFenceInstances+1), scsi.ASCInvalidFieldInCDB},
	} {
		t.Run(name, func(t *testing.T) {
			wantSense(t, w.run(w.fenceTask(tt.sa, len(tt.list)), tt.list...), scsi.IllegalRequest, tt.asc)
		})
	}
	task := w.fenceTask(0, len(list))
	task.Expected = uint32(len(list) - 1) // the CDB says more than the host offers
	wantSense(t, w.run(task, list...), scsi.IllegalRequest, length)
	w.sango.Instance = san.Instance{}
	wantSense(t, w.fence(0, good), scsi.IllegalRequest, scsi.ASCCommandSequence)
}

// A fence of which the transport can't say that it was made, and that nobody
// stopped, is not answered with GOOD.
func TestFenceThatCannotBeMade(t *testing.T) {
	_, w := fencing(t, nil)
	w.fencing = func(_ scsi.FenceList, _ <-chan struct{}, done func(bool)) bool {
		done(false)
		return true
	}
	wantBusy(t, w.fence(0, instances(scsi.FenceEntry{Run: 3, Login: 4})))
}

func TestTooManyFences(t *testing.T) {
	_, w := fencing(t, nil)
	w.fencing = func(scsi.FenceList, <-chan struct{}, func(bool)) bool { return false }
	if task := w.fence(0, instances(scsi.FenceEntry{})); task.Status != scsi.Busy {
		t.Errorf("status %v, want BUSY", task.Status)
	}
}

// A fence waits for no task, and no task for it: not for ordered ones, nor for
// room in a full task set, nor for a worker.
func TestFenceStandsApart(t *testing.T) {
	u := testUnit(t, nil, func(_ *san.Volume, o *UnitOptions) { o.Tasks = 2 })
	held := holdCommands(u)
	tg := oneUnit(u)
	w, other := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	w.sango.Instance = self
	stuck := other.hold(0, 1)
	other.Admit(stuck)
	<-held.entered
	behind := w.newTask(testUnitReady)
	behind.Attr = scsi.Ordered
	w.Admit(behind) // waits for the other; the task set is full now
	gathering := make(chan func(bool), 1)
	w.fencing = func(_ scsi.FenceList, _ <-chan struct{}, done func(bool)) bool {
		gathering <- done
		return true
	}
	l := instances(scsi.FenceEntry{})
	b := l.Append(nil)
	for _, attr := range []scsi.TaskAttr{scsi.Simple, scsi.Ordered, scsi.HeadOfQueue} {
		task := w.fenceTask(0, len(b))
		task.Attr = attr
		w.Admit(task)
		give(task, b)
		task.Ready()
		done := <-gathering
		if w.isDone(behind) || w.isDone(task) {
			t.Fatal("a task ended that waits")
		}
		done(true)
		wantGood(t, w.wait(task))
	}
	// One that never ends holds up nobody.
	task := w.fenceTask(0, len(b))
	task.Attr = scsi.Ordered
	w.Admit(task)
	give(task, b)
	task.Ready()
	done := <-gathering
	held.letGo(stuck, nil)
	wantGood(t, other.wait(stuck))
	wantGood(t, w.wait(behind))
	ordered := other.newTask(testUnitReady)
	ordered.Attr = scsi.Ordered
	wantGood(t, other.run(ordered))
	done(true)
	wantGood(t, w.wait(task))
}

// A fence passes tasks of its own nexus whose data does not come.
func TestFencePassesTasksThatGather(t *testing.T) {
	_, w := fencing(t, nil)
	slow := w.out(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0)
	slow.Attr = scsi.Ordered
	w.Admit(slow)
	wantGood(t, w.fence(0, instances(scsi.FenceEntry{})))
	if w.isDone(slow) {
		t.Fatal("the write ended")
	}
	give(slow, make([]byte, 512))
	slow.Ready()
	wantGood(t, w.wait(slow))
}

func TestFenceEndsWithItsTask(t *testing.T) {
	tg, w := fencing(t, nil)
	waiting := make(chan func(bool), 1)
	w.fencing = func(_ scsi.FenceList, stop <-chan struct{}, done func(bool)) bool {
		waiting <- done
		go func() {
			<-stop
			done(false)
		}()
		return true
	}
	send := func() *Task {
		l := instances(scsi.FenceEntry{})
		b := l.Append(nil)
		task := w.fenceTask(0, len(b))
		w.Admit(task)
		give(task, b)
		task.Ready()
		<-waiting
		return task
	}
	task := send()
	if r := w.manage(TMF{Function: AbortTask, RefTag: task.Tag}); r != TMFComplete {
		t.Errorf("ABORT TASK: %v", r)
	}
	if !w.wait(task).Aborted {
		t.Error("the aborted fence was answered")
	}
	task = send()
	if r := w.manage(TMF{Function: LogicalUnitReset}); r != TMFComplete {
		t.Errorf("LOGICAL UNIT RESET: %v", r)
	}
	if !w.wait(task).Aborted {
		t.Error("the reset fence was answered")
	}
	task = send()
	tg.SetMap(nil)
	wantSense(t, w.wait(task), scsi.IllegalRequest, scsi.ASCLUNotSupported)
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: task.unit}})
	task = send()
	w.Detach()
	if !w.wait(task).Aborted {
		t.Error("a fence was answered after the loss of its nexus")
	}
}

func TestFenceLeavesUnitAttentions(t *testing.T) {
	tg, w := fencing(t, nil)
	regroup(tg, []PortGroup{{ID: 1, Ports: []san.TPG{1}}})
	regroup(tg, []PortGroup{{ID: 1, Preferred: true, Ports: []san.TPG{1}}})
	wantGood(t, w.fence(0, instances(scsi.FenceEntry{})))
	wantSense(t, w.tur(), scsi.UnitAttention, scsi.ASCAccessStateChanged)
}

// A fence is served whatever the state of the port, and of the medium.
func TestFenceIsServedInEveryState(t *testing.T) {
	tg, w := fencing(t, func(v *san.Volume, _ *UnitOptions) { v.Removable, v.ReadOnly = true, true })
	wantGood(t, w.run(w.newTask([]byte{0x1b, 0, 0, 0, 2, 0}))) // ejected
	for _, s := range []AccessState{ActiveOptimized, ActiveNonOptimized, Standby, Unavailable, Transitioning} {
		regroup(tg, []PortGroup{{ID: 1, State: s, Ports: []san.TPG{1}}})
		w.settle()
		wantGood(t, w.fence(0, instances(scsi.FenceEntry{})))
		wantGood(t, w.inquiry(1, 0xc0))
	}
}

func TestFenceIsAnnounced(t *testing.T) {
	boot := san.UUID{1, 15: 2} // the unit's, whatever the session
	tg, w := fencing(t, func(_ *san.Volume, o *UnitOptions) { o.Boot = boot })
	if pages := bytesIn(w.inquiry(1, 0))[4:]; !bytes.Contains(pages, []byte{0xc0}) {
		t.Errorf("page C0h is not told: % x", pages)
	}
	got, err := scsi.ParseSangoPage(bytesIn(w.inquiry(1, 0xc0)))
	want := w.sango
	want.Boot = boot
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
	if d := bytesIn(w.reportOpCodes(2, 0xc1, 1)); len(d) < 4 || d[1]&7 != scsi.SupportVendor || d[3] != 16 {
		t.Errorf("FENCE EARLIER RUNS is told as % x", d)
	}
	// A transport that can end no sessions has neither.
	b := poor(make(chan *Task, 1))
	n, err := tg.Attach(nexusName(2), "", b)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Detach()
	bare := &wire{t: t, Nexus: n, ends: map[*Task]*end{}}
	bare.settle()
	ask := func(task *Task) *Task {
		n.Admit(task)
		return <-b
	}
	wantSense(t, ask(bare.fenceTask(0, 0)), scsi.IllegalRequest, scsi.ASCInvalidOpCode)
	wantSense(t, ask(bare.in(64, 0x12, 1, 0xc0, 0, 64, 0)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	if pages := bytesIn(ask(bare.in(64, 0x12, 1, 0, 0, 64, 0))); bytes.Contains(pages[4:], []byte{0xc0}) {
		t.Error("page C0h is told")
	}
	if d := bytesIn(ask(bare.in(64, 0xa3, 0x0c, 2, 0xc1, 0, 0, 0, 0, 0, 64, 0, 0))); d[1]&7 != scsi.SupportNone {
		t.Errorf("FENCE is told as % x", d)
	}
}

// poor is a Transport that is no Fencer.
type poor chan *Task

func (p poor) TaskDone(t *Task) { p <- t }
func (p poor) Drop(string)      {}
