package lun

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"sango/internal/bufpool"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// distant is a nexus of another gateway whose front is the test.
type distant struct {
	wire
	*Remote
	told []Event
	acks []func()
	hold bool // events are acknowledged by ack alone
}

func (d *distant) Tell(_ san.LUN, e Event, acked func()) {
	d.mu.Lock()
	d.told = append(d.told, e)
	if d.hold {
		d.acks = append(d.acks, acked)
	}
	hold := d.hold
	d.mu.Unlock()
	if !hold {
		acked()
	}
}

func (d *distant) ack() {
	d.mu.Lock()
	acks := d.acks
	d.acks = nil
	d.mu.Unlock()
	for _, f := range acks {
		f()
	}
}

// events returns what it was told, and forgets it.
func (d *distant) events() []Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	told := d.told
	d.told = nil
	return told
}

func join(t *testing.T, u *Unit, e san.Epoch, n int, fresh bool) *distant {
	t.Helper()
	d := &distant{wire: wire{t: t, ends: map[*Task]*end{}}}
	r, err := u.AttachRemote(e, nexusName(n), 0, Standing{Fresh: fresh, Login: NewLogin()}, d)
	if err != nil {
		t.Fatal(err)
	}
	d.Remote = r
	t.Cleanup(r.Detach)
	return d
}

// send admits a task under epoch e.
func (d *distant) send(e san.Epoch, ask Ask, data []byte, cdb ...byte) *Task {
	task := d.out(len(data), cdb...)
	task.Epoch, task.Ask, task.Call = e, ask, uint64(task.Tag)
	fill(&task.Out, [][]byte{data})
	d.Remote.Admit(task)
	return task
}

func (d *distant) persist(e san.Epoch, action scsi.ServiceAction, kind pr.Type, o pr.Out) *Task {
	list := o.Append(nil, action)
	return d.send(e, AskExecute, list, 0x5f, byte(action), byte(kind), 0, 0, 0, 0, byte(len(list)>>8), byte(len(list)), 0)
}

// A task of a former ownership is sent back, one of the next waits for it.
func TestRemoteEpochs(t *testing.T) {
	g := newGang(t, 1, nil)
	g.serve(0)
	g.giveUp()
	g.epoch = 4
	g.serve(0) // under 5
	u := g.gates[0].unit
	if _, err := u.AttachRemote(4, nexusName(1), 0, Standing{Fresh: true}, &distant{}); !errors.Is(err, ErrMoved) {
		t.Errorf("a nexus of a former ownership: %v", err)
	}
	d := join(t, u, 5, 1, true)
	if _, err := u.AttachRemote(5, nexusName(1), 0, Standing{Fresh: true}, d); !errors.Is(err, ErrNexusExists) {
		t.Errorf("a nexus twice: %v", err)
	}
	wantGood(t, d.wait(d.send(5, AskExecute, nil, testUnitReady...)))
	if task := d.wait(d.send(4, AskExecute, nil, testUnitReady...)); !task.Moved {
		t.Error("a task of a former ownership was not sent back")
	}
	early := d.send(6, AskExecute, nil, testUnitReady...)
	other := d.send(6, AskExecute, nil, testUnitReady...)
	wantWaiting(t, &d.wire, early, other)
	d.Cancel(other.Call)
	if d.wait(other); !other.Aborted {
		t.Error("one that waits can't be cancelled")
	}
	ahead := join(t, u, 6, 2, true)
	first := ahead.send(6, AskExecute, nil, testUnitReady...)
	g.giveUp()
	if task := d.wait(d.send(5, AskExecute, nil, testUnitReady...)); !task.Moved {
		t.Error("a task came in after the volume was given up")
	}
	wantWaiting(t, &ahead.wire, first)
	g.serve(0)
	wantGood(t, ahead.wait(first))
	d.Detach()
	if len(u.nexuses()) != 1 {
		t.Errorf("%d nexuses are left", len(u.nexuses()))
	}
}

