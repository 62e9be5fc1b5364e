package lun

import (
	"sango/internal/reserve"
	"sango/internal/scsi"
)

// reserveCommands returns RESERVE(6) and RELEASE(6) (SPC-2 §7.22, §7.17).
// Third parties and extents, which SPC-2 makes optional, are refused.
func reserveCommands() []command {
	return []command{
		{
			op: scsi.OpReserve6, name: "RESERVE(6)", usage: "\x16\x00\x00\x00\x00\x00",
			nominal: quick, recommended: medium, flags: notReady | standby, access: accessSpecial,
			run: reserve6,
		},
		{
			op: scsi.OpRelease6, name: "RELEASE(6)", usage: "\x17\x00\x00\x00\x00\x00",
			nominal: quick, recommended: medium, flags: notReady | standby, access: accessSpecial,
			run: release6,
		},
	}
}

func reserve6(t *Task) error {
	r, n := t.unit.guard, t.itl.nexus.id
	r.change.Lock()
	defer r.change.Unlock()
	login := t.itl.login.Load()
	for {
		s := r.state.Load()
		next, ok := s.Reserve6(n, login)
		d := r.doubt.Load()
		switch {
		case r.unread != nil || d != nil && (d.lost || !ok || next != s):
			return errUnsettled
		case !ok:
			return errConflict
		case next == s:
			return t.believes(true)
		}
		// A reset or the loss of the nexus, which does not wait here, marks the
		// task before it looks at saving.
		r.saving.Store(next)
		if t.killed.Load() {
			r.saving.Store(nil)
			return nil
		}
		if kept, err := r.keepSix(t, next); !kept {
			return err
		}
		set := r.state.CompareAndSwap(s, next)
		r.saving.Store(nil)
		if !set { // a drop came between
			continue
		}
		if !r.unit.o.Shared && t.killed.Load() {
			r.nexusLost(n, nil)
		}
		return t.believes(true)
	}
}

// keepSix stores what is to be in force after t, where the next owner is to
// know it: nobody may see it before. Where it is not kept err is how t ends here;
// nil: it goes to the next owner. Call with change locked.
func (r *reservations) keepSix(t *Task, next *reserve.State) (kept bool, err error) {
	if !r.unit.o.Shared {
		return true, nil
	}
	switch err := r.save(next); {
	case err == nil:
		return true, nil
	case r.unit.moved(err):
		r.saving.Store(nil)
		return false, t.back()
	}
	r.stop(next, reserve.Outcome{})
	return false, scsi.Check(scsi.HardwareError, scsi.ASCInternalTargetFailure)
}

func release6(t *Task) error {
	r, n := t.unit.guard, t.itl.nexus.id
	r.change.Lock()
	defer r.change.Unlock()
	if r.unread != nil {
		return errUnsettled
	}
	s := r.state.Load()
	next, ok := s.Release6(n)
	switch {
	case !ok:
		return errConflict
	case next == s:
		return t.believes(false)
	}
	if kept, err := r.keepSix(t, next); !kept {
		return err
	}
	r.state.CompareAndSwap(s, next) // else a drop came between, to the same effect
	return t.believes(false)
}
