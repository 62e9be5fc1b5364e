package lun

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/defect"
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
// whether it took a change, the unit is stopped (condUnread) until the record has
// been read again: all that reservations are asked about waits a while, and is
// answered BUSY then.
type reservations struct {
	unit  *Unit
	state atomic.Pointer[reserve.State]
	// saving is what a RESERVE(6) or RELEASE(6) is about to make of state, and
	// what is stored perhaps while the unit is stopped; nil: nothing.
	saving atomic.Pointer[reserve.State]
	doubt  atomic.Pointer[doubt]

	// change makes changes one at a time; it is held while the store writes.
	// Those that only end a RESERVE(6) go without it where nobody else serves the
	// unit: see drop.
	change sync.Mutex
	unread chan struct{} // guarded by change: closed when state is what the store holds; nil: it is

	waiters waiters

	mu      sync.Mutex     // guards closing, and that reading grows
	closing chan struct{}  // closed by close; nil: not open
	reading sync.WaitGroup // goroutines that read or write the store
}

func newReservations(u *Unit) *reservations {
	r := &reservations{unit: u, waiters: waiters{most: settleTime}}
	r.state.Store(&reserve.State{})
	return r
}

// open loads the reservations. It may block.
func (r *reservations) open() error {
	u := r.unit
	b, err := u.store.Load(StateReservations)
	if err != nil {
		return err
	}
	s, err := reserve.Decode(b)
	if err != nil {
		return err
	}
	if !u.o.Shared {
		s = s.PowerOn()
	}
	r.mu.Lock()
	r.closing = make(chan struct{})
	r.mu.Unlock()
	r.change.Lock()
	defer r.change.Unlock()
	r.unread = nil
	u.setCondition(condUnread, false)
	r.saving.Store(nil)
	r.doubt.Store(nil)
	if holder, ok := s.Legacy(); ok {
		r.doubt.Store(&doubt{holder: holder, login: s.Login()})
	}
	r.state.Store(s)
	r.waiters.mu.Lock()
	r.waiters.shut = false
	r.waiters.mu.Unlock()
	return nil
}

// close ends the background work, whose tasks have ended before, and forgets
// the reservations. Close again does nothing.
func (r *reservations) close() {
	r.mu.Lock()
	if r.closing != nil {
		close(r.closing)
		r.closing = nil
	}
	r.mu.Unlock()
	r.reading.Wait()
	r.unit.setCondition(condUnread, false) // nobody reads it here any more
	r.state.Store(&reserve.State{})
	r.saving.Store(nil)
	r.doubt.Store(nil)
}

// background runs f, which ends when its argument is closed, unless that is so.
func (r *reservations) background(f func(closing <-chan struct{})) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	closing := r.closing
	if closing != nil {
		r.reading.Go(func() { f(closing) })
	}
	return closing != nil
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

// bars returns why the reservations do not let t in, nil if they do, or while
// the unit is stopped: see gate.
func (r *reservations) bars(t *Task) error {
	if r.unit.cond.Load()&condUnread != 0 {
		return nil
	}
	return r.stops(t)
}

