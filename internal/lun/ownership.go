package lun

import (
	"errors"
	"fmt"
	"slices"

	"sango/internal/defect"
	"sango/internal/san"
	"sango/internal/scsi"
)

// ErrMoved is returned by UnitStore.Save of a shared unit, as an alternative to
// san.ErrRefused, when the value was certainly not saved and won't be, because
// the volume moves away; and by AttachRemote.
var ErrMoved = errors.New("lun: the volume has another owner")

// moved reports whether err, of UnitStore.Save, says so.
func (u *Unit) moved(err error) bool {
	return u.o.Shared && (errors.Is(err, ErrMoved) || errors.Is(err, san.ErrRefused))
}

// errRight ends a task whose gateway lost its right to serve (DESIGN R3).
var errRight = errors.New("lun: no right to serve")

// mayServe reports whether the gateway has its right. It is asked right before
// what changes the medium, and before an answer that tells something of it.
func (u *Unit) mayServe() bool { return defect.R3 || u.o.Right == nil || u.o.Right() }

// vouch takes its outcome away from t where there is no right to it.
func (t *Task) vouch() {
	if !t.Aborted && t.tells() && !t.unit.mayServe() {
		t.void()
	}
}

// tells reports whether the outcome of t says something about the volume, which
// only who serves it knows: about its data, its reservations, what is allowed, or
// what others abort. That it is busy or not ready, or that something failed, is as
// true of a gateway that is cut off.
func (t *Task) tells() bool {
	switch t.Status {
	case scsi.Good, scsi.ConditionMet, scsi.ReservationConflict, scsi.TaskAborted:
		return true
	case scsi.CheckConditionStatus:
		s, err := scsi.ParseSense(t.Sense)
		return err == nil && (s.Key == scsi.Miscompare || s.Key == scsi.DataProtect)
	}
	return false
}

// void makes t end without an answer.
func (t *Task) void() {
	t.In.Release()
	t.Sense = nil
	t.Status, t.Aborted, t.Void = scsi.TaskAborted, true, true
}

// Serve makes the unit serve its volume from now on, under epoch e: what is
// kept in the store is loaded, background work goes on, the door is opened.
// What waits at it is executed in order. It may block. When it fails, nothing
// has changed for those who wait.
//
// Whoever served the volume before, here or elsewhere, can't touch it any
// more: Release returned, where it was this unit.
func (u *Unit) Serve(e san.Epoch) error {
	u.owning.Lock()
	defer u.owning.Unlock()
	if err := u.modes.load(u); err != nil {
		return fmt.Errorf("volume %s: saved mode pages: %w", u.vol.Name, err)
	}
	if err := u.guard.open(); err != nil {
		return fmt.Errorf("volume %s: reservations: %w", u.vol.Name, err)
	}
	u.setCondition(condMoving, false)
	u.lost.forget()
	u.begin(e)
	for _, i := range u.nexuses() {
		u.guard.present(i, i.remote != nil && i.remote.fresh)
	}
	if err := u.takeOver(); err != nil {
		u.guard.close()
		return fmt.Errorf("volume %s: what its former owner left: %w", u.vol.Name, err)
	}
	for _, i := range u.nexuses() {
		u.reassure(i)
	}
	if err := u.sanitizer.resume(e); err != nil {
		u.guard.close()
		return fmt.Errorf("volume %s: sanitize operation: %w", u.vol.Name, err)
	}
	u.turn(doorOpen, e, nil)
	return nil
}

// begin ends the nexuses of other gateways from before ownership e.
func (u *Unit) begin(e san.Epoch) {
	u.mu.Lock()
	var old []*itl
	kept := u.peers[:0]
	for _, i := range u.peers {
		if i.remote != nil && i.remote.epoch < e {
			old = append(old, i)
		} else {
			kept = append(kept, i)
		}
	}
	clear(u.peers[len(kept):])
	u.peers = kept
	u.epoch, u.missed = e, missed{}
	u.mu.Unlock()
	for _, i := range old {
		i.mu.Lock()
		i.dead = true // their fronts come again
		i.mu.Unlock()
	}
}

