package lun

import (
	"bytes"
	"sync"
	"testing"

	"sango/internal/block"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/copy"
	"sango/internal/scsi/pr"
)

// put admits a write of one block at lba, whose data is all that.
func (w *wire) put(lba byte, data byte) *Task {
	w.t.Helper()
	t := w.out(512, 0x2a, 0, 0, 0, 0, lba, 0, 0, 1, 0)
	w.Admit(t)
	if !w.isDone(t) && t.OutLen > 0 {
		give(t, bytes.Repeat([]byte{data}, 512))
		t.Ready()
	}
	return t
}

// get returns the first byte of block lba.
func (w *wire) get(lba byte) byte {
	w.t.Helper()
	t := w.run(w.in(512, 0x28, 0, 0, 0, 0, lba, 0, 0, 1, 0))
	wantGood(w.t, t)
	return bytesIn(t)[0]
}

func wantWaiting(t testing.TB, w *wire, tasks ...*Task) {
	t.Helper()
	for _, task := range tasks {
		if w.isDone(task) {
			t.Fatalf("task %d does not wait: status %v, % x", task.Tag, task.Status, task.Sense)
		}
	}
}

// What comes while nobody serves waits, in order, or is refused; what needs
// nobody else is answered.
func TestDoorHoldsAndRefuses(t *testing.T) {
	g := newGang(t, 1, nil)
	w := g.attach(0, 1)
	a, b, ordered := w.put(0, 1), w.put(0, 2), w.newTask(testUnitReady)
	ordered.Attr = scsi.Ordered
	w.Admit(ordered)
	wantWaiting(t, w, a, b, ordered)
	wantGood(t, w.inquiry(0, 0))
	wantGood(t, w.run(w.in(256, 0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)))
	wantGood(t, w.run(w.in(256, 0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0)))
	sense := w.run(w.in(18, 3, 0, 0, 0, 18, 0))
	wantGood(t, sense)
	if d := bytesIn(sense); scsi.SenseKey(d[2]) != scsi.NotReady || d[12] != 4 || d[13] != 10 {
		t.Errorf("REQUEST SENSE returned % x", d)
	}
	if r := w.manage(TMF{Function: AbortTask, LUN: lun0, RefTag: ordered.Tag}); r != TMFComplete || !w.isDone(ordered) || !ordered.Aborted {
		t.Errorf("ABORT TASK of one that waits: %v, %+v", r, ordered.Status)
	}
	g.serve(0)
	wantGood(t, w.wait(a))
	wantGood(t, w.wait(b))
	if got := w.get(0); got != 2 {
		t.Errorf("the block holds %d", got)
	}
	g.giveUp()
	c := w.put(1, 3)
	wantWaiting(t, w, c)
	g.gates[0].unit.Refuse()
	wantSense(t, w.wait(c), scsi.NotReady, scsi.ASCAccessTransition)
	wantSense(t, w.run(w.newTask([]byte{0xff})), scsi.IllegalRequest, scsi.ASCInvalidOpCode)
	g.serve(0)
	wantGood(t, w.tur())
	if got := w.get(1); got != 0 {
		t.Error("a command that was refused was executed")
	}
}

// Hold lets what executes go on, and nothing begin.
func TestHoldDrains(t *testing.T) {
	g := newGang(t, 2, nil)
	g.serve(0)
	u := g.gates[0].unit
	h := holdCommands(u)
	inject(g.gates[1].unit, *u.table.lookup(opHold, 0))
	near, far := g.attach(0, 1), g.attach(1, 2)
	running, dormant, copied := near.hold(0, 1), near.hold(0, 1), far.hold(0, 1)
	near.Admit(running)
	<-h.entered
	near.Admit(dormant)
	far.Admit(copied)
	drained := make(chan struct{})
	u.Hold(func() { close(drained) })
	late := near.hold(8, 1)
	near.Admit(late)
	select {
	case <-drained:
		t.Fatal("drained while a command executes")
	default:
	}
	h.letGo(running, nil)
	<-drained
	wantGood(t, near.wait(running))
	wantWaiting(t, near, dormant, late)
	wantWaiting(t, far, copied)
	if len(h.entered) > 0 {
		t.Error("a command began that was held")
	}
	u.Release()
	g.gates[0].slot.epoch.Store(0)
	wantWaiting(t, near, dormant, late)
	u.Refuse()
	wantSense(t, near.wait(dormant), scsi.NotReady, scsi.ASCAccessTransition)
	wantSense(t, near.wait(late), scsi.NotReady, scsi.ASCAccessTransition)
	wantWaiting(t, far, copied) // its gateway knows nothing yet
	u.Hold(func() {})
	late = near.hold(8, 1)
	near.Admit(late)
	g.epoch++
	g.open(1)
	first := <-h.entered
	g.relay(0)
	second := <-h.entered
	if first != copied || second != late {
		t.Error("other commands begin than those that waited")
	}
	h.letGo(first, nil)
	h.letGo(second, nil)
	wantGood(t, far.wait(copied))
	wantGood(t, near.wait(late))
}

