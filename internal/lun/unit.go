package lun

import (
	"slices"
	"sync"
	"sync/atomic"

	"sango/internal/block"
	"sango/internal/san"
	"sango/internal/scsi"
)

// Unit is a logical unit: a volume and how it behaves as a SCSI device. It may
// be mapped by several targets. Its methods may be called from any goroutine.
type Unit struct {
	vol   san.Volume
	dev   block.Device
	store UnitStore
	o     UnitOptions

	table   *table
	vpds    []vpdPage
	guard   *reservations
	modes   modes
	set     taskSet
	workers *workers
	tasks   atomic.Int64 // admitted and not ended

	sanitizer sanitizer
	lost      lost
	copying   atomic.Int32 // EXTENDED COPY commands in execution

	cond     atomic.Uint32 // condition bits
	progress atomic.Uint32 // of a sanitize operation, n/65536

	owning sync.Mutex // one change of the ownership at a time

	mu      sync.Mutex // guards the fields below; no other lock but an attentions' and that of set is taken under it
	peers   []*itl     // every I_T_L nexus of the unit
	groups  []PortGroup
	relay   Relay     // that is told of new nexuses
	epoch   san.Epoch // the lowest ownership under which other gateways' nexuses may come
	missed  missed    // by nexuses of other gateways that are still to come
	errands []errandTMF
	// preventing are nexuses that prevented the removal of the medium before the
	// volume moved here, and have not come from their gateway.
	preventing []san.NexusID
	closed     bool
}

// NewUnit returns a unit that serves dev as v and keeps its state in st. The
// unit owns dev from then on, Close closes it; if NewUnit fails, dev stays the
// caller's. It fails when st does, or holds what can't be read.
//
// The unit serves at once, but for UnitOptions.Shared: then tasks wait until
// Serve or RelayTo is called.
func NewUnit(v san.Volume, dev block.Device, st UnitStore, o UnitOptions) (*Unit, error) {
	u := &Unit{vol: v, dev: dev, store: st, o: o.withDefaults()}
	u.workers = newWorkers(u.o.Workers)
	if u.readOnly() {
		u.setCondition(condReadOnly, true)
	}
	u.modes.define(u)
	u.table = newTable(u)
	u.vpds = vpdPages(u)
	u.guard = newReservations(u)
	u.sanitizer.u = u
	if o.Shared {
		u.set.turnTo(doorHeld, nil)
		return u, nil
	}
	if err := u.Serve(o.Epoch); err != nil {
		return nil, err
	}
	return u, nil
}

// Volume returns the record that the unit was made from. Its size is that of
// the time of making.
func (u *Unit) Volume() san.Volume { return u.vol }

// Resized tells the unit that its device has another size now: every nexus of
// this gateway gets unit attention 2A/09. The others see it by themselves.
func (u *Unit) Resized() { u.notice(scsi.ASCCapacityChanged, everyPeer) }

// Renamed tells the unit that what INQUIRY tells of it is not what it was:
// every nexus of this gateway gets unit attention 3F/03.
func (u *Unit) Renamed() { u.notice(scsi.ASCInquiryDataChanged, everyPeer) }

// Close ends the unit: its tasks are aborted, background work stops, the device
// is closed. Map entries of the unit are gone before, so that nothing is
// admitted any more.
func (u *Unit) Close() error {
	waitFence(func(f *fence) { u.abort(everyPeer, everyTask, noPeer, f) })
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.manageAgain()
	u.guard.close()
	u.sanitizer.halt(scsi.Check(scsi.NotReady, scsi.ASCNotReady))
	u.workers.close()
	return u.dev.Close()
}

func (u *Unit) readOnly() bool { return u.vol.ReadOnly || u.dev.Info().Caps.ReadOnly }

// join adds an I_T_L nexus of this gateway.
func (u *Unit) join(i *itl) {
	u.mu.Lock()
	u.peers = append(u.peers, i)
	i.follow(u.groups)
	if u.relay != nil {
		i.relay = u.relay
		u.relay.Join(i.nexus, i.lun, i.standing(true))
	}
	u.mu.Unlock()
	u.guard.present(i, true)
}

