package lun

import (
	"sync"

	"sango/internal/san"
	"sango/internal/scsi"
)

// taskSet orders the tasks of a unit: task attributes (SAM-5 §8.6; TST = 000b,
// one task set for all nexuses; QUEUE ALGORITHM MODIFIER = 1h) and ranges of
// the medium (DESIGN R1). A task comes in when it could run at once, with all
// its data-out: so no host can hold up others by not sending data.
//
// A task counts those in the set that it waits for; each task that ends is
// taken off the counts of those that waited for it. Who waits for whom follows
// from values that don't change while somebody waits (see after), so both
// sides agree without a list.
type taskSet struct {
	mu      sync.Mutex // guards the fields below, and those of tasks in it
	seq     uint64
	started taskList // executing
	dormant taskList // waiting for others
	ordered int      // tasks in the set with attribute ORDERED
	head    int      // tasks in the set with attribute HEAD OF QUEUE
	// Filters, so that the usual task need not be compared with every other.
	exclusive int // tasks in the set with lockExclusive
	wide      int // with lockWrite or lockExclusive over many stripes
	wideReads int // with lockRead over many stripes
	stripes   [stripes]stripe

	// shut: not everybody comes straight in, see door.go. It is false while the
	// door is open and nobody waits at it.
	shut  bool
	epoch san.Epoch // that of the ownership: of what starts here, or is forwarded
	door  doorway
}

const (
	stripes     = 1024
	stripeShift = 16 // bytes a stripe: 64 KiB
	maxStripes  = 32 // a range over more is wide
)

// stripe counts tasks in the set that lock some of it: in the lower half those
// with lockWrite or lockExclusive, in the upper half those with lockRead.
type stripe uint32

const (
	oneChange   stripe = 1
	oneRead     stripe = 1 << 16
	someChanges        = oneRead - 1
	// maxLocking is the most tasks that a stripe can count.
	maxLocking = 1<<16 - 1
)

// taskList is a list of tasks linked by unext and uprev.
type taskList struct{ first, last *Task }

func (l *taskList) push(t *Task) {
	t.uprev, t.unext = l.last, nil
	if l.last != nil {
		l.last.unext = t
	} else {
		l.first = t
	}
	l.last = t
}

// insert puts t behind o, or first where o is nil.
func (l *taskList) insert(o, t *Task) {
	if o == l.last {
		l.push(t)
		return
	}
	t.uprev = o
	if o != nil {
		t.unext, o.unext = o.unext, t
	} else {
		t.unext, l.first = l.first, t
	}
	t.unext.uprev = t
}

func (l *taskList) remove(t *Task) {
	if t.uprev != nil {
		t.uprev.unext = t.unext
	} else {
		l.first = t.unext
	}
	if t.unext != nil {
		t.unext.uprev = t.uprev
	} else {
		l.last = t.uprev
	}
	t.uprev, t.unext = nil, nil
}

// overlap reports whether the ranges of a and b keep the two apart. A read and
// what changes some of the same are, since a device may do either bit by bit: a
// logical block is accessed as a unit (SBC-3 §4.7.1), and hosts that keep their
// heartbeats in one rely on that.
func overlap(a, b *Task) bool {
	if a.lock == lockNone || b.lock == lockNone || a.off >= b.end || b.off >= a.end {
		return false
	}
	high, low := max(a.lock, b.lock), min(a.lock, b.lock)
	if high < lockWrite || high == lockWrite && low == lockShared {
		return false
	}
	return a.touches(b) && b.touches(a)
}

// touches reports whether one of the parts of t, if it has some, overlaps with
// the range of o.
func (t *Task) touches(o *Task) bool {
	for _, p := range t.parts {
		if p.off < o.end && o.off < p.end {
			return true
		}
	}
	return t.parts == nil
}

// after reports whether t, which has not started, must wait for o, which has
// not ended. HEAD OF QUEUE tasks go before every task that has not started
// (SAM-5 §8.6.4), the latest first; apart from them the order of admission
// holds between ORDERED tasks and all others, and between ranges.
//
// Parts of an EXTENDED COPY wait for started tasks and parts before them only:
// all else may wait for the copy. So who overlaps with one waits for it.
func after(t, o *Task) bool {
	switch {
	case t.grant != nil && o.grant != nil:
		return o.seq < t.seq && overlap(t, o)
	case t.grant != nil:
		return o.place == placeStarted && o.startSeq < t.seq && overlap(t, o)
	case o.grant != nil:
		return overlap(t, o)
	}
	if t.Attr == scsi.HeadOfQueue {
		ahead := o.place == placeStarted && o.startSeq < t.seq || o.Attr == scsi.HeadOfQueue && o.seq > t.seq
		return ahead && overlap(t, o)
	}
	if o.Attr == scsi.HeadOfQueue {
		return true
	}
	return o.seq < t.seq && (t.Attr == scsi.Ordered || o.Attr == scsi.Ordered || overlap(t, o))
}