// What is asked about a command has no effect, whatever the answer.
func TestRemoteQuestions(t *testing.T) {
	g := newGang(t, 1, nil)
	g.serve(0)
	u := g.gates[0].unit
	w, d := g.attach(0, 1), join(t, u, 1, 2, true)
	write := []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}
	for _, ask := range []Ask{AskConflict, AskAllowed} {
		wantGood(t, d.wait(d.send(1, ask, nil, write...)))
	}
	w.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	w.mustPersist(pr.Reserve, pr.WriteExclusive, pr.Out{Key: 1})
	for _, ask := range []Ask{AskConflict, AskAllowed} {
		wantConflict(t, d.wait(d.send(1, ask, nil, write...)))
		wantGood(t, d.wait(d.send(1, ask, nil, 0x28)))
	}
	w.mustPersist(pr.Clear, 0, pr.Out{Key: 1})
	u.setCondition(condProtected, true)
	wantGood(t, d.wait(d.send(1, AskConflict, nil, write...)))
	wantSense(t, d.wait(d.send(1, AskAllowed, nil, write...)), scsi.DataProtect, scsi.ASCSoftwareWriteProtected)
	if got := w.get(0); got != 0 {
		t.Error("a question wrote")
	}
	// The two gateways disagree on what a command takes.
	task := d.out(512, write...)
	task.Epoch = 1
	d.Remote.Admit(task)
	wantSense(t, d.wait(task), scsi.AbortedCommand, scsi.ASCDataPhaseError)
}

// PERSISTENT RESERVE OUT is answered when every nexus that it concerns has its
// unit attention, wherever it is; and others find nothing out by waiting.
func TestReservationWaitsForAttentions(t *testing.T) {
	g := newGang(t, 1, nil)
	g.serve(0)
	u := g.gates[0].unit
	a, b := join(t, u, 1, 1, true), join(t, u, 1, 2, true)
	wantGood(t, a.wait(a.persist(1, pr.Register, 0, pr.Out{ActionKey: 1})))
	wantGood(t, b.wait(b.persist(1, pr.Register, 0, pr.Out{ActionKey: 2})))
	wantGood(t, b.wait(b.persist(1, pr.Reserve, pr.WriteExclusive, pr.Out{Key: 2})))
	b.hold = true
	task := a.persist(1, pr.PreemptAndAbort, pr.WriteExclusive, pr.Out{Key: 1, ActionKey: 2})
	for {
		b.mu.Lock()
		n := len(b.acks)
		b.mu.Unlock()
		if n == 2 {
			break
		}
		wantWaiting(t, &a.wire, task)
	}
	wantWaiting(t, &a.wire, task)
	got := b.events()
	if !slices.Contains(got, Event{Attention: scsi.ASCRegistrationsPreempted}) || !slices.Contains(got, Event{Abort: true, TAS: true}) {
		t.Errorf("the nexus that was preempted was told %+v", got)
	}
	b.ack()
	wantGood(t, a.wait(task))
	if got := a.events(); len(got) > 0 {
		t.Errorf("who preempted was told %+v", got)
	}
	// Which initiators and ports there are is known of all gateways.
	wantGood(t, a.wait(a.persist(1, pr.RegisterAndMove, 0, pr.Out{
		Key: 1, ActionKey: 9, RelativePort: 1, To: pr.IDOf(nexusName(2).Initiator),
	})))
	if owner, ok := u.guard.state.Load().Registered(nexusName(2)); !ok || owner != 9 {
		t.Error("the reservation did not go to a nexus of another gateway")
	}
}