// What has had its time ends between two steps.
func TestCancelEndsLongCommands(t *testing.T) {
	g := newGang(t, 1, nil)
	g.serve(0)
	w := g.attach(0, 1)
	u := g.gates[0].unit
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	inject(u, command{
		op: opHold, name: "LONG", usage: "\xc0\x00\xff\xff\xff\x00\x00\x00\x00\x00", access: accessWrite, flags: changes,
		run: func(t *Task) error {
			return t.stretches(0, 1<<30, 1<<20, func(off, _ int64) error {
				if off == 0 {
					entered <- struct{}{}
					<-gate
				}
				return nil
			})
		},
	})
	long := w.newTask([]byte{opHold})
	w.Admit(long)
	<-entered
	drained := make(chan struct{})
	u.Hold(func() { close(drained) })
	u.Cancel()
	close(gate)
	<-drained
	wantSense(t, w.wait(long), scsi.NotReady, scsi.ASCAccessTransition)
	u.Release()
	g.serve(0)
	wantGood(t, w.tur())
}

// A sanitize operation goes on at the next owner; the command that waits for it
// is told to ask again.
func TestSanitizeMoves(t *testing.T) {
	g := newGang(t, 2, func(o *UnitOptions) { o.Background = 16 << 20 })
	g.serve(0)
	w := g.attach(0, 1)
	list := (&scsi.Overwrite{Count: 1, Pattern: []byte{7}}).Append(nil)
	task := w.out(len(list), 0x48, 1, 0, 0, 0, 0, 0, 0, byte(len(list)), 0)
	w.Admit(task)
	give(task, list)
	task.Ready()
	for { // until it has begun
		if k, a := sense(w.tur()); k == scsi.NotReady && a == scsi.ASCSanitizeInProgress {
			break
		}
	}
	g.move(1)
	wantSense(t, w.wait(task), scsi.NotReady, scsi.ASCAccessTransition)
	if g.gates[0].unit.cond.Load() != 0 {
		t.Error("the former owner still sanitizes")
	}
	wantSense(t, w.tur(), scsi.NotReady, scsi.ASCSanitizeInProgress)
	if g.gates[1].unit.cond.Load()&condSanitizing == 0 {
		t.Error("the new owner does not go on")
	}
}

// An EXTENDED COPY outlives moves of its volume: it belongs to the gateway of
// its nexus.
func TestCopyOutlivesMoves(t *testing.T) {
	g := newGang(t, 2, func(o *UnitOptions) { o.Background = 64 << 20 })
	g.serve(0)
	w := g.attach(0, 1)
	data := bytes.Repeat([]byte("sango + "), 8<<20/8)
	if err := block.WriteAt(g.disc.Device, data, 0, 0); err != nil {
		t.Fatal(err)
	}
	list := (&copy.List{
		Targets:  []copy.Target{{Designator: g.gates[0].unit.naa(), BlockLength: 512}},
		Segments: []copy.Segment{{Blocks: 8 << 20 / 512, DestinationLBA: 32 << 20 / 512}},
	}).Append(nil)
	task := w.out(len(list), 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(list)>>8), byte(len(list)))
	w.Admit(task)
	give(task, list)
	task.Ready()
	g.move(1)
	g.move(0)
	g.move(1)
	wantGood(t, w.wait(task))
	got := make([]byte, len(data))
	if err := block.ReadAt(g.disc.Device, got, 32<<20); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Error("the copy is not what was copied")
	}
}

