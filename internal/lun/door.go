package lun

// doorState is where tasks of a unit go that are handed to it.
type doorState uint8

const (
	doorOpen    doorState = iota // into the taskSet: the unit is served here
	doorHeld                     // nowhere: they wait
	doorRefused                  // back: NOT READY, ASYMMETRIC ACCESS STATE TRANSITION
	doorAway                     // to the owner, through a Relay
)

// doorway is the part of a taskSet before its first task starts: who comes in
// depends on who serves the volume. A task keeps its place among those of its
// nexus whatever happens: it waits in line until those before it have gone the
// same way, or have come back.
//
// The line is worked off by one goroutine at a time (Unit.usher), without the
// lock of the set: so what is forwarded is so in order.
type doorway struct {
	state doorState
	relay Relay  // where doorAway
	turn  uint64 // raised each time the state is set

	line     taskList // in order of Task.seq
	away     taskList // with the owner
	calls    uint64   // Task.Call that was given last
	ushering bool
	sending  *Task // being handed to the relay
	recalled bool  // sending was cancelled meanwhile

	drains []func() // who waits for nothing of the unit to execute
}

// queue is an I_T_L nexus at the door. It is guarded by the lock of the
// taskSet.
type queue struct {
	lined  int    // its tasks in line
	stale  int    // its tasks that went before the door turned last, and have not come back
	parked uint64 // the turn of the door in which one came back unexecuted, plus 1
}

// arrive is enter while the door is shut. Call with the lock.
func (s *taskSet) arrive(t *Task) bool {
	c, i := t.cmd, t.itl
	here := c.staysHere()
	if c.flags&firstAtFront != 0 {
		here = s.door.state == doorHeld || s.door.state == doorRefused || i.tells()
	}
	switch {
	case here:
		t.place = placeFront
		return true
	case s.door.state == doorOpen && i.queue.lined == 0 && s.passes(i):
		return s.admit(t)
	}
	s.seq++
	t.seq = s.seq
	s.lineUp(t)
	return false
}

// enterRemote is enter for a task that another gateway forwarded. moved: it is
// to go elsewhere. Tasks of a later ownership than is known here wait for it.
func (s *taskSet) enterRemote(t *Task) (start, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case t.Epoch < s.epoch, t.Epoch == s.epoch && s.door.state != doorOpen:
		return false, true
	case t.Epoch == s.epoch && t.itl.queue.lined == 0:
		return s.admit(t), false
	}
	s.seq++
	t.seq = s.seq
	s.lineUp(t)
	return false, false
}

// passes reports whether tasks of i at the head of the line may go on.
func (s *taskSet) passes(i *itl) bool {
	return i.queue.stale == 0 && i.queue.parked != s.door.turn+1
}

// lineUp puts t in line, behind those that came before it.
func (s *taskSet) lineUp(t *Task) {
	t.place = placeDoor
	t.itl.queue.lined++
	s.shut = true
	l := &s.door.line
	before := l.last
	for before != nil && before.seq > t.seq {
		before = before.uprev
	}
	l.insert(before, t)
}

// takeLine takes t off the line.
func (s *taskSet) takeLine(t *Task) {
	s.door.line.remove(t)
	t.place = placeNone
	t.itl.queue.lined--
	s.reopen()
}

// reopen lets everybody straight in again where nobody waits any more.
func (s *taskSet) reopen() {
	s.shut = s.door.state != doorOpen || s.door.line.first != nil
}

// turnTo turns the door. Call with the lock.
func (s *taskSet) turnTo(d doorState, r Relay) {
	w := &s.door
	if w.state == doorOpen && d != doorOpen {
		// Who has not started waits with those who come.
		for t := s.dormant.first; t != nil; t = s.dormant.first {
			s.dormant.remove(t)
			s.account(t, -1)
			s.lineUp(t)
		}
	}
	for t := w.away.first; t != nil; t = t.unext {
		if t.turn == w.turn {
			t.itl.queue.stale++
		}
	}
	w.state, w.relay = d, r
	w.turn++
	s.reopen()
}

// errand is what is to be done with a task that was taken off the line.
type errand uint8

const (
	errandStart errand = iota // it has started
	errandNone                // it is in the taskSet
	errandSend                // it goes to the owner
	errandRefuse
	errandFront // it is executed here, wherever the unit is served
	errandMoved // it came from another gateway, and goes back there
)

