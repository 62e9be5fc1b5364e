package lun

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/reserve"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// reservations are those of a unit: the machine of package reserve, the store
// that its record is kept in, and the effects of what it decides.
//
// The data path looks at state alone. A change is stored before it is in force,
// and in force before it is answered (DESIGN R5). When the store can't tell
// whether it took a change, the unit is stopped (condUnread, BUSY for all that
// reservations are asked about) until the record has been read again.
type reservations struct {
	unit  *Unit
	state atomic.Pointer[reserve.State]

	// change makes changes one at a time; it is held while the store writes.
	// Those that only end a RESERVE(6) go without it: see drop.
	change  sync.Mutex
	unread  bool           // guarded by change: state may not be what the store holds
	closing chan struct{}  // closed by close
	reading sync.WaitGroup // goroutines of reread
}

// openReservations loads the reservations of u. It may block.
func openReservations(u *Unit) (*reservations, error) {
	b, err := u.store.Load(StateReservations)
	if err != nil {
		return nil, err
	}
	s, err := reserve.Decode(b)
	if err != nil {
		return nil, err
	}
	r := &reservations{unit: u, closing: make(chan struct{})}
	r.state.Store(s.PowerOn())
	return r, nil
}

// close ends the background work, whose tasks have ended before.
func (r *reservations) close() {
	close(r.closing)
	r.reading.Wait()
}

// conflicts is how each command meets the reservations, as it starts.
func (r *reservations) conflicts(t *Task) bool {
	s := r.state.Load()
	if s.Idle() {
		return false
	}
	n := t.itl.nexus.id
	if _, held := s.Legacy(); held {
		return legacyStops(s, t, n)
	}
	return s.Conflicts(n, accessOf(t))
}

// bars reports whether the reservations do not let t in. While the unit is
// stopped they are not known: see gate.
func (r *reservations) bars(t *Task) bool {
	return r.unit.cond.Load()&condUnread == 0 && r.conflicts(t)
}

// classes translates what the table of commands says. What decides by the CDB
// counts as a write where nobody looked at it.
var classes = [...]reserve.Access{
	accessAny: reserve.AccessNone, accessRead: reserve.AccessRead, accessWrite: reserve.AccessWrite,
	accessSpecial: reserve.AccessWrite,
}

// accessOf returns the class of t under a persistent reservation (SPC-4 table
// 65, SBC-4 table 13).
func accessOf(t *Task) reserve.Access {
	if t.cmd.access != accessSpecial {
		return classes[t.cmd.access]
	}
	switch t.cmd.op {
	case scsi.OpPersistReserveIn, scsi.OpPersistReserveOut, scsi.OpReserve6, scsi.OpRelease6:
		return reserve.AccessNone // they find out by themselves
	case scsi.OpPreventAllow:
		if scsi.ParsePreventAllow(&t.CDB) == 0 {
			return reserve.AccessNone
		}
	case scsi.OpStartStopUnit:
		if c := scsi.ParseStartStop(&t.CDB); c.Start && c.PowerCondition == 0 {
			return reserve.AccessNone
		}
	}
	return reserve.AccessWrite
}

// legacyStops reports whether a RESERVE(6) stops t (SPC-2 table 9): nearly all
// from other nexuses, and persistent reservations from every nexus.
func legacyStops(s *reserve.State, t *Task, n san.NexusID) bool {
	switch t.cmd.op {
	case scsi.OpPersistReserveIn, scsi.OpPersistReserveOut:
		return true
	case scsi.OpReserve6, scsi.OpRelease6:
		return false // they find out by themselves
	}
	if !s.HeldByOther(n) {
		return false
	}
	switch t.cmd.op {
	case scsi.OpTestUnitReady, scsi.OpStartStopUnit:
		return true
	}
	return accessOf(t) != reserve.AccessNone
}

// nexusLost releases what n held by RESERVE(6). Its tasks have ended.
func (r *reservations) nexusLost(n san.NexusID) {
	r.drop(func(s *reserve.State) *reserve.State { return s.NexusLost(n) })
}

// reset releases what is held by RESERVE(6).
func (r *reservations) reset() { r.drop((*reserve.State).Reset) }

// drop ends a RESERVE(6) without waiting for changes under way: while there is
// one, no change of persistent reservations goes past its first look.
func (r *reservations) drop(step func(*reserve.State) *reserve.State) {
	for {
		s := r.state.Load()
		next := step(s)
		if next == s || r.state.CompareAndSwap(s, next) {
			return
		}
	}
}

// busy ends a command that has to wait until the record has been read again.
func busy() error { return &block.Error{Class: block.Busy} }

