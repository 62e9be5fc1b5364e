package lun

import (
	"sync"
	"testing"

	"sango/internal/reserve"
	"sango/internal/san"
	"sango/internal/scsi"
)

// slowStore saves reservations when it is let.
type slowStore struct {
	UnitStore
	mu    sync.Mutex // guards the fields below
	gate  chan struct{}
	saves chan struct{} // takes one for each that waits
}

// slow makes what is saved from now on wait, until the function is called.
func (s *slowStore) slow() (let func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate, s.saves = gate, make(chan struct{}, 16)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		close(gate)
	})
}

func (s *slowStore) Save(name string, b []byte) error {
	s.mu.Lock()
	gate, saves := s.gate, s.saves
	s.mu.Unlock()
	if gate != nil && name == StateReservations {
		saves <- struct{}{}
		<-gate
	}
	return s.UnitStore.Save(name, b)
}

// holder returns who holds a RESERVE(6) by the record.
func (g *gang) holder() bool {
	g.t.Helper()
	b, err := g.store.Load(StateReservations)
	if err != nil {
		g.t.Fatal(err)
	}
	s, err := reserve.Decode(b)
	if err != nil {
		g.t.Fatal(err)
	}
	_, held := s.Legacy()
	return held
}

// A RESERVE(6) that ends without a command, too, is in force until the record
// says that it is over: the next owner will do as that says. Whoever asks
// meanwhile has to come again.
func TestReserve6EndsInTheStoreFirst(t *testing.T) {
	for name, end := range map[string]func(a, b *wire, done func(TMFResponse)){
		"loss of the nexus": func(a, _ *wire, done func(TMFResponse)) {
			a.Detach()
			done(TMFComplete)
		},
		"logical unit reset": func(_, b *wire, done func(TMFResponse)) {
			b.Manage(TMF{Function: LogicalUnitReset, LUN: lun0}, done)
		},
		"nexus reset": func(a, _ *wire, done func(TMFResponse)) {
			a.Manage(TMF{Function: NexusReset, LUN: lun0}, done)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGang(t, 2, nil)
			st := &slowStore{UnitStore: g.store}
			g.gates[0].unit.store = st
			g.serve(0)
			a, b := g.attach(1, 1), g.attach(0, 2)
			wantGood(t, a.run(a.newTask(reserve6CDB)))
			let := st.slow()
			t.Cleanup(let)
			answer := make(chan TMFResponse, 1)
			end(a, b, func(r TMFResponse) { answer <- r })
			<-st.saves
			b.pending()
			wantBusy(t, b.tur())
			if name != "loss of the nexus" {
				if len(answer) > 0 {
					t.Error("a reset is answered before the next owner would know of it")
				}
				a.pending()
			} else {
				a = g.attach(1, 1) // the reservation of its predecessor is not its own
			}
			early := a.newTask(reserve6CDB) // would be lost in a moment
			a.Admit(early)
			let()
			if r := <-answer; r != TMFComplete {
				t.Errorf("answer %v", r)
			}
			g.gates[0].unit.guard.reading.Wait()
			if a.wait(early); early.Status == scsi.Good {
				wantConflict(t, b.tur())
				return
			}
			if g.holder() {
				t.Error("the record holds it still")
			}
			wantGood(t, b.run(b.newTask(reserve6CDB)))
		})
	}
}

// A reset that could not be stored, since the volume moves, is done by the next
// owner before it is answered; and what was lost meanwhile is not found again.
func TestReserve6EndsWhileTheVolumeMoves(t *testing.T) {
	for _, reset := range []bool{true, false} {
		g := newGang(t, 2, nil)
		st := &movedStore{memStore: g.store}
		g.gates[0].unit.store = st
		g.serve(0)
		a, b := g.attach(1, 1), g.attach(0, 2)
		wantGood(t, a.run(a.newTask(reserve6CDB)))
		st.refuse(true)
		answer := make(chan TMFResponse, 1)
		if reset {
			b.Manage(TMF{Function: LogicalUnitReset, LUN: lun0}, func(r TMFResponse) { answer <- r })
		} else {
			a.Detach()
			answer <- TMFComplete
			g.attach(1, 1)
		}
		<-st.refused
		g.gates[0].unit.guard.reading.Wait()
		if reset && len(answer) > 0 {
			t.Error("a reset is answered that the next owner does not know of")
		}
		b.pending()
		wantBusy(t, b.tur())
		st.refuse(false)
		g.move(1)
		if r := <-answer; r != TMFComplete {
			t.Errorf("answer %v", r)
		}
		g.gates[1].unit.guard.reading.Wait()
		b.pending()
		wantGood(t, b.tur())
		if g.holder() {
			t.Error("the record holds it still")
		}
	}
}

