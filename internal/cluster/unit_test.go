package cluster

import (
	"errors"
	"testing"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/san"
)

var _ lun.UnitStore = (*Unit)(nil)

// Reservations follow the volume; who does not serve it changes none.
func TestReservationsMove(t *testing.T) {
	inWorld(t, 2, 2, model.FenceDriver, func(t *testing.T, w *world) {
		v := volumeID(0)
		from, to := w.by(v), w.nodes[0]
		if from == to {
			to = w.nodes[1]
		}
		save := func(n *node, name, s string) error { return n.r.Unit(v).Save(name, []byte(s)) }
		load := func(n *node, name, want string) {
			t.Helper()
			if b, err := n.r.Unit(v).Load(name); err != nil || string(b) != want {
				t.Errorf("%s: %q, %v; want %q", name, b, err, want)
			}
		}
		load(from, lun.StateReservations, "")
		for _, s := range []string{"one", "two"} {
			for _, name := range []string{lun.StateReservations, lun.StateModePages} {
				if err := save(from, name, s); err != nil {
					t.Fatal(err)
				}
				if err := save(to, name, "other"); !errors.Is(err, lun.ErrMoved) {
					t.Errorf("%s where it is not served: %v", name, err)
				}
				load(from, name, s)
				load(to, name, s)
			}
		}
		if err := from.r.Move(t.Context(), v, to.name, ""); err != nil {
			t.Fatal(err)
		}
		w.eventually("it is there", w.served)
		for _, name := range []string{lun.StateReservations, lun.StateModePages} {
			load(to, name, "two")
			if err := save(to, name, "three"); err != nil {
				t.Error(err)
			}
			if err := save(from, name, "late"); !errors.Is(err, lun.ErrMoved) {
				t.Errorf("%s of the former owner: %v", name, err)
			}
			load(to, name, "three")
		}
		if r := get(w.m, model.ReservationRecord{Volume: v}); r.Epoch != get(w.m, model.OwnerRecord{Volume: v}).Epoch || r.Data != "three" {
			t.Errorf("%+v", r)
		}
	})
}

// A change whose answer gets lost stops what asks for reservations, until it is
// known what is stored.
func TestReservationUnknown(t *testing.T) {
	inWorld(t, 2, 2, model.FenceDriver, func(t *testing.T, w *world) {
		v := volumeID(0)
		n := w.by(v)
		n.way.set(func(w *way) { w.loseOne = true })
		u := n.r.Unit(v)
		if err := u.Save(lun.StateReservations, []byte("lost")); !errors.Is(err, san.ErrUnknown) {
			t.Fatal(err)
		}
		if err := u.Save(lun.StateReservations, []byte("next")); !errors.Is(err, san.ErrUnknown) {
			t.Errorf("a change before it is settled: %v", err)
		}
		if b, err := u.Load(lun.StateReservations); err != nil || string(b) != "lost" {
			t.Errorf("%q, %v", b, err)
		}
		if err := u.Save(lun.StateReservations, []byte("next")); err != nil {
			t.Error(err)
		}
		// Where the volume is given up instead, nobody waits.
		n.way.set(func(w *way) { w.loseOne = true })
		if err := u.Save(lun.StateReservations, []byte("again")); !errors.Is(err, san.ErrUnknown) {
			t.Fatal(err)
		}
		n.way.set(func(w *way) { w.cut = true })
		loaded := make(chan error, 1)
		go func() {
			_, err := u.Load(lun.StateReservations)
			loaded <- err
		}()
		w.eventually("the other one serves", func() bool { return w.by(v) != nil && w.by(v) != n })
		n.way.set(func(w *way) { w.cut = false })
		if err := <-loaded; !errors.Is(err, san.ErrUnavailable) {
			t.Error(err)
		}
		w.eventually("all is served", w.served)
		if b, err := w.by(v).r.Unit(v).Load(lun.StateReservations); err != nil || string(b) != "again" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// What is saved while a move begins is saved under the new record.
func TestSaveWhileItMoves(t *testing.T) {
	inWorld(t, 2, 2, model.FenceDriver, func(t *testing.T, w *world) {
		v := volumeID(0)
		n := w.by(v)
		n.mu.Lock()
		n.open[v].flight++ // it can't be given up yet
		x := n.open[v]
		n.mu.Unlock()
		o := get(w.m, model.OwnerRecord{Volume: v})
		to := w.nodes[0].member()
		if to == o.Owner {
			to = w.nodes[1].member()
		}
		o.State, o.To, o.Epoch, o.Released, o.Reason = model.Moving, to, o.Epoch+1, false, model.ReasonDrain
		w.m.put(o)
		if err := n.r.Unit(v).Save(lun.StateSanitize, []byte("half")); err != nil {
			t.Error(err)
		}
		sleep(time.Second)
		if err := n.r.Unit(v).Save(lun.StateSanitize, []byte("more")); err != nil {
			t.Error(err)
		}
		n.ended(x)
		w.eventually("it is there", w.served)
		if err := n.r.Unit(v).Save(lun.StateSanitize, []byte("late")); !errors.Is(err, lun.ErrMoved) {
			t.Error(err)
		}
	})
}

// What the unit of a volume leaves for the next owner, as it is closed, is saved.
func TestSaveAsItCloses(t *testing.T) {
	inWorld(t, 2, 2, model.FenceDriver, func(t *testing.T, w *world) {
		v := volumeID(0)
		n := w.by(v)
		saved := make(chan error, 1)
		n.mu.Lock()
		n.leave = func(v san.UUID) { saved <- n.r.Unit(v).Save(lun.StateHandover, []byte("left")) }
		n.mu.Unlock()
		o := get(w.m, model.OwnerRecord{Volume: v})
		to := w.nodes[0]
		if to.member() == o.Owner {
			to = w.nodes[1]
		}
		o.State, o.To, o.Epoch, o.Released, o.Reason = model.Moving, to.member(), o.Epoch+1, false, model.ReasonDrain
		w.m.put(o)
		if err := <-saved; err != nil {
			t.Error(err)
		}
		w.eventually("it is there", w.served)
		n.mu.Lock()
		n.leave = nil
		n.mu.Unlock()
		if b, err := to.r.Unit(v).Load(lun.StateHandover); err != nil || string(b) != "left" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// A change that meets the end of the ownership is known not to be made, also
// where the gateway has not been told of that end.
func TestReservationAtTheMove(t *testing.T) {
	inWorld(t, 2, 2, model.FenceDriver, func(t *testing.T, w *world) {
		v := volumeID(0)
		n := w.by(v)
		o := get(w.m, model.OwnerRecord{Volume: v})
		to := w.nodes[0].member()
		if to == o.Owner {
			to = w.nodes[1].member()
		}
		n.way.set(func(w *way) { w.stalled = true })
		o.State, o.To, o.Epoch, o.Released, o.Reason = model.Moving, to, o.Epoch+1, false, model.ReasonDrain
		w.m.put(o)
		time.AfterFunc(2*time.Second, func() { n.way.set(func(w *way) { w.stalled = false }) })
		if err := n.r.Unit(v).Save(lun.StateReservations, []byte("late")); !errors.Is(err, lun.ErrMoved) {
			t.Error(err)
		}
		w.eventually("it is there", w.served)
		if r := get(w.m, model.ReservationRecord{Volume: v}); r.Data != "" {
			t.Errorf("%+v", r)
		}
	})
}
