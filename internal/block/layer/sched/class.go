package sched

import (
	"time"

	"sango/internal/block"
)

// Class is what the scheduler tells requests apart by.
type Class int

// The classes, in the order of their precedence. Flushes are outside of it:
// one is below at a time.
const (
	Read    Class = iota
	Write         // OpWrite
	Trim          // OpDiscard and OpWriteZeroes
	Flush         // OpFlush
	classes = 4
)

// String returns the name of the class in lower case, as metrics label it.
func (c Class) String() string {
	switch c {
	case Read:
		return "read"
	case Write:
		return "write"
	case Trim:
		return "trim"
	case Flush:
		return "flush"
	}
	return "invalid"
}

func classOf(op block.Op) Class {
	switch op {
	case block.OpRead:
		return Read
	case block.OpWrite:
		return Write
	case block.OpFlush:
		return Flush
	}
	return Trim
}

// batch is how many requests of a class go down before others have their turn.
var batch = [classes]int{Read: 16, Write: 16, Trim: 1, Flush: 1}

// starved is how many batches of others a class that is ready lets pass.
const starved = 2

// fifo is a list of units by seq.
type fifo struct {
	head, tail *unit
	n          int
}

// insert puts u in its place by seq, which is nearly always the last one.
func (f *fifo) insert(u *unit) {
	at := f.tail
	for at != nil && at.seq > u.seq {
		at = at.prev
	}
	u.prev = at
	if at != nil {
		u.next, at.next = at.next, u
	} else {
		u.next, f.head = f.head, u
	}
	if u.next != nil {
		u.next.prev = u
	} else {
		f.tail = u
	}
	u.queued = true
	f.n++
}

func (f *fifo) remove(u *unit) {
	if u.prev != nil {
		u.prev.next = u.next
	} else {
		f.head = u.next
	}
	if u.next != nil {
		u.next.prev = u.prev
	} else {
		f.tail = u.prev
	}
	u.prev, u.next, u.queued = nil, nil, false
	f.n--
}

// room reports whether one more request of class c may go down.
func (d *Device) room(c Class) bool {
	return d.inflight < d.depth && d.flying[c] < d.limit[c]
}

// willing reports whether class c has a request that may go down now.
func (d *Device) willing(c Class) bool { return d.queue[c].n > 0 && d.room(c) }

// choose returns the unit whose request goes down next, or nil. d.mu is held.
func (d *Device) choose() *unit {
	if d.ready == 0 || d.inflight >= d.depth {
		return nil
	}
	others := d.willing(Read) || d.willing(Write) || d.willing(Trim)
	// Flushes are short of company below, and those behind one become one; but at
	// a depth of 1 they would have it all.
	if d.willing(Flush) && (!d.flushed || !others) {
		d.flushed = true
		return d.queue[Flush].head
	}
	if !others {
		return nil
	}
	d.flushed = false
	if d.left <= 0 || !d.willing(d.turn) {
		d.begin(d.elect())
	}
	d.left--
	return d.queue[d.turn].head
}

// begin starts a batch of class c.
func (d *Device) begin(c Class) {
	for o := c + 1; o < Flush; o++ { // those that c has precedence over
		if d.willing(o) {
			d.passed[o]++
		}
	}
	d.turn, d.left, d.passed[c] = c, batch[c], 0
}

// elect returns the class that has the next batch. At least one is willing.
func (d *Device) elect() Class {
	overdue, first, hungry := Class(-1), Class(-1), Class(-1)
	now := time.Now()
	for c := Read; c < Flush; c++ {
		if !d.willing(c) {
			continue
		}
		if first < 0 {
			first = c
		}
		if d.passed[c] >= starved && (hungry < 0 || d.passed[c] > d.passed[hungry]) {
			hungry = c
		}
		// Not twice running: were the device so slow that writes are overdue all the
		// time, reads would come last.
		due := d.queue[c].head.due
		if c != d.turn && !due.After(now) && (overdue < 0 || due.Before(d.queue[overdue].head.due)) {
			overdue = c
		}
	}
	// A class that starves goes before one that is overdue: both get their turn,
	// however slow the device is.
	switch {
	case hungry >= 0:
		return hungry
	case overdue >= 0:
		d.stats[overdue].Overdue++
		return overdue
	}
	return first
}