// turn turns the door and sees to those who wait at it. A nexus is joined to a
// relay in the same moment in which its tasks can come there.
func (u *Unit) turn(d doorState, e san.Epoch, r Relay) {
	s := &u.set
	u.mu.Lock()
	u.relay = r
	for _, i := range u.peers {
		if r != nil && i.remote == nil {
			i.relay = r
			r.Join(i.nexus, i.lun, i.standing(false))
		}
	}
	s.mu.Lock()
	s.epoch = e
	s.turnTo(d, r)
	s.mu.Unlock()
	u.mu.Unlock()
	if d != doorOpen {
		u.guard.leave()
	}
	u.usher()
	u.manageAgain()
}

// Hold lets no task start any more: those that come wait at the door, and so
// do those that wait for others. Background work stops, for the next owner to
// go on with. drained is called once, from any goroutine, when nothing of the
// unit executes any more: until Serve it does not touch the medium then.
func (u *Unit) Hold(drained func()) {
	u.owning.Lock()
	e, _ := u.known()
	u.turn(doorHeld, e, nil)
	u.owning.Unlock()
	f := newFence(drained)
	f.add()
	go func() {
		u.sanitizer.halt(moving())
		f.end()
	}()
	u.set.drain(f.end)
}

// Refuse answers what waits at the door, and what comes, with NOT READY,
// ASYMMETRIC ACCESS STATE TRANSITION.
func (u *Unit) Refuse() {
	u.owning.Lock()
	defer u.owning.Unlock()
	e, _ := u.known()
	u.turn(doorRefused, e, nil)
}

// Cancel ends what executes as far as it can be ended: commands that have not
// begun to, and those that take long, end with NOT READY, ASYMMETRIC ACCESS
// STATE TRANSITION. What is in the device goes on to its end.
func (u *Unit) Cancel() { u.setCondition(condMoving, true) }

// Release ends the serving of the volume: it returns when nothing of the unit
// can touch the medium any more. The device stays the caller's, who flushes it
// before and closes it after. What its commands have left besides what is in the
// store goes there for the next owner, if Hold came before. What waits
// since Hold goes on waiting, for Serve or RelayTo, or until Refuse; without
// Hold before, it is refused.
func (u *Unit) Release() {
	u.owning.Lock()
	defer u.owning.Unlock()
	e, held := u.known()
	if !held {
		u.turn(doorRefused, e, nil)
	}
	u.sanitizer.halt(moving())
	waitFence(func(f *fence) {
		f.add()
		u.set.drain(f.end)
	})
	if held { // else the gateway is cut off, and nobody waits for what it has to say
		u.handOver()
	}
	u.guard.close()
	u.cond.And(condReadOnly)
	u.allowRemoval()
	u.begin(e + 1)
}

// moving is how commands end while a volume changes its owner.
func moving() *scsi.CheckCondition { return scsi.Check(scsi.NotReady, scsi.ASCAccessTransition) }

// RelayTo makes the unit forward its tasks through r, to the owner of epoch e.
func (u *Unit) RelayTo(e san.Epoch, r Relay) {
	u.owning.Lock()
	defer u.owning.Unlock()
	u.begin(e)
	u.turn(doorAway, e, r)
}

// known returns the latest ownership that the unit knows, and whether tasks
// wait for the next.
func (u *Unit) known() (e san.Epoch, held bool) {
	s := &u.set
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch, s.door.state == doorHeld
}

// back puts t, which executes and has had no effect, at the door again, since
// the volume has another owner.
func (t *Task) back() error {
	i, u := t.itl, t.unit
	if i.remote != nil {
		t.Moved = true
		return nil
	}
	i.mu.Lock()
	if t.killed.Load() || i.retired.Load() {
		i.mu.Unlock()
		return moving()
	}
	next, quiet := u.set.back(t)
	i.mu.Unlock()
	for _, f := range quiet {
		f()
	}
	u.workers.push(next)
	u.usher()
	return errPending
}

// Sweep is nexus loss for those nexuses through ports for which of holds that
// the unit remembers and that are not attached: after a gateway has died, or
// when it has attached all nexuses that it has.
func (u *Unit) Sweep(of func(san.TPG) bool) {
	u.mu.Lock()
	u.preventing = slices.DeleteFunc(u.preventing, func(n san.NexusID) bool { return of(n.Target.TPG) })
	u.mu.Unlock()
	s := u.guard.state.Load()
	holder, ok := s.Legacy()
	if !ok || !of(holder.Target.TPG) {
		return
	}
	for _, i := range u.nexuses() {
		if i.nexus.id == holder && sameLogin(i.login.Load(), s.Login()) {
			u.guard.present(i, false)
			return
		}
	}
	u.guard.loginLost(holder, s.Login())
}
