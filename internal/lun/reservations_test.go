package lun

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"sango/internal/block/mem"
	"sango/internal/reserve"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// persist sends a PERSISTENT RESERVE OUT.
func (w *wire) persist(action scsi.ServiceAction, kind pr.Type, o pr.Out) *Task {
	w.t.Helper()
	list := o.Append(nil, action)
	return w.run(w.out(len(list), 0x5f, byte(action), byte(kind), 0, 0, 0, 0, byte(len(list)>>8), byte(len(list)), 0), list...)
}

func (w *wire) mustPersist(action scsi.ServiceAction, kind pr.Type, o pr.Out) {
	w.t.Helper()
	wantGood(w.t, w.persist(action, kind, o))
}

func (w *wire) keys() (uint32, []pr.Key) {
	w.t.Helper()
	task := w.run(w.in(1024, 0x5e, byte(pr.ReadKeys), 0, 0, 0, 0, 0, 4, 0, 0))
	wantGood(w.t, task)
	g, keys, err := pr.ParseKeys(bytesIn(task))
	if err != nil {
		w.t.Fatal(err)
	}
	return g, keys
}

func (w *wire) reservation() *pr.Reservation {
	w.t.Helper()
	task := w.run(w.in(1024, 0x5e, byte(pr.ReadReservation), 0, 0, 0, 0, 0, 4, 0, 0))
	wantGood(w.t, task)
	_, r, err := pr.ParseReservation(bytesIn(task))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func wantConflict(t testing.TB, task *Task) {
	t.Helper()
	if task.Status != scsi.ReservationConflict || len(task.Sense) != 0 {
		t.Fatalf("% x: status %v; want RESERVATION CONFLICT", task.CDB, task.Status)
	}
}

// pending returns the unit attentions of w at LUN 0, and clears them.
func (w *wire) pending() (list []scsi.ASC) {
	for {
		c, ok := w.view.Load().at(0).attn.take()
		if !ok {
			return list
		}
		list = append(list, c)
	}
}

func wantPending(t testing.TB, w *wire, want ...scsi.ASC) {
	t.Helper()
	got := w.pending()
	if len(got) != len(want) {
		t.Fatalf("unit attentions %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("unit attentions %v, want %v", got, want)
		}
	}
}

func three(t *testing.T, st UnitStore) (a, b, c *wire) {
	tg := oneUnit(testUnit(t, st, nil))
	return attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), ""), attach(t, tg, nexusName(3), "")
}

var (
	reserve6CDB = []byte{0x16, 0, 0, 0, 0, 0}
	release6CDB = []byte{0x17, 0, 0, 0, 0, 0}
	modeSense6  = []byte{0x1a, 0, 0x3f, 0, 255, 0}
)

func TestReserve6KeepsOthersAway(t *testing.T) {
	a, b, _ := three(t, nil)
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	wantConflict(t, b.run(b.newTask(reserve6CDB)))
	wantGood(t, b.run(b.newTask(release6CDB))) // does nothing
	wantGood(t, a.run(a.in(255, modeSense6...)))
	wantConflict(t, b.run(b.in(255, modeSense6...)))
	wantConflict(t, b.tur())
	wantGood(t, b.run(b.in(36, 0x12, 0, 0, 0, 36, 0)))
	// Persistent reservations conflict with it from every nexus.
	wantConflict(t, a.persist(pr.Register, 0, pr.Out{ActionKey: 1}))
	wantConflict(t, a.run(a.in(8, 0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0)))
	wantGood(t, a.run(a.newTask(release6CDB)))
	wantGood(t, b.run(b.newTask(reserve6CDB)))
}

func TestReserve6EndsWithTheNexus(t *testing.T) {
	tg := oneUnit(testUnit(t, nil, nil))
	a, b := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	wantConflict(t, b.tur())
	a.Detach()
	wantGood(t, b.tur())
	wantPending(t, b)
}

func TestReserve6EndsWithResets(t *testing.T) {
	for _, f := range []Function{LogicalUnitReset, TargetWarmReset, TargetColdReset} {
		a, b, _ := three(t, nil)
		wantGood(t, a.run(a.newTask(reserve6CDB)))
		if r := b.manage(TMF{Function: f}); r != TMFComplete {
			t.Fatalf("function %d: response %d", f, r)
		}
		b.settle()
		wantGood(t, b.tur())
	}
}

