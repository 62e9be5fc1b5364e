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
	if r.unread {
		return busy()
	}
	for !t.killed.Load() {
		s := r.state.Load()
		next, ok := s.Reserve6(n)
		switch {
		case !ok:
			return errConflict
		case next == s:
			return nil
		case !r.state.CompareAndSwap(s, next): // a drop came between
			continue
		}
		// A reset or the loss of the nexus, which does not wait here, marks the
		// task before it drops the reservation: one of the two sees the other.
		if t.killed.Load() {
			r.nexusLost(n)
		}
		return nil
	}
	return nil
}

func release6(t *Task) error {
	r, n := t.unit.guard, t.itl.nexus.id
	r.change.Lock()
	defer r.change.Unlock()
	if r.unread {
		return busy()
	}
	if _, ok := r.state.Load().Release6(n); !ok {
		return errConflict
	}
	r.drop(func(s *reserve.State) *reserve.State { return s.NexusLost(n) })
	return nil
}