// What a nexus held that is gone is not held by the next session of its name.
func TestReserve6IsNotInherited(t *testing.T) {
	for _, holder := range []int{1, 2} {
		g := newGang(t, 3, nil)
		g.serve(0)
		a, b := g.attach(holder, 1), g.attach(0, 2)
		wantGood(t, a.run(a.newTask(reserve6CDB)))
		record, _ := g.store.Load(StateReservations)
		a.Detach()
		g.gates[0].unit.guard.reading.Wait()
		g.cut()
		if err := g.store.Save(StateReservations, record); err != nil { // it did not come to store that
			t.Fatal(err)
		}
		g.epoch++
		g.open(1)
		g.relays()
		wantBusy(t, b.tur())
		a = g.attach(holder, 1)
		g.gates[1].unit.guard.reading.Wait()
		wantGood(t, b.tur())
		wantGood(t, b.run(b.newTask(reserve6CDB)))
		wantConflict(t, a.tur())
	}
}

// What a gateway tells of the logins that it has does not end what one of them has
// reserved meanwhile, under the name of one that is gone.
func TestSweepSparesTheNextLogin(t *testing.T) {
	for holder := range 2 {
		g := newGang(t, 2, nil)
		g.serve(0)
		u := g.gates[0].unit
		a, b := g.attach(holder, 1), g.attach(0, 2)
		wantGood(t, a.run(a.newTask(reserve6CDB)))
		u.Sweep(func(tpg san.TPG) bool { // it has looked at what is reserved
			a.Detach()
			u.guard.reading.Wait()
			a = g.attach(holder, 1)
			wantGood(t, a.run(a.newTask(reserve6CDB)))
			return tpg == a.ID().Target.TPG
		})
		u.guard.reading.Wait()
		wantConflict(t, b.tur())
		if !g.holder() {
			t.Error("the record does not hold it")
		}
		// Nor where it looked a moment later: the end of the former login is being
		// stored.
		s := u.guard.state.Load()
		n, _ := s.Legacy()
		u.guard.loginLost(n, s.Login()+1)
		u.guard.over(&doubt{holder: n, login: s.Login() + 1, lost: true})
		u.guard.loginLost(n, s.Login()+1)
		if ok, again := u.guard.settleNow(); !ok || again {
			t.Errorf("%v, %v", ok, again)
		}
		wantConflict(t, b.tur())
		u.guard.loginLost(n, s.Login())
		u.guard.reading.Wait()
		wantGood(t, b.tur())
	}
}

// A RESERVE(6) of which nobody knows whether it was stored ends with its nexus
// like one that was.
func TestUnknownReserve6EndsWithItsNexus(t *testing.T) {
	g := newGang(t, 1, nil)
	st := &doubtfulStore{memStore: g.store, doubtful: true, effect: true, gate: make(chan struct{})}
	g.gates[0].unit.store = newStore()
	g.serve(0)
	u := g.gates[0].unit
	u.store = st
	a, b := g.attach(0, 1), g.attach(0, 2)
	wantSense(t, a.run(a.newTask(reserve6CDB)), scsi.HardwareError, scsi.ASCInternalTargetFailure)
	wantBusy(t, b.tur()) // it may be reserved
	a.Detach()
	st.mu.Lock()
	gate := st.gate
	st.doubtful, st.gate = false, nil
	st.mu.Unlock()
	close(gate)
	u.guard.reading.Wait()
	wantGood(t, b.tur())
	if g.holder() {
		t.Error("the record holds it still")
	}
}

// What the next owner will not know of is not seen either: a RESERVE(6), or
// RELEASE(6), that comes through another gateway as the volume moves away.
func TestReserve6GoesToTheNextOwner(t *testing.T) {
	for _, release := range []bool{false, true} {
		g := newGang(t, 2, nil)
		st := &movedStore{memStore: g.store}
		g.gates[0].unit.store = st
		g.serve(0)
		a, b := g.attach(1, 1), g.attach(0, 2)
		cdb := reserve6CDB
		if release {
			wantGood(t, a.run(a.newTask(reserve6CDB)))
			cdb = release6CDB
		}
		st.refuse(true)
		task := a.newTask(cdb)
		a.Admit(task)
		<-st.refused
		wantWaiting(t, a, task)
		if held := b.tur().Status == scsi.ReservationConflict; held != release {
			t.Errorf("release: %t, and the former owner sees a reservation: %t", release, held)
		}
		st.refuse(false)
		g.move(1)
		wantGood(t, a.wait(task))
		if held := b.tur().Status == scsi.ReservationConflict; held == release {
			t.Errorf("release: %t, and the next owner sees a reservation: %t", release, held)
		}
	}
}