// next takes a task off the line, nil if nobody there can go on.
func (s *taskSet) next() (*Task, errand) {
	w := &s.door
	for t := w.line.first; t != nil; t = t.unext {
		i := t.itl
		if i.remote != nil {
			switch {
			case t.Epoch > s.epoch:
			case t.Epoch == s.epoch && w.state == doorOpen:
				return s.letIn(t)
			default:
				s.takeLine(t)
				return t, errandMoved
			}
			continue
		}
		if w.state != doorOpen && t.cmd.staysHere() { // it waited for others when the door was shut
			s.takeLine(t)
			t.place = placeFront
			return t, errandFront
		}
		switch w.state {
		case doorHeld:
			continue
		case doorRefused:
			s.takeLine(t)
			return t, errandRefuse
		}
		if !s.passes(i) {
			continue
		}
		if w.state == doorOpen {
			return s.letIn(t)
		}
		s.takeLine(t)
		t.ruleStreamed()
		w.calls++
		t.place, t.turn, t.relay, t.Call = placeAway, w.turn, w.relay, w.calls
		t.Epoch, t.Ask = s.epoch, t.cmd.ask
		w.away.push(t)
		w.sending, w.recalled = t, false
		return t, errandSend
	}
	return nil, errandNone
}

func (s *taskSet) letIn(t *Task) (*Task, errand) {
	s.takeLine(t)
	if s.admit(t) {
		return t, errandStart
	}
	return t, errandNone
}

// recall says where t is, which went to the owner. If the relay doesn't have it
// yet, errand tells it then. Call with the lock.
func (s *taskSet) recall(t *Task) recall {
	if s.door.sending == t {
		s.door.recalled = true
		return recall{}
	}
	return recall{t.relay, t.Call}
}

// recall is a task with the owner.
type recall struct {
	relay Relay
	call  uint64
}

// sent ends what next began for a task to be forwarded, and returns how to
// cancel it if that was wanted meanwhile.
func (s *taskSet) sent() (recalled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.door
	w.sending = nil
	return w.recalled
}

// landed takes t off the tasks that are with the owner: it is in the place to
// then, in line again or not any more with the unit.
func (s *taskSet) landed(t *Task, to place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, q := &s.door, &t.itl.queue
	w.away.remove(t)
	t.place = to
	if w.sending == t {
		w.sending = nil
	}
	if t.turn != w.turn {
		q.stale--
	} else if to == placeDoor {
		q.parked = w.turn + 1 // the same relay would do the same with it
	}
	if to == placeDoor {
		s.lineUp(t)
	}
}

// back puts t, which has started and had no effect, in line again, and returns
// the tasks that start now, and whom to tell that nothing executes any more.
func (s *taskSet) back(t *Task) (next *Task, quiet []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started.remove(t)
	next = s.without(t)
	if s.door.state == doorOpen {
		t.itl.queue.parked = s.door.turn + 1
	}
	s.lineUp(t)
	return next, s.quiet()
}

// quiet returns whom to tell that nothing of the unit executes any more.
// Commands that are the front's touch the medium by tasks of their own only,
// which go where the unit is. Call with the lock.
func (s *taskSet) quiet() (tell []func()) {
	if len(s.door.drains) == 0 {
		return nil
	}
	for t := s.started.first; t != nil; t = t.unext {
		if t.cmd.flags&atFront == 0 {
			return nil
		}
	}
	tell, s.door.drains = s.door.drains, nil
	return tell
}

// drain calls f once when nothing of the unit executes.
func (s *taskSet) drain(f func()) {
	s.mu.Lock()
	s.door.drains = append(s.door.drains, f)
	quiet := s.quiet()
	s.mu.Unlock()
	for _, f := range quiet {
		f()
	}
}

// usher sees to those in line. Call without any lock.
func (u *Unit) usher() {
	s := &u.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.door.ushering {
		return // it finds what is new
	}
	s.door.ushering = true
	for {
		t, e := s.next()
		if t == nil {
			s.door.ushering = false
			return
		}
		r := s.door.relay
		s.mu.Unlock()
		u.errand(t, e, r)
		s.mu.Lock()
	}
}

func (u *Unit) errand(t *Task, e errand, r Relay) {
	switch e {
	case errandStart:
		t.qnext = nil
		u.workers.push(t)
	case errandSend:
		call, i := t.Call, t.itl
		r.Forward(t)
		switch {
		case !u.set.sent():
		case i.retired.Load():
			r.Hasten(call)
		default:
			r.Cancel(call)
		}
	case errandFront:
		u.execute(t, false)
	case errandRefuse:
		t.over(moving())
	case errandMoved:
		t.Moved = true
		t.over(nil)
	}
}

// over ends t, which was taken off the line.
func (t *Task) over(err error) {
	i := t.itl
	t.conclude(err)
	waiters := i.ended(t)
	i.deliver(t)
	for _, f := range waiters {
		f.end()
	}
}