// What happened before a nexus has come from its gateway it is told then, unless
// it logged in since.
func TestMissedEvents(t *testing.T) {
	g := newGang(t, 1, nil)
	g.serve(0)
	u := g.gates[0].unit
	w := g.attach(0, 1)
	if r := w.manage(TMF{Function: LogicalUnitReset, LUN: lun0}); r != TMFComplete {
		t.Errorf("LOGICAL UNIT RESET: %v", r)
	}
	u.Resized() // each gateway sees that by itself
	late, fresh := join(t, u, 1, 2, false), join(t, u, 1, 3, true)
	if got := late.events(); !slices.ContainsFunc(got, func(e Event) bool { return e.Attention == scsi.ASCDeviceReset }) ||
		slices.ContainsFunc(got, func(e Event) bool { return e.Attention == scsi.ASCCapacityChanged }) {
		t.Errorf("a nexus that came later was told %+v", got)
	}
	if got := fresh.events(); len(got) > 0 {
		t.Errorf("a nexus that logged in was told %+v", got)
	}
	for range maxMissed + 1 {
		w.manage(TMF{Function: LogicalUnitReset, LUN: lun0})
	}
	if got := join(t, u, 1, 4, false).events(); len(got) == 0 || got[0].Attention != scsi.ASCNexusLoss {
		t.Errorf("after more than is kept: %+v", got)
	}
}

// Resets and cleared task sets end what other gateways have gathered, and those
// who lost something learn it.
func TestFunctionsReachOtherGateways(t *testing.T) {
	for _, f := range []Function{ClearTaskSet, LogicalUnitReset, TargetWarmReset, TargetColdReset} {
		for _, by := range []int{0, 1} {
			g := newGang(t, 3, nil)
			g.serve(0)
			w, busy, idle := g.attach(by, 1), g.attach(2, 2), g.attach(2, 3)
			own := g.attach(by, 4)
			gathering := busy.out(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0)
			busy.Admit(gathering)
			if r := w.manage(TMF{Function: f, LUN: lun0}); r != TMFComplete {
				t.Fatalf("function %d: %v", f, r)
			}
			if !busy.isDone(gathering) {
				t.Fatalf("function %d: a task that another gateway gathers goes on", f)
			}
			wantAborted(t, gathering, f != TargetColdReset)
			gathering.Ready() // harmless
			want := map[Function]scsi.ASC{LogicalUnitReset: scsi.ASCDeviceReset, TargetWarmReset: scsi.ASCPowerOnOrReset, TargetColdReset: scsi.ASCPowerOnOrReset}[f]
			if f == ClearTaskSet {
				for _, x := range []*wire{w, busy, idle, own} {
					wantPending(t, x)
				}
				continue
			}
			for _, x := range []*wire{w, busy, idle, own} {
				wantPending(t, x, want)
				if dropped := len(x.dropped) > 0; dropped != (f == TargetColdReset) {
					t.Errorf("function %d: dropped %q", f, x.dropped)
				}
			}
		}
	}
}

// A function waits for an owner, or ends with the session that asked for it.
func TestFunctionsWaitForAnOwner(t *testing.T) {
	g := newGang(t, 2, nil)
	w, other := g.attach(0, 1), g.attach(1, 2)
	answer, gone := make(chan TMFResponse, 1), make(chan TMFResponse, 1)
	waiting := w.put(0, 1)
	w.Manage(TMF{Function: LogicalUnitReset, LUN: lun0}, func(r TMFResponse) { answer <- r })
	other.Manage(TMF{Function: LogicalUnitReset, LUN: lun0}, func(r TMFResponse) { gone <- r })
	if !w.isDone(waiting) || !waiting.Aborted {
		t.Error("a task that waits goes on")
	}
	other.Detach()
	if r := <-gone; r != TMFRejected {
		t.Errorf("after the session: %v", r)
	}
	if len(answer) > 0 {
		t.Error("answered without an owner")
	}
	g.serve(1)
	if r := <-answer; r != TMFComplete {
		t.Errorf("answer %v", r)
	}
	wantPending(t, w, scsi.ASCDeviceReset)
}