// Reservations are those of the store, for every owner: RESERVE(6) too.
func TestReservationsMove(t *testing.T) {
	g := newGang(t, 2, nil)
	g.serve(0)
	a, b := g.attach(0, 1), g.attach(1, 2)
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	wantConflict(t, b.tur())
	g.move(1)
	wantConflict(t, b.tur())
	wantGood(t, a.tur())
	a.Detach() // the nexus is lost wherever the volume is
	g.gates[1].unit.guard.reading.Wait()
	wantGood(t, b.tur())
	g.move(0)
	wantGood(t, b.tur())
	a = g.attach(0, 1)

	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	b.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})
	a.mustPersist(pr.Reserve, pr.ExclusiveAccess, pr.Out{Key: 1})
	read := []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}
	for range 3 {
		g.move(1 - g.owner)
		wantConflict(t, b.run(b.in(512, read...)))
		wantGood(t, a.run(a.in(512, read...)))
	}
	b.mustPersist(pr.Preempt, pr.ExclusiveAccess, pr.Out{Key: 2, ActionKey: 1})
	wantPending(t, a, scsi.ASCRegistrationsPreempted)
	wantConflict(t, a.run(a.in(512, read...)))

	// A RESERVE(6) whose gateway died ends when that is known.
	b.mustPersist(pr.Clear, 0, pr.Out{Key: 2})
	a.settle()
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	g.move(1)
	u := g.gates[1].unit
	u.Sweep(func(p san.TPG) bool { return p == 1 })
	wantConflict(t, b.tur()) // it is there
	begin := u.peers
	u.peers = nil
	u.Sweep(func(p san.TPG) bool { return p == 1 })
	u.peers = begin
	u.guard.reading.Wait()
	wantGood(t, b.tur())
}

// What is not saved outlives a planned move, and no other.
func TestUnsavedStateMoves(t *testing.T) {
	v := testVolume()
	v.Removable = true
	g := newGangOf(t, 2, v, nil)
	g.serve(0)
	a, b := g.attach(0, 1), g.attach(1, 2)
	wantGood(t, a.run(a.newTask([]byte{0x1e, 0, 0, 0, 1, 0}))) // PREVENT
	control := a.page(0, scsi.ModeControl)
	control[2] |= 0x08 // SWP
	wantGood(t, a.selectPage(scsi.ModeControl, control, false))
	b.settle()
	g.move(1)
	wantSense(t, a.wait(a.put(0, 1)), scsi.DataProtect, scsi.ASCSoftwareWriteProtected)
	startStop := func(w *wire, how byte) *Task { return w.run(w.newTask([]byte{0x1b, 0, 0, 0, how, 0})) }
	wantSense(t, startStop(b, 2), scsi.IllegalRequest, scsi.ASCMediumRemovalPrevented)
	g.move(0)
	wantSense(t, startStop(b, 2), scsi.IllegalRequest, scsi.ASCMediumRemovalPrevented)
	wantGood(t, a.run(a.newTask([]byte{0x1e, 0, 0, 0, 0, 0})))
	wantGood(t, startStop(b, 2))
	g.move(1)
	wantSense(t, a.tur(), scsi.NotReady, scsi.ASCMediumNotPresentTrayOpen)
	if b, err := g.store.Load(StateHandover); b != nil || err != nil {
		t.Errorf("a record is left: %q", b)
	}
	g.gates[1].unit.Release() // its gateway was cut off
	g.gates[1].slot.epoch.Store(0)
	g.serve(0)
	wantGood(t, a.tur())
}

// A change that the store refused, because another gateway has the volume, is
// made there.
func TestReservationRefusedByTheStore(t *testing.T) {
	st := &movedStore{memStore: newStore()}
	g := newGang(t, 2, nil)
	for _, x := range g.gates {
		x.unit.store = st
	}
	g.serve(0)
	w := g.attach(0, 1)
	st.refuse(true)
	list := (&pr.Out{ActionKey: 1}).Append(nil, pr.Register)
	task := w.out(len(list), 0x5f, 0, 0, 0, 0, 0, 0, 0, byte(len(list)), 0)
	w.Admit(task)
	give(task, list)
	task.Ready()
	<-st.refused
	wantWaiting(t, w, task)
	st.refuse(false)
	g.move(1)
	wantGood(t, w.wait(task))
	if _, keys := w.keys(); len(keys) != 1 {
		t.Errorf("keys %v", keys)
	}
}

// movedStore is a store that may say that the volume has another owner.
type movedStore struct {
	*memStore
	mu      sync.Mutex // guards the fields below
	moved   bool
	refused chan struct{}
}

func (s *movedStore) refuse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved = on
	if on {
		s.refused = make(chan struct{}, 64)
	}
}

func (s *movedStore) Save(name string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved {
		s.refused <- struct{}{}
		return ErrMoved
	}
	return s.memStore.Save(name, b)
}

