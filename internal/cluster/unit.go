package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/san"
)

// Unit is what the unit of a volume keeps (lun.UnitStore), for the epoch under
// which the volume is open here. Reservations change as the model says (R5);
// the rest is guarded by the ownership.
//
// Save fails with lun.ErrMoved where the volume is not served here (any more):
// nothing was changed. After san.ErrUnknown for the reservations Load waits
// until they are settled; where the volume is given up instead, it fails, and
// the next Open brings what there is. While the volume is not open here Load
// reads the store.
type Unit struct {
	r     *Runtime
	id    san.UUID
	other UnitState

	saving sync.Mutex // makes changes of the reservations one at a time

	mu      sync.Mutex // guards what follows
	phase   unitPhase
	epoch   san.Epoch
	data    string
	want    string             // being saved
	answer  chan model.Outcome // takes how that ended; nil: nothing is being saved
	settled chan struct{}      // closed when the phase is no longer unsettled; nil: nobody waits
}

type unitPhase uint8

const (
	unitElsewhere unitPhase = iota // not open here
	unitOpen
	unitUnsettled // open; what is reserved is not known
	unitEnding    // being given up
)

// Unit returns what the unit of a volume keeps.
func (r *Runtime) Unit(v san.UUID) *Unit { return r.unit(v) }

func (r *Runtime) unit(v san.UUID) *Unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.units[v]
	if u == nil {
		u = &Unit{r: r, id: v, other: r.o.Store.Unit(v)}
		r.units[v] = u
	}
	return u
}

// Forget drops what is kept in memory for a volume that was deleted.
func (r *Runtime) Forget(v san.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.units, v)
	delete(r.asked, v)
	delete(r.trouble, v)
}

// endUnits lets nobody wait for a life that is over.
func (r *Runtime) endUnits() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.units {
		u.end()
		u.closed()
		u.reserved(model.Unknown)
	}
}

// Load implements lun.UnitStore.
func (u *Unit) Load(name string) ([]byte, error) {
	if name != lun.StateReservations {
		return u.other.Load(name)
	}
	switch phase, data := u.settle(); phase {
	case unitOpen:
		return bytesOf(data), nil
	case unitEnding:
		return nil, san.Errorf(san.ErrUnavailable, "the volume %s moves to another gateway", u.id)
	}
	return u.read()
}

// settle waits while it is not known what is reserved. What was given up
// meanwhile is unitEnding, also when it is over by now.
func (u *Unit) settle() (unitPhase, string) {
	for waited := false; ; waited = true {
		u.mu.Lock()
		phase, data := u.phase, u.data
		if phase == unitUnsettled && u.settled == nil {
			u.settled = make(chan struct{})
		}
		settled := u.settled
		u.mu.Unlock()
		switch {
		case phase == unitElsewhere && waited:
			return unitEnding, ""
		case phase != unitUnsettled:
			return phase, data
		}
		<-settled
	}
}

// read reads the reservations of a volume that is not open here.
func (u *Unit) read() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), u.r.o.Timeout)
	defer cancel()
	got, err := u.r.o.Store.Read(ctx, model.ReservationRecord{Volume: u.id}.Key())
	if err != nil {
		return nil, err
	}
	rec, _ := got[0].Record.(model.ReservationRecord)
	return bytesOf(rec.Data), nil
}

func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// Save implements lun.UnitStore.
func (u *Unit) Save(name string, b []byte) error {
	if name != lun.StateReservations {
		return u.saveOther(name, b)
	}
	u.saving.Lock()
	defer u.saving.Unlock()
	l := u.r.present()
	u.mu.Lock()
	if u.phase == unitUnsettled {
		u.mu.Unlock()
		return u.unsure()
	}
	if u.phase != unitOpen || l == nil {
		u.mu.Unlock()
		return u.notHere()
	}
	answer, before := make(chan model.Outcome, 1), u.data
	u.want, u.answer = string(b), answer
	u.mu.Unlock()
	if !l.pump.put(item{ev: model.Reserve{Volume: u.id, Data: string(b)}}) {
		u.reserved(model.Refused)
	}
	switch <-answer {
	case model.Committed:
		return nil
	case model.Refused:
		// It has another owner, which the view may not say yet.
		if phase, data := u.settle(); phase != unitOpen || data == before {
			return u.notHere()
		}
	}
	return u.unsure()
}

func (u *Unit) notHere() error {
	return fmt.Errorf("the volume %s is not served here now: %w", u.id, lun.ErrMoved)
}

func (u *Unit) unsure() error {
	return san.Errorf(san.ErrUnknown, "the metadata did not confirm the reservations of the volume %s", u.id)
}

// saveOther saves what no rule but ownership is about. A record of ownership
// that changed meanwhile, and still says that the volume is here, is no reason
// to fail.
func (u *Unit) saveOther(name string, b []byte) error {
	var before model.Revision
	for {
		rev, ok := u.owned()
		if !ok {
			return u.notHere()
		}
		u.other.Own(int64(rev))
		err := u.other.Save(name, b)
		if !errors.Is(err, san.ErrRefused) || rev == before {
			return err
		}
		before = rev
		if !u.r.reachCurrent() {
			return err
		}
	}
}

// owned returns the revision of the record of ownership that allows changes.
func (u *Unit) owned() (rev model.Revision, ok bool) {
	u.mu.Lock()
	epoch := u.epoch
	u.mu.Unlock()
	u.r.look(context.Background(), func(g *model.Gateway) { rev, ok = g.Has(u.id, epoch) })
	return rev, ok
}

// What follows is called as the machine says.

// open: the volume is being opened, with these reservations.
func (u *Unit) open(e san.Epoch, data string) {
	u.set(unitOpen, func() { u.epoch, u.data = e, data })
}

// stop: what is reserved is not known.
func (u *Unit) stop() { u.set(unitUnsettled, nil) }

// resume: this is.
func (u *Unit) resume(data string) { u.set(unitOpen, func() { u.data = data }) }

// end: the volume is being given up.
func (u *Unit) end() { u.set(unitEnding, nil) }

// closed: it is not open here any more.
func (u *Unit) closed() { u.set(unitElsewhere, nil) }

func (u *Unit) set(p unitPhase, also func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if also != nil {
		also()
	}
	if u.phase = p; p != unitUnsettled && u.settled != nil {
		close(u.settled)
		u.settled = nil
	}
}

// reserved: a change of the reservations ended. Where it is to be settled, stop
// came first.
func (u *Unit) reserved(o model.Outcome) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.answer == nil {
		return
	}
	if o == model.Committed {
		u.data = u.want
	}
	u.answer <- o
	u.answer = nil
}