// A function of a gateway that knows of the ownership before the owner does
// waits for it, as tasks do: nobody would ask again.
func TestFunctionsWaitForTheirOwnership(t *testing.T) {
	g := newGang(t, 1, nil)
	g.serve(0)
	u := g.gates[0].unit
	early, never := join(t, u, 2, 1, true), join(t, u, 2, 2, true)
	answer := make(chan TMFResponse, 1)
	early.Remote.Manage(TMF{Function: LogicalUnitReset}, func(r TMFResponse) { answer <- r })
	if len(answer) > 0 {
		t.Errorf("answered under another ownership: %v", <-answer)
	}
	moved := make(chan TMFResponse, 1)
	never.Remote.Manage(TMF{Function: LogicalUnitReset}, func(r TMFResponse) { moved <- r })
	never.Remote.Detach()
	if r := <-moved; r != TMFRejected {
		t.Errorf("after the nexus: %v", r)
	}
	g.move(0)
	if r := <-answer; r != TMFComplete {
		t.Errorf("answer %v", r)
	}
	g.giveUp()
	early.Remote.Manage(TMF{Function: LogicalUnitReset}, func(r TMFResponse) { answer <- r })
	if r := <-answer; r != TMFMoved {
		t.Errorf("after the ownership: %v", r)
	}
}

// deafRelay ends what is forwarded as the test says.
type deafRelay struct {
	mu      sync.Mutex
	tasks   []*Task
	cancels []uint64
}

func (r *deafRelay) Forward(t *Task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks = append(r.tasks, t)
}

func (r *deafRelay) Cancel(call uint64) { r.cancels = append(r.cancels, call) }
func (r *deafRelay) Hasten(uint64)      {}
func (r *deafRelay) Manage(_ *Nexus, _ san.LUN, _ TMF, done func(TMFResponse)) {
	done(TMFComplete)
}
func (r *deafRelay) Join(*Nexus, san.LUN, Standing)        {}
func (r *deafRelay) Part(_ *Nexus, _ san.LUN, gone func()) { gone() }

// take returns the task that was forwarded last.
func (r *deafRelay) take() *Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tasks) == 0 {
		return nil
	}
	t := r.tasks[0]
	r.tasks = r.tasks[1:]
	return t
}