// enter adds t, and reports whether it starts now. If not, leave will return
// it one day, or it waits at the door: the caller sees to those (Unit.usher).
func (s *taskSet) enter(t *Task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return s.arrive(t)
	}
	return s.admit(t)
}

// admit is enter past the door. Call with the lock.
func (s *taskSet) admit(t *Task) bool {
	s.seq++
	t.seq, t.waits = s.seq, 0
	if s.mustLook(t) {
		for o := s.started.first; o != nil; o = o.unext {
			if after(t, o) {
				t.waits++
			}
		}
		for o := s.dormant.first; o != nil; o = o.unext {
			if after(t, o) {
				t.waits++
			}
			if t.Attr == scsi.HeadOfQueue && after(o, t) {
				o.waits++
			}
		}
	}
	s.account(t, 1)
	if t.waits > 0 {
		s.dormant.push(t)
		t.place = placeDormant
		return false
	}
	s.start(t)
	return true
}

// pass lets t start if the door is open, it has to wait for no task of the set,
// and none with ORDERED or HEAD OF QUEUE is in it, and reports whether it did.
// If not, it isn't in the set.
func (s *taskSet) pass(t *Task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || s.ordered > 0 || s.head > 0 || t.Attr == scsi.Ordered || t.Attr == scsi.HeadOfQueue {
		return false
	}
	s.seq++
	t.seq = s.seq
	if s.mustLook(t) {
		for _, l := range []*taskList{&s.started, &s.dormant} {
			for o := l.first; o != nil; o = o.unext {
				if after(t, o) {
					return false
				}
			}
		}
	}
	s.account(t, 1)
	s.start(t)
	return true
}

func (s *taskSet) start(t *Task) {
	s.seq++
	t.place, t.startSeq, t.Epoch = placeStarted, s.seq, s.epoch
	s.started.push(t)
}

// mustLook reports whether t might have to wait for a task of the set, or one
// of the set for t.
func (s *taskSet) mustLook(t *Task) bool {
	if t.Attr == scsi.Ordered || t.Attr == scsi.HeadOfQueue || s.ordered > 0 || s.head > 0 {
		return true
	}
	switch t.lock {
	case lockNone:
		return false
	case lockShared:
		return s.exclusive > 0
	case lockRead:
		return s.wide > 0 || s.someIn(t, someChanges)
	case lockWrite:
		return s.wide > 0 || s.wideReads > 0 || s.someIn(t, ^stripe(0))
	}
	return true
}

// someIn reports whether tasks that what stands for are counted in stripes of t.
func (s *taskSet) someIn(t *Task, what stripe) bool {
	first, n := stripesOf(t)
	if n > maxStripes {
		return true
	}
	for i := range n {
		if s.stripes[(first+i)%stripes]&what != 0 {
			return true
		}
	}
	return false
}

func stripesOf(t *Task) (first, n uint64) {
	first = uint64(t.off) >> stripeShift
	return first, uint64(t.end-1)>>stripeShift - first + 1
}

// account adds d times t to the filters.
func (s *taskSet) account(t *Task, d int) {
	switch t.Attr {
	case scsi.Ordered:
		s.ordered += d
	case scsi.HeadOfQueue:
		s.head += d
	}
	one, wide := oneChange, &s.wide
	switch t.lock {
	case lockNone, lockShared:
		return
	case lockRead:
		one, wide = oneRead, &s.wideReads
	case lockExclusive:
		s.exclusive += d
	}
	first, n := stripesOf(t)
	if n > maxStripes {
		*wide += d
		return
	}
	for i := range n {
		s.stripes[(first+i)%stripes] += one * stripe(d)
	}
}

// leave removes t, which ended, and returns the tasks that start now, linked
// by qnext.
func (s *taskSet) leave(t *Task) *Task {
	s.mu.Lock()
	s.started.remove(t)
	next := s.without(t)
	t.place = placeNone
	quiet := s.quiet()
	s.mu.Unlock()
	for _, f := range quiet {
		f()
	}
	return next
}

// withdraw removes t if it has not started, and reports whether it did; next
// are the tasks that start now. away says where it is instead, if it went to
// the owner.
func (s *taskSet) withdraw(t *Task) (next *Task, ok bool, away recall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch t.place {
	case placeDormant:
		s.dormant.remove(t)
		t.place = placeNone
		return s.without(t), true, recall{}
	case placeDoor:
		s.takeLine(t)
		return nil, true, recall{}
	case placeAway:
		return nil, false, s.recall(t)
	}
	return nil, false, recall{}
}

func (s *taskSet) without(t *Task) (next *Task) {
	s.account(t, -1)
	var last *Task
	for o := s.dormant.first; o != nil; {
		following := o.unext
		if after(o, t) {
			if o.waits--; o.waits == 0 {
				s.dormant.remove(o)
				s.start(o)
				o.qnext = nil
				if last == nil {
					next = o
				} else {
					last.qnext = o
				}
				last = o
			}
		}
		o = following
	}
	return next
}