func TestReserve6AndPersistentReservations(t *testing.T) {
	a, b, c := three(t, nil)
	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	wantConflict(t, a.run(a.newTask(reserve6CDB)))
	wantConflict(t, b.run(b.newTask(release6CDB)))
	b.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})
	a.mustPersist(pr.Reserve, pr.WriteExclusiveRegistrantsOnly, pr.Out{Key: 1})
	wantGood(t, a.run(a.newTask(reserve6CDB))) // CRH: the holder has what it asks for,
	wantGood(t, b.run(b.newTask(release6CDB))) // and so has a registrant
	wantConflict(t, c.run(c.newTask(reserve6CDB)))
}

func TestAttentionsOfChanges(t *testing.T) {
	a, b, c := three(t, nil)
	register := func() {
		t.Helper()
		for i, w := range []*wire{a, b, c} {
			w.mustPersist(pr.RegisterAndIgnore, 0, pr.Out{ActionKey: pr.Key(i + 1)})
		}
	}
	register()
	a.mustPersist(pr.Reserve, pr.WriteExclusiveRegistrantsOnly, pr.Out{Key: 1})
	a.mustPersist(pr.Release, pr.WriteExclusiveRegistrantsOnly, pr.Out{Key: 1})
	wantPending(t, a)
	wantPending(t, b, scsi.ASCReservationsReleased)
	wantPending(t, c, scsi.ASCReservationsReleased)

	a.mustPersist(pr.Reserve, pr.ExclusiveAccessRegistrantsOnly, pr.Out{Key: 1})
	a.mustPersist(pr.Register, 0, pr.Out{Key: 1}) // unregisters
	wantPending(t, a)
	wantPending(t, b, scsi.ASCReservationsReleased)
	c.settle()

	register()
	a.mustPersist(pr.Reserve, pr.ExclusiveAccess, pr.Out{Key: 1})
	b.mustPersist(pr.Preempt, pr.WriteExclusive, pr.Out{Key: 2, ActionKey: 1})
	wantPending(t, a, scsi.ASCRegistrationsPreempted)
	wantPending(t, b)
	wantPending(t, c, scsi.ASCReservationsReleased)

	c.mustPersist(pr.Clear, 0, pr.Out{Key: 3})
	wantPending(t, a)
	wantPending(t, b, scsi.ASCReservationsPreempted)
	wantPending(t, c)
	if r := c.reservation(); r != nil {
		t.Errorf("after CLEAR: %+v", r)
	}
}