// Every end of a relayed task, and what the host sees of it.
func TestOutcomes(t *testing.T) {
	g := newGang(t, 1, nil)
	u, r := g.gates[0].unit, &deafRelay{}
	w := g.attach(0, 1)
	u.RelayTo(1, r)

	read := w.in(512, 0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0)
	w.Admit(read)
	sent := r.take()
	if cdb, expected, data := sent.Outgoing(nil); cdb != read.CDB || expected != 512 || len(data) != 0 || !sent.Repeatable() || !sent.Timeless() || sent.Epoch != 1 || sent.Nexus() != w.Nexus {
		t.Errorf("forwarded: % x, %d bytes", cdb, expected)
	}
	b := bufpool.Get(512)
	b.B[0] = 0xab
	sent.In.Append(b)
	sent.Status, sent.Want = scsi.Good, 512
	sent.Relayed(Ended)
	wantGood(t, w.wait(read))
	if got := bytesIn(read); len(got) != 512 || got[0] != 0xab {
		t.Errorf("%d bytes came back", len(got))
	}

	bad := w.put(0, 1)
	if sent = r.take(); sent.Repeatable() || sent.Timeless() {
		t.Error("a write may be repeated, or come late")
	}
	cc := scsi.Check(scsi.MediumError, scsi.ASCWriteError)
	sent.Status, sent.DSense = scsi.CheckConditionStatus, true
	sent.SetRawSense(cc.Sense.Append(nil, true))
	sent.Relayed(Ended)
	wantSense(t, w.wait(bad), scsi.MediumError, scsi.ASCWriteError)
	if w.run(w.newTask([]byte{0xff})).Sense[0] != 0x72 {
		t.Error("D_SENSE of the owner is not followed")
	}

	end := func(o Outcome) *Task {
		task := w.put(0, 1)
		r.take().Relayed(o)
		return task
	}
	wantSense(t, w.wait(end(Lost)), scsi.AbortedCommand, scsi.ASCCommunicationFailure)
	wantSense(t, w.wait(end(Unreachable)), scsi.NotReady, scsi.ASCAccessTransition)
	if task := w.wait(end(Aborted)); !task.Aborted || task.Void || len(w.dropped) > 0 {
		t.Error("aborted by another nexus: it was answered, or the session dropped")
	}
	if task := w.wait(end(Stale)); !task.Aborted || !task.Void || len(w.dropped) != 1 {
		t.Error("too old: it was answered, or the session goes on")
	}

	// Not executed: it waits for another owner, and those behind it with it.
	first := end(Again)
	second := w.put(0, 2)
	if r.take() != nil {
		t.Error("forwarded again to where it was refused")
	}
	next := &deafRelay{}
	u.RelayTo(2, next)
	if a, b := next.take(), next.take(); a != first || b != second {
		t.Error("not forwarded in order")
	}
	// One that has not come back holds up those behind it.
	u.Hold(func() {})
	third := w.put(0, 3)
	last := &deafRelay{}
	u.RelayTo(3, last)
	if last.take() != nil {
		t.Error("a task overtakes one that is still with the former owner")
	}
	second.Relayed(Again)
	if last.take() != nil {
		t.Error("a task overtakes one that is still with the former owner")
	}
	first.Relayed(Aborted)
	if a, b := last.take(), last.take(); a != second || b != third {
		t.Error("not forwarded in order")
	}

	// An abort reaches the owner, and waits for it.
	answer := make(chan TMFResponse, 1)
	w.Manage(TMF{Function: AbortTask, LUN: lun0, RefTag: third.Tag}, func(r TMFResponse) { answer <- r })
	if !slices.Equal(last.cancels, []uint64{third.Call}) || len(answer) > 0 {
		t.Errorf("cancelled: %v, answered: %d", last.cancels, len(answer))
	}
	third.Relayed(Again) // it is over all the same
	if r := <-answer; r != TMFComplete || !w.wait(third).Aborted {
		t.Errorf("ABORT TASK: %v", r)
	}
	second.Relayed(Aborted)
}

// Where the owner decides on conflicts, errors and unit attentions wait for its
// word.
func TestVerdicts(t *testing.T) {
	g := newGang(t, 2, nil)
	g.serve(0)
	a, b := g.attach(0, 1), g.attach(1, 2)
	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	read, beyond := []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, []byte{0x28, 0, 0x7f, 0, 0, 0, 0, 0, 1, 0}
	wantSense(t, b.run(b.in(512, beyond...)), scsi.IllegalRequest, scsi.ASCLBAOutOfRange)
	g.gates[1].unit.Resized()
	a.mustPersist(pr.Reserve, pr.ExclusiveAccess, pr.Out{Key: 1})
	wantConflict(t, b.run(b.in(512, beyond...)))
	wantConflict(t, b.run(b.in(512, read...))) // and keeps the attention
	wantConflict(t, b.run(b.in(512, 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0)))
	wantConflict(t, b.run(b.in(255, 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0, 255, 0)))
	wantSense(t, b.tur(), scsi.UnitAttention, scsi.ASCCapacityChanged)
	wantGood(t, b.tur())
	a.mustPersist(pr.Release, pr.ExclusiveAccess, pr.Out{Key: 1})
	b.settle()
	g.gates[1].unit.Resized()
	wantSense(t, b.run(b.in(512, read...)), scsi.UnitAttention, scsi.ASCCapacityChanged)
	wantGood(t, b.run(b.in(512, read...)))
	wantGood(t, b.run(b.in(255, 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0, 255, 0)))
}

// A host may send data with a command that has no use for it (RFC 7143
// §11.4.5.2): the owner is not troubled with it.
func TestNeedlessData(t *testing.T) {
	g := newGang(t, 2, nil)
	g.serve(0)
	w := g.attach(1, 1)
	read := w.out(512, 0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0)
	read.Out.Append(bufpool.Get(512))
	wantGood(t, w.run(read))
	read.Reset()
}
