package lun

import (
	"errors"
	"sync"

	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/san"
)

// throughRelay makes the units of tests relay to one that serves: then what
// tests of commands prove is proven of commands that another gateway executes.
var throughRelay bool

var owners sync.Map // *Unit → the one that serves in its place

// owner returns the unit that serves u's volume.
func owner(u *Unit) *Unit {
	if o, ok := owners.Load(u); ok {
		return o.(*Unit)
	}
	return u
}

// origin returns the task that t was made of, if it was forwarded.
func origin(t *Task) *Task {
	if o, ok := t.User.(*Task); ok {
		return o
	}
	return t
}

// newUnit is NewUnit, but for throughRelay.
func newUnit(v san.Volume, dev block.Device, st UnitStore, o UnitOptions) (*Unit, error) {
	if !throughRelay {
		return NewUnit(v, dev, st, o)
	}
	o.Epoch = 1
	served, err := NewUnit(v, dev, st, o)
	if err != nil {
		return nil, err
	}
	o.Shared, o.Epoch = true, 0
	u, err := NewUnit(v, &hollow{dev: dev, owner: served}, newStore(), o)
	if err != nil {
		return nil, err
	}
	owners.Store(u, served)
	u.RelayTo(1, newMemRelay(1, served))
	return u, nil
}

// hollow is a device as a gateway has it that does not own the volume. To close
// it closes the unit that does.
type hollow struct {
	dev   block.Device
	owner *Unit
}

var errHollow = errors.New("a gateway touches a volume that it does not own")

func (h *hollow) Info() block.Info        { return h.dev.Info() }
func (h *hollow) Submit(r *block.Request) { r.End(block.Fail(r, block.Failed, errHollow)) }
func (h *hollow) Close() error            { return h.owner.Close() }
func (h *hollow) Status(int64, int64, int) ([]block.Extent, error) {
	return nil, &block.Error{Class: block.Failed, Err: errHollow}
}

// memRelay is a Relay to a unit in the same process.
type memRelay struct {
	owner       *Unit
	epoch       san.Epoch
	there, back *courier // nil: at once

	mu    sync.Mutex // guards the fields below
	far   map[farKey]*farNexus
	calls map[uint64]*farNexus
}

type farKey struct {
	n *Nexus
	l san.LUN
}

// farNexus is the transport of a nexus at the owner.
type farNexus struct {
	*Remote // used where things are done there
	r       *memRelay
	front   *Nexus
}

func newMemRelay(e san.Epoch, owner *Unit) *memRelay {
	return &memRelay{owner: owner, epoch: e, far: map[farKey]*farNexus{}, calls: map[uint64]*farNexus{}}
}

func (r *memRelay) at(n *Nexus, l san.LUN) *farNexus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.far[farKey{n, l}]
}

func (r *memRelay) Join(n *Nexus, l san.LUN, s Standing) {
	f := &farNexus{r: r, front: n}
	r.mu.Lock()
	r.far[farKey{n, l}] = f
	r.mu.Unlock()
	r.there.do(func() {
		// If it is too late, its tasks come back.
		if x, err := r.owner.AttachRemote(r.epoch, n.ID(), l, s, f); err == nil {
			f.Remote = x
		}
	})
}

func (r *memRelay) Part(n *Nexus, l san.LUN, gone func()) {
	f := r.at(n, l)
	r.mu.Lock()
	delete(r.far, farKey{n, l})
	r.mu.Unlock()
	r.there.do(func() {
		if f.Remote != nil {
			f.Detach()
		}
		r.back.do(gone)
	})
}

func (r *memRelay) Forward(t *Task) {
	f := r.at(t.nexus, t.itl.lun)
	cdb, expected, data := t.Outgoing(nil)
	o := &Task{
		LUN: t.LUN, Tag: t.Tag, CDB: cdb, Attr: t.Attr, Read: t.Read, Write: t.Write, Expected: expected,
		Arrival: t.Arrival, Epoch: t.Epoch, Ask: t.Ask, Call: t.Call, User: t,
	}
	fill(&o.Out, data)
	r.mu.Lock()
	r.calls[t.Call] = f
	r.mu.Unlock()
	r.there.do(func() {
		if f.Remote == nil {
			o.Moved = true
			f.TaskDone(o)
			return
		}
		f.Admit(o)
	})
}

func (r *memRelay) Cancel(call uint64) { r.call(call, (*Remote).Cancel) }
func (r *memRelay) Hasten(call uint64) { r.call(call, (*Remote).Hasten) }

func (r *memRelay) call(call uint64, do func(*Remote, uint64)) {
	r.mu.Lock()
	f := r.calls[call]
	r.mu.Unlock()
	r.there.do(func() {
		if f != nil && f.Remote != nil {
			do(f.Remote, call)
		}
	})
}

func (r *memRelay) Manage(n *Nexus, l san.LUN, f TMF, done func(TMFResponse)) {
	far := r.at(n, l)
	if far == nil {
		done(TMFMoved)
		return
	}
	answer := func(a TMFResponse) { r.back.do(func() { done(a) }) }
	r.there.do(func() {
		if far.Remote == nil {
			answer(TMFMoved)
			return
		}
		far.Remote.Manage(f, answer)
	})
}

func (f *farNexus) TaskDone(o *Task) {
	f.r.mu.Lock()
	delete(f.r.calls, o.Call)
	f.r.mu.Unlock()
	t, out := o.User.(*Task), Ended
	switch {
	case o.Moved:
		out = Again
	case o.Void && t.Repeatable():
		out = Again
	case o.Void:
		out = Lost
	case o.Aborted:
		out = Aborted
	default:
		t.Status, t.Want, t.DSense = o.Status, o.Want, o.DSense
		t.SetRawSense(o.Sense)
		t.In, o.In = o.In, bufpool.List{}
	}
	o.Reset()
	f.r.back.do(func() { t.Relayed(out) })
}

func (f *farNexus) Drop(string) {}

func (f *farNexus) Tell(l san.LUN, e Event, acked func()) {
	f.r.back.do(func() {
		f.front.Told(l, e, func() { f.r.there.do(acked) })
	})
}