func TestPersistentReserveIn(t *testing.T) {
	a, b, _ := three(t, nil)
	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	b.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})
	a.mustPersist(pr.Reserve, pr.ExclusiveAccess, pr.Out{Key: 1})
	if g, keys := b.keys(); g != 2 || len(keys) != 2 || keys[0] != 1 || keys[1] != 2 {
		t.Errorf("generation %d, keys %v", g, keys)
	}
	if r := b.reservation(); r == nil || *r != (pr.Reservation{Key: 1, Type: pr.ExclusiveAccess}) {
		t.Errorf("reservation %+v", r)
	}
	task := a.run(a.in(8, 0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0))
	wantGood(t, task)
	if b := bytesIn(task); len(b) != 8 || b[7] != 16 {
		t.Errorf("READ KEYS cut to 8 bytes: % x", b)
	}
	task = b.run(b.in(1024, 0x5e, byte(pr.ReadFullStatus), 0, 0, 0, 0, 0, 4, 0, 0))
	wantGood(t, task)
	_, full, err := pr.ParseFullStatus(bytesIn(task))
	if err != nil || len(full) != 2 || !full[0].Holder || full[0].RelativePort != 1 || !full[1].Port.Matches(nexusName(2).Initiator) {
		t.Errorf("full status %+v, %v", full, err)
	}
	task = b.run(b.in(8, 0x5e, byte(pr.ReportCapabilities), 0, 0, 0, 0, 0, 0, 8, 0))
	wantGood(t, task)
	if got := bytesIn(task); got[1] != 8 || got[4] != 0xea || got[5] != 1 {
		t.Errorf("capabilities % x", got)
	}
	wantSense(t, b.run(b.in(8, 0x5e, 4, 0, 0, 0, 0, 0, 0, 8, 0)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
}

func TestPersistentReserveOutRefusals(t *testing.T) {
	a, _, _ := three(t, nil)
	short := a.out(20, 0x5f, 0, 0, 0, 0, 0, 0, 0, 20, 0)
	wantSense(t, a.run(short), scsi.IllegalRequest, scsi.ASCParameterListLength)
	offered := a.out(20, 0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0) // less than the CDB says
	wantSense(t, a.run(offered, make([]byte, 24)...), scsi.IllegalRequest, scsi.ASCParameterListLength)
	huge := a.out(1<<17, 0x5f, 0, 0, 0, 0, 0, 2, 0, 0, 0)
	wantSense(t, a.run(huge), scsi.IllegalRequest, scsi.ASCParameterListLength)
	wantSense(t, a.run(a.out(24, 0x5f, 8, 0, 0, 0, 0, 0, 0, 24, 0)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
	wantSense(t, a.persist(pr.Reserve, 2, pr.Out{Key: 1}), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	wantSense(t, a.persist(pr.Preempt, pr.WriteExclusive, pr.Out{Key: 1}), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
}

func TestAllTargetPortsAndMove(t *testing.T) {
	tg := oneUnit(testUnit(t, nil, nil))
	regroup(tg, []PortGroup{{ID: 1, Ports: []san.TPG{1, 2}}})
	second := nexusName(1)
	second.Target.TPG = 2
	a, a2, b := attach(t, tg, nexusName(1), ""), attach(t, tg, second, ""), attach(t, tg, nexusName(2), "")
	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 7, AllPorts: true})
	a2.mustPersist(pr.Reserve, pr.ExclusiveAccess, pr.Out{Key: 7})
	wantConflict(t, a.run(a.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)))
	wantGood(t, a2.run(a2.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)))
	// The reservation goes over to b's nexus, by name alone.
	a2.mustPersist(pr.RegisterAndMove, 0, pr.Out{
		Key: 7, ActionKey: 9, RelativePort: 1, To: pr.IDOf(nexusName(2).Initiator), Unregister: true,
	})
	wantGood(t, b.run(b.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)))
	wantConflict(t, a2.run(a2.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)))
	if _, keys := b.keys(); len(keys) != 2 || keys[0] != 7 || keys[1] != 9 {
		t.Errorf("keys %v", keys)
	}
}

func TestPersistThroughPowerLoss(t *testing.T) {
	for _, aptpl := range []bool{false, true} {
		st := newStore()
		u := testUnit(t, st, nil)
		a := attach(t, oneUnit(u), nexusName(1), "")
		a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1, APTPL: aptpl})
		a.mustPersist(pr.Reserve, pr.ExclusiveAccess, pr.Out{Key: 1})

		b := attach(t, oneUnit(testUnit(t, st, nil)), nexusName(2), "")
		generation, keys := b.keys()
		if generation != 0 {
			t.Errorf("aptpl %v: PRgeneration %d after a loss of power", aptpl, generation)
		}
		read := b.run(b.in(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0))
		if aptpl {
			wantConflict(t, read)
		} else {
			wantGood(t, read)
		}
		if (len(keys) == 1) != aptpl {
			t.Errorf("aptpl %v: keys %v", aptpl, keys)
		}
	}
}

func TestReservationRecordThatIsBroken(t *testing.T) {
	st := newStore()
	if err := st.Save(StateReservations, []byte("{")); err != nil {
		t.Fatal(err)
	}
	v := testVolume()
	dev, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if _, err := NewUnit(v, dev, st, UnitOptions{}); !errors.Is(err, reserve.ErrRecord) {
		t.Errorf("got %v, want %v", err, reserve.ErrRecord)
	}
}

// doubtfulStore fails to save, with or without effect, and can't be read for a
// while after that.
type doubtfulStore struct {
	*memStore
	mu       sync.Mutex // guards the fields below
	doubtful bool       // Save fails
	effect   bool       // but has its effect
	gate     chan struct{}
}

var errDoubt = errors.New("the store did not answer")

func (s *doubtfulStore) Save(name string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.doubtful || s.effect {
		if err := s.memStore.Save(name, b); err != nil {
			return err
		}
	}
	if s.doubtful {
		return errDoubt
	}
	return nil
}