// request performs a PERSISTENT RESERVE OUT for t.
func (r *reservations) request(t *Task, q *reserve.Request) error {
	r.change.Lock()
	if t.killed.Load() {
		r.change.Unlock()
		return nil
	}
	if r.unread {
		r.change.Unlock()
		return busy()
	}
	s := r.state.Load()
	next, out := s.Step(q)
	if next == s {
		r.change.Unlock()
		return outcome(out)
	}
	if err := r.unit.store.Save(StateReservations, next.Encode()); err != nil {
		r.stop(next, out)
		r.change.Unlock()
		r.unit.o.Logger.Error("reservation not known to be stored: the volume is stopped until its record is read again",
			"volume", r.unit.vol.Name, "nexus", q.Nexus.Initiator, "err", err)
		return scsi.Check(scsi.HardwareError, scsi.ASCInternalTargetFailure)
	}
	r.state.Store(next)
	r.tell(out)
	if len(out.Abort) == 0 {
		r.change.Unlock()
		return nil
	}
	// The answer waits until no task of those that were preempted can touch the
	// medium. They are marked before the next change: so one that preempts and
	// aborts too is either done with that, and waits for older tasks only, or
	// finds that it was aborted. Two never wait for each other.
	f := newFence(func() { t.finish(nil) })
	r.abort(out, f)
	r.change.Unlock()
	f.end()
	return errPending
}

// outcome translates how a request ends that changes nothing.
func outcome(o reserve.Outcome) error {
	switch {
	case o.Check != nil:
		return o.Check
	case o.Status == scsi.ReservationConflict:
		return errConflict
	}
	return nil
}

// tell establishes the unit attentions of a change.
func (r *reservations) tell(o reserve.Outcome) {
	for _, a := range o.Attentions {
		r.unit.attention(a.ASC, func(i *itl) bool { return i.nexus.id == a.Nexus })
	}
}

// abort aborts the tasks that a change says; f waits for those that execute.
func (r *reservations) abort(o reserve.Outcome, f *fence) {
	gone := make(map[san.NexusID]bool, len(o.Abort))
	for _, n := range o.Abort {
		gone[n] = true
	}
	r.unit.abort(func(i *itl) bool { return gone[i.nexus.id] }, everyTask, f)
}

// stop stops the unit after a change to next, with effects o, of which the
// store can't say whether it happened. Call with change locked.
func (r *reservations) stop(next *reserve.State, o reserve.Outcome) {
	r.unread = true
	r.unit.setCondition(condUnread, true)
	r.reading.Add(1)
	go r.reread(next, o)
}

// Waits between attempts to read the record.
const (
	rereadFirst = 20 * time.Millisecond
	rereadMost  = time.Second
)

// reread reads the record until that succeeds, puts what it says in force and
// lets the unit go on. If the change to next did happen, so do its effects.
func (r *reservations) reread(next *reserve.State, o reserve.Outcome) {
	defer r.reading.Done()
	for wait := time.Duration(0); ; wait = min(max(2*wait, rereadFirst), rereadMost) {
		select {
		case <-r.closing:
			return
		case <-time.After(wait):
		}
		b, err := r.unit.store.Load(StateReservations)
		if err != nil {
			continue
		}
		s, err := reserve.Decode(b)
		if err != nil {
			r.unit.o.Logger.Error("reservation record can't be read", "volume", r.unit.vol.Name, "err", err)
			continue
		}
		r.state.Store(s)
		if bytes.Equal(b, next.Encode()) {
			r.tell(o)
			waitFence(func(f *fence) { r.abort(o, f) })
		}
		break
	}
	r.change.Lock()
	defer r.change.Unlock()
	r.unread = false
	r.unit.setCondition(condUnread, false)
}

// portsOf returns the ports of the target that t came through, its own first.
func portsOf(t *Task) []san.TPG {
	n := t.itl.nexus
	ports := []san.TPG{n.id.Target.TPG}
	add := func(p san.TPG) {
		for _, old := range ports {
			if old == p {
				return
			}
		}
		ports = append(ports, p)
	}
	tg := n.target
	tg.mu.Lock()
	defer tg.mu.Unlock()
	for _, g := range tg.groups {
		for _, p := range g.Ports {
			add(p)
		}
	}
	for id := range tg.nexuses {
		add(id.Target.TPG)
	}
	return ports
}

// initiatorsOf returns the initiator ports that see the unit now.
func (u *Unit) initiatorsOf() []san.InitiatorPort {
	var list []san.InitiatorPort
	for _, i := range u.nexuses() {
		list = append(list, i.nexus.id.Initiator)
	}
	return list
}

// typeOf is the TYPE field of a CDB.
func typeOf(c scsi.PersistReserveOut) pr.Type { return pr.Type(c.Type) }