// part takes an I_T_L nexus away, and reports whether it was there. f, unless
// nil, waits until it is gone at the owner, too.
func (u *Unit) part(i *itl, f *fence) bool {
	u.mu.Lock()
	at := slices.Index(u.peers, i)
	if at < 0 {
		u.mu.Unlock()
		return false
	}
	u.peers = slices.Delete(u.peers, at, at+1)
	if i.relay != nil {
		gone := func() {}
		if f != nil {
			f.add()
			gone = f.end
		}
		i.relay.Part(i.nexus, i.lun, gone)
	}
	var drop []errandTMF
	u.errands = slices.DeleteFunc(u.errands, func(e errandTMF) bool {
		if e.i == i {
			drop = append(drop, e)
		}
		return e.i == i
	})
	u.mu.Unlock()
	for _, e := range drop {
		e.done(TMFRejected)
	}
	return true
}

// nexusLost ends what ends with the I_T_L nexus i. See reservations.drop.
func (u *Unit) nexusLost(i *itl, done func(ok bool)) {
	i.prevents.Store(false)
	u.guard.nexusLost(i.nexus.id, done)
}

func everyPeer(*itl) bool { return true }
func noPeer(*itl) bool    { return false }

// others returns the I_T_L nexuses but i, or none: those whose tasks end with
// TASK ABORTED when i aborts them.
func (i *itl) others(tas bool) func(*itl) bool {
	return func(o *itl) bool { return tas && o != i }
}

// notice raises a unit attention for those nexuses of this gateway for which to
// holds: each gateway tells its own. to must not block.
func (u *Unit) notice(c scsi.ASC, to func(*itl) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, i := range u.peers {
		if i.remote == nil && to(i) {
			i.attn.raise(c)
		}
	}
}

// attention raises a unit attention, for what a command has done, for the I_T_L
// nexuses for which to holds, on whatever gateway. f, unless nil, waits until
// all of them have it. to must not block; it is asked later about nexuses that
// come from other gateways.
func (u *Unit) attention(c scsi.ASC, to func(*itl) bool, f *fence) {
	u.tell(func(*itl) Event { return Event{Attention: c} }, to, f)
}

// tell tells events to the I_T_L nexuses for which to holds.
func (u *Unit) tell(e func(*itl) Event, to func(*itl) bool, f *fence) {
	var remote []*itl
	u.mu.Lock()
	for _, i := range u.peers {
		switch {
		case !to(i):
		case i.remote != nil:
			remote = append(remote, i)
		default:
			if c := e(i).Attention; c != 0 {
				i.raise(c)
			}
		}
	}
	if u.o.Shared {
		u.missed.note(e, to)
	}
	u.mu.Unlock()
	for _, i := range remote {
		acked := func() {}
		if f != nil {
			f.add()
			acked = f.end
		}
		e := e(i)
		e.DSense = u.modes.descriptorSense()
		i.remote.tr.Tell(i.lun, e, acked)
	}
}

// others returns the I_T_L nexuses but that of t, for attention.
func others(t *Task) func(*itl) bool {
	own := t.itl
	return func(i *itl) bool { return i != own }
}

// allowRemoval ends what prevents the removal of the medium.
func (u *Unit) allowRemoval() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.preventing = nil
	for _, i := range u.peers {
		i.prevents.Store(false)
	}
}

// nexuses returns the I_T_L nexuses of the unit as they are now.
func (u *Unit) nexuses() []*itl {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.peers)
}

// abort aborts the tasks for which match holds, of those I_T_L nexuses for
// which of holds; f waits for those that execute. Those of nexuses for which tas
// holds end with TASK ABORTED, others are not answered. It returns the I_T_L
// nexuses that lost a task. A handler that aborts tasks must not wait for f: it returns
// errPending and calls Task.finish when f is done, for the tasks that it waits
// for may need its worker.
func (u *Unit) abort(of func(*itl) bool, match func(*Task) bool, tas func(*itl) bool, f *fence) (hit []*itl) {
	for _, i := range u.nexuses() {
		if of(i) && i.abort(match, tas(i), f) > 0 {
			hit = append(hit, i)
		}
	}
	return hit
}

// reset is a logical unit reset (SAM-5 §6.3.3) that by asked for: all tasks are
// aborted, f waits for those that execute; what is not saved is lost. Every
// nexus gets the unit attention that is in e. See reservations.drop for done.
func (u *Unit) reset(e Event, by *itl, f *fence, done func(ok bool)) {
	tas := u.modes.taskAborted() && !e.Drop
	u.abort(everyPeer, everyTask, by.others(tas), f)
	u.guard.reset(done)
	u.modes.revert()
	u.allowRemoval()
	u.tell(func(i *itl) Event {
		e := e
		if i == by { // its front does that by itself
			return Event{Attention: e.Attention}
		}
		e.Abort, e.TAS = true, tas
		return e
	}, everyPeer, f)
}