// A unit that can't load what it needs does not serve, and those who wait go on
// waiting.
func TestServeFails(t *testing.T) {
	g := newGang(t, 1, nil)
	u := g.gates[0].unit
	w := g.attach(0, 1)
	task := w.put(0, 1)
	for _, name := range []string{StateReservations, StateModePages, StateSanitize} {
		if err := g.store.Save(name, []byte("{")); err != nil {
			t.Fatal(err)
		}
		if err := u.Serve(1); err == nil {
			t.Errorf("served with %s that can't be read", name)
		}
		if err := g.store.Save(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	wantWaiting(t, w, task)
	g.serve(0)
	wantGood(t, w.wait(task))
}

// Without the right to serve nothing is written, nothing is answered that tells
// something of the volume, and the session is dropped.
func TestRight(t *testing.T) {
	var mu sync.Mutex
	right := true
	set := func(on bool) {
		mu.Lock()
		defer mu.Unlock()
		right = on
	}
	g := newGang(t, 1, func(o *UnitOptions) {
		o.Right = func() bool {
			mu.Lock()
			defer mu.Unlock()
			return right
		}
	})
	g.serve(0)
	w := g.attach(0, 1)
	wantGood(t, w.wait(w.put(0, 1)))
	set(false)
	for name, task := range map[string]*Task{
		"WRITE": w.wait(w.put(0, 2)), "READ": w.run(w.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)), "TEST UNIT READY": w.tur(),
		"SYNCHRONIZE CACHE": w.run(w.newTask([]byte{0x35})), "INQUIRY": w.inquiry(0, 0),
		"COMPARE AND WRITE": w.run(w.out(1024, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), make([]byte, 1024)...), // another value is there
	} {
		if !task.Aborted || !task.Void || task.In.Len() > 0 {
			t.Errorf("%s: status %v, aborted %v", name, task.Status, task.Aborted)
		}
	}
	if len(w.dropped) != 6 {
		t.Errorf("dropped: %q", w.dropped)
	}
	wantSense(t, w.run(w.newTask([]byte{0xff})), scsi.IllegalRequest, scsi.ASCInvalidOpCode)
	set(true)
	if got := w.get(0); got != 1 {
		t.Error("a write without right reached the medium")
	}
	w.mustPersist(pr.Register, 0, pr.Out{ActionKey: 7})
	w.mustPersist(pr.Reserve, pr.WriteExclusive, pr.Out{Key: 7})
	b := g.attach(0, 2)
	wantConflict(t, b.wait(b.put(0, 1)))
	attention := func() { b.view.Load().at(0).attn.raise(scsi.ASCModeParametersChanged) }
	attention()
	wantConflict(t, b.wait(b.put(0, 1)))
	set(false) // and the next owner may have released it
	for name, before := range map[string]func(){"WRITE": func() {}, "WRITE with a unit attention": attention} {
		before()
		if task := b.wait(b.put(0, 1)); !task.Aborted || !task.Void {
			t.Errorf("%s under a reservation: status %v, aborted %v", name, task.Status, task.Aborted)
		}
	}
	if len(b.dropped) != 2 {
		t.Errorf("dropped: %q", b.dropped)
	}
	u := g.gates[0].unit
	u.Cancel() // as of a gateway that is cut off: that is no secret
	wantSense(t, w.tur(), scsi.NotReady, scsi.ASCAccessTransition)
	u.setCondition(condMoving, false)
	set(true)
}

// REPORT TARGET PORT GROUPS waits for what the cluster decided, or says nothing.
func TestFreshGroups(t *testing.T) {
	asked := make(chan func(bool), 1)
	u := localUnitOf(t)
	tg := NewTarget("iqn.2026-11.test:target", TargetOptions{Fresh: func(done func(bool)) { asked <- done }})
	tg.SetMap(map[san.LUN]MapEntry{0: {Unit: u}})
	w := attach(t, tg, nexusName(1), "")
	rtpg := func() *Task {
		task := w.in(256, 0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0)
		w.Admit(task)
		return task
	}
	task := rtpg()
	done := <-asked
	wantWaiting(t, w, task)
	regroup(tg, []PortGroup{{ID: 9, State: ActiveNonOptimized, Ports: []san.TPG{1}}})
	done(true)
	wantGood(t, w.wait(task))
	if d := bytesIn(task); d[4]&15 != 1 || d[7] != 9 {
		t.Errorf("it answered % x", d)
	}
	w.settle()
	task = rtpg()
	(<-asked)(false)
	if w.wait(task); !task.Aborted || !task.Void || len(w.dropped) != 1 {
		t.Errorf("without the cluster: status %v, dropped %q", task.Status, w.dropped)
	}
}

// localUnitOf is a unit over memory that serves by itself.
func localUnitOf(t *testing.T) *Unit {
	g := newGang(t, 1, nil)
	g.serve(0)
	return g.gates[0].unit
}