func (s *doubtfulStore) Load(name string) ([]byte, error) {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return s.memStore.Load(name)
}

func TestUnknownOutcomeStopsTheVolume(t *testing.T) {
	for _, effect := range []bool{false, true} {
		st := &doubtfulStore{memStore: newStore()}
		u := testUnit(t, st, nil)
		tg := oneUnit(u)
		a, b := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
		a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 1})
		b.mustPersist(pr.Register, 0, pr.Out{ActionKey: 2})
		a.mustPersist(pr.Reserve, pr.ExclusiveAccess, pr.Out{Key: 1})

		st.mu.Lock()
		gate := make(chan struct{})
		st.doubtful, st.effect, st.gate = true, effect, gate
		open := sync.OnceFunc(func() { close(gate) })
		t.Cleanup(open)
		st.mu.Unlock()
		wantSense(t, b.persist(pr.PreemptAndAbort, pr.WriteExclusive, pr.Out{Key: 2, ActionKey: 1}), scsi.HardwareError, scsi.ASCInternalTargetFailure)

		read := []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}
		for _, w := range []*wire{a, b} {
			for _, task := range []*Task{w.run(w.in(512, read...)), w.persist(pr.Release, pr.ExclusiveAccess, pr.Out{Key: 1}), w.run(w.newTask(reserve6CDB))} {
				if task.Status != scsi.Busy {
					t.Fatalf("% x while the record is not known: %v, want BUSY", task.CDB, task.Status)
				}
			}
			wantGood(t, w.tur())
		}
		st.mu.Lock()
		st.doubtful, st.gate = false, nil
		st.mu.Unlock()
		open()
		owner(u).guard.reading.Wait()

		r := b.reservation()
		switch {
		case effect && (r == nil || *r != pr.Reservation{Key: 2, Type: pr.WriteExclusive}):
			t.Errorf("the change was stored, and the reservation is %+v", r)
		case !effect && (r == nil || *r != pr.Reservation{Key: 1, Type: pr.ExclusiveAccess}):
			t.Errorf("the change was not stored, and the reservation is %+v", r)
		}
		if effect {
			wantPending(t, a, scsi.ASCRegistrationsPreempted)
		} else {
			wantPending(t, a)
		}
		b.mustPersist(pr.Register, 0, pr.Out{Key: 2, ActionKey: 3})
	}
}

func TestCloseWhileTheRecordIsNotKnown(t *testing.T) {
	st := &doubtfulStore{memStore: newStore()}
	u := testUnit(t, st, nil)
	tg := oneUnit(u)
	a := attach(t, tg, nexusName(1), "")
	st.mu.Lock()
	st.doubtful = true
	st.mu.Unlock()
	wantSense(t, a.persist(pr.Register, 0, pr.Out{ActionKey: 1}), scsi.HardwareError, scsi.ASCInternalTargetFailure)
	a.Detach()
	tg.SetMap(nil)
} // and the unit closes

// A reservation that is in force all the time stops others in the moment, too, in
// which its record has been read again.
func TestReservationWhileTheRecordIsRead(t *testing.T) {
	u := localUnit(t, testVolume(), memDevice(t, testVolume()), nil, UnitOptions{})
	tg := oneUnit(u)
	a, b := attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
	a.mustPersist(pr.Register, 0, pr.Out{ActionKey: 7})
	a.mustPersist(pr.Reserve, pr.ExclusiveAccess, pr.Out{Key: 7})
	write := b.out(512, 0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0)
	write.nexus, write.itl, write.unit = b.Nexus, b.view.Load().at(0), u
	write.cmd, _ = u.table.find(&write.CDB)
	u.setCondition(condUnread, true)
	if !u.guard.conflicts(write) {
		t.Error("whether the reservations shut a host out depends on a condition, which gate has looked at already")
	}
	if err := u.gate(write); err == nil || errors.Is(err, errConflict) {
		t.Errorf("a command of a unit whose reservations are not known: %v, want BUSY", err)
	}
	u.setCondition(condUnread, false)
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !over.Load() {
			u.setCondition(condUnread, true)
			u.setCondition(condUnread, false)
		}
	})
	defer wg.Wait()
	defer over.Store(true)
	for n := range 300_000 {
		if u.gate(write) == nil {
			t.Fatalf("attempt %d to write went on under the reservation of another host", n)
		}
	}
}
