package lun

import (
	"sango/internal/reserve"
	"sango/internal/san"
	"sango/internal/scsi"
)

// doubt is about a RESERVE(6) that is in force and may be over, or is: the
// record has to say so first. Until that is settled those whom it would stop wait,
// and are answered BUSY after a while. RESERVATION CONFLICT would contradict what was seen of its end;
// to let them in, what the next owner will find in the record.
type doubt struct {
	holder san.NexusID
	login  uint64 // 0: not known, or, where it is lost, whichever
	// lost: it is over. Else the former owner left it, and the holder has not
	// attached: perhaps its end was seen, and the former owner did not come to
	// store it.
	lost bool
}

// doubtful reports whether the RESERVE(6) in force is in doubt.
func (r *reservations) doubtful() bool { return r.doubt.Load() != nil }

// present notes that i is attached. fresh: it logged in since the unit was
// served here, so the one that held something is gone. One of another login
// leaves the doubt to Unit.Sweep: the holder may see the unit at another LUN.
func (r *reservations) present(i *itl, fresh bool) {
	d, n := r.doubt.Load(), i.nexus.id
	switch {
	case d == nil || d.lost || d.holder != n:
	case fresh:
		r.nexusLost(n, nil)
	case sameLogin(d.login, i.login.Load()):
		r.doubt.CompareAndSwap(d, nil)
		r.settled()
	}
}

// sameLogin reports whether a and b may be the same login: one of a gateway of
// an earlier version is known by its nexus alone.
func sameLogin(a, b uint64) bool { return a == b || a == 0 || b == 0 }

// holds reports whether i holds the RESERVE(6) in force, by all that is known.
func (r *reservations) holds(i *itl) bool {
	s := r.state.Load()
	n, held := s.Legacy()
	if d := r.doubt.Load(); d != nil && d.ends(s) {
		return false
	}
	return held && n == i.nexus.id && sameLogin(i.login.Load(), s.Login())
}

// believes notes what the host of a nexus of this gateway believes after t,
// which ends with GOOD: whether it holds a RESERVE(6).
func (t *Task) believes(six bool) error {
	if i := t.itl; i.remote == nil {
		i.six.Store(six)
	}
	return nil
}

// learn is believes for a task that the owner has ended.
func (t *Task) learn() {
	if t.Status != scsi.Good {
		return
	}
	switch t.cmd.op {
	case scsi.OpReserve6, scsi.OpRelease6:
		_ = t.believes(t.cmd.op == scsi.OpReserve6) // is nil
	}
}

// nexusLost releases what n held by RESERVE(6). Its tasks have ended. See drop.
func (r *reservations) nexusLost(n san.NexusID, done func(ok bool)) {
	r.drop(func(holder san.NexusID) bool { return holder == n }, 0, done)
}

// loginLost releases what n held by RESERVE(6) under a login, not what it holds
// under the one that followed. See drop.
func (r *reservations) loginLost(n san.NexusID, login uint64) {
	r.drop(func(holder san.NexusID) bool { return holder == n }, login, nil)
}

// reset releases what is held by RESERVE(6). See drop.
func (r *reservations) reset(done func(ok bool)) {
	r.drop(func(san.NexusID) bool { return true }, 0, done)
}

// drop ends a RESERVE(6) of those for which of holds, unless it is of another
// login than this (0: whichever), without waiting. Where gateways take turns it is
// stored, and in force, when done, unless nil, is called; with false if the unit
// is given up before.
func (r *reservations) drop(of func(holder san.NexusID) bool, login uint64, done func(ok bool)) {
	if done == nil {
		done = func(bool) {}
	}
	if !r.unit.o.Shared { // a restart forgets it anyhow
		for {
			s := r.state.Load()
			if holder, ok := s.Legacy(); !ok || !of(holder) || !sameLogin(login, s.Login()) || r.state.CompareAndSwap(s, s.Reset()) {
				break
			}
		}
		done(true)
		return
	}
	hit := false
	// A command that is about to put one in force looks whether it was aborted
	// after saving is set: one of the two sees the other.
	for _, s := range []*reserve.State{r.saving.Load(), r.state.Load()} {
		if s == nil {
			continue
		}
		if holder, ok := s.Legacy(); ok && of(holder) && sameLogin(login, s.Login()) {
			r.over(&doubt{holder: holder, login: login, lost: true})
			hit = true
		}
	}
	if !hit {
		done(true)
	} else if !r.background(func(closing <-chan struct{}) { done(r.settle(closing)) }) {
		done(false)
	}
}

// over notes that a RESERVE(6) is over. What says so of more stays.
func (r *reservations) over(d *doubt) {
	for {
		old := r.doubt.Load()
		if old != nil && old.lost && old.holder == d.holder && old.login == 0 || r.doubt.CompareAndSwap(old, d) {
			return
		}
	}
}

// ends reports whether d says that what is held by s is over.
func (d *doubt) ends(s *reserve.State) bool {
	n, held := s.Legacy()
	return d.lost && held && n == d.holder && sameLogin(d.login, s.Login())
}

// settle stores that a RESERVE(6) is over, and reports false when the unit is
// given up instead.
func (r *reservations) settle(closing <-chan struct{}) bool {
	for {
		r.change.Lock()
		unread := r.unread
		if unread == nil {
			ok, again := r.settleNow()
			r.change.Unlock()
			if !again {
				return ok
			}
			continue
		}
		r.change.Unlock()
		select {
		case <-closing:
			return false
		case <-unread:
		}
	}
}

// settleNow is settle with change locked, when the record is known.
func (r *reservations) settleNow() (ok, again bool) {
	d, s := r.doubt.Load(), r.state.Load()
	if d == nil || !d.lost {
		return true, false
	}
	if d.ends(s) {
		next := s.NexusLost(d.holder)
		switch err := r.save(next); {
		case err == nil:
			r.state.Store(next)
		case r.unit.moved(err):
			return false, false
		default:
			r.stop(next, reserve.Outcome{})
			return false, true
		}
	}
	r.doubt.CompareAndSwap(d, nil)
	r.settled()
	return true, false
}

// unknownSix reports whether it is not known, while the unit is stopped, what is
// held by RESERVE(6).
func (r *reservations) unknownSix() bool {
	for _, s := range []*reserve.State{r.saving.Load(), r.state.Load()} {
		if s == nil {
			continue
		}
		if _, six := s.Legacy(); six {
			return true
		}
	}
	return false
}