// stops returns why the reservations in force do not let t in, nil if they do.
func (r *reservations) stops(t *Task) error {
	switch {
	case !r.conflicts(t):
		return nil
	case r.doubtful():
		return errUnsettled
	}
	return errConflict
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

func (r *reservations) save(s *reserve.State) error {
	if defect.R5 {
		go func() { _ = r.unit.store.Save(StateReservations, s.Encode()) }() // perhaps
		return nil
	}
	return r.unit.store.Save(StateReservations, s.Encode())
}

// request performs a PERSISTENT RESERVE OUT for t.
func (r *reservations) request(t *Task, q *reserve.Request) error {
	r.change.Lock()
	if t.killed.Load() {
		r.change.Unlock()
		return nil
	}
	if r.unread != nil {
		r.change.Unlock()
		return errUnsettled
	}
	s := r.state.Load()
	next, out := s.Step(q)
	if next == s {
		r.change.Unlock()
		if _, six := s.Legacy(); six && r.doubtful() {
			return errUnsettled
		}
		return outcome(out)
	}
	if err := r.save(next); err != nil {
		return r.unsaved(t, next, out, err)
	}
	r.state.Store(next)
	// The answer waits until every nexus that this concerns is told, and no task
	// of those that were preempted can touch the medium. They are marked before
	// the next change: so one that preempts and
	// aborts too is either done with that, and waits for older tasks only, or
	// finds that it was aborted. Two never wait for each other.
	f := newFence(func() { t.finish(nil) })
	r.tell(out, f)
	r.abort(out, f)
	r.change.Unlock()
	f.end()
	return errPending
}

// unsaved ends t, whose change to next the store has not confirmed. It gives
// change up.
func (r *reservations) unsaved(t *Task, next *reserve.State, o reserve.Outcome, err error) error {
	if r.unit.moved(err) {
		r.change.Unlock()
		return t.back()
	}
	r.stop(next, o)
	r.change.Unlock()
	r.unit.o.Logger.Error("reservation not known to be stored: the volume is stopped until its record is read again",
		"volume", r.unit.vol.Name, "nexus", t.itl.nexus.id.Initiator, "err", err)
	return scsi.Check(scsi.HardwareError, scsi.ASCInternalTargetFailure)
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

// tell establishes the unit attentions of a change; f waits for those on other
// gateways.
func (r *reservations) tell(o reserve.Outcome, f *fence) {
	for _, a := range o.Attentions {
		r.unit.attention(a.ASC, func(i *itl) bool { return i.nexus.id == a.Nexus }, f)
	}
}

// abort aborts the tasks that a change says; f waits for those that execute,
// and for other gateways to abort what has not come here.
func (r *reservations) abort(o reserve.Outcome, f *fence) {
	if len(o.Abort) == 0 {
		return
	}
	gone := make(map[san.NexusID]bool, len(o.Abort))
	for _, n := range o.Abort {
		gone[n] = true
	}
	of := func(i *itl) bool { return gone[i.nexus.id] }
	tas := r.unit.modes.taskAborted()
	r.unit.abort(of, everyTask, func(*itl) bool { return tas }, f)
	r.unit.tell(func(*itl) Event { return Event{Abort: true, TAS: tas} }, of, f)
}

// stop stops the unit after a change to next, with effects o, of which the
// store can't say whether it happened. Call with change locked.
func (r *reservations) stop(next *reserve.State, o reserve.Outcome) {
	r.unread = make(chan struct{})
	r.saving.Store(next)
	r.unit.setCondition(condUnread, true)
	r.background(func(closing <-chan struct{}) { r.reread(closing, next, o) })
}

// Waits between attempts to read the record.
const (
	rereadFirst = 20 * time.Millisecond
	rereadMost  = time.Second
)

// reread reads the record until that succeeds, puts what it says in force and
// lets the unit go on. If the change to next did happen, so do its effects.
func (r *reservations) reread(closing <-chan struct{}, next *reserve.State, o reserve.Outcome) {
	for wait := time.Duration(0); ; wait = min(max(2*wait, rereadFirst), rereadMost) {
		select {
		case <-closing:
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
			waitFence(func(f *fence) {
				r.tell(o, f)
				r.abort(o, f)
			})
		}
		break
	}
	r.change.Lock()
	r.saving.Store(nil)
	close(r.unread)
	r.unread = nil
	r.unit.setCondition(condUnread, false)
	r.change.Unlock()
	r.settled()
}

// portsOf returns the ports of the target that t came through, its own first:
// those of all gateways.
func portsOf(t *Task) []san.TPG {
	u, own := t.unit, t.itl.nexus.id.Target
	ports := []san.TPG{own.TPG}
	add := func(p san.TPG) {
		if !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, g := range u.groups {
		for _, p := range g.Ports {
			add(p)
		}
	}
	for _, i := range u.peers {
		if port := i.nexus.id.Target; port.Name == own.Name {
			add(port.TPG)
		}
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
