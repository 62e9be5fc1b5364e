package initiator

import "sango/internal/iscsi"

// kind is what a task slot is used for.
type kind uint8

const (
	unused kind = iota
	scsiTask
	requestTask // task management, ping or logout
)

// The task slots beyond those of commands: one task management request, a ping
// of the session and one of the caller, and a logout.
const requestSlots = 4

// task is one initiator task tag in use. Slots are made with the session and
// used again; the tag is the index, and above it the number of the use. It is
// guarded by Session.mu but for what says otherwise.
type task struct {
	kind kind
	use  uint16

	// Of a command.
	cmd      *Command
	cmdSN    iscsi.CmdSN
	write    bool
	expected int // bytes
	dataSN   iscsi.DataSN
	// The sender sets it when it has no more need of the command but for its
	// data; no answer can come before (sending is ordered by the lock).
	begun    bool
	start    int64 // position of the header in what is sent
	refs     int   // queued or half-sent items that need Out
	answered bool
	refused  bool // by a target that drains: not executed
	// r2ts is the number of bursts asked for that were not sent yet.
	r2ts   int
	r2tEnd int // end of the last one, bytes
	asked  int // bytes from the start that were asked for, or sent without that
	// Of a read, and owned by the reader.
	got      int // bytes
	inIndex  int // In[inIndex][inOffset:] is what comes next
	inOffset int

	request *request
}

const slotBits = 16

func (t *task) itt(slot int) iscsi.ITT { return iscsi.ITT(uint32(t.use)<<slotBits | uint32(slot)) }

// lookup returns the task of a tag, nil if there is none.
func (s *Session) lookup(itt iscsi.ITT) (*task, int) {
	slot := int(itt & (1<<slotBits - 1))
	if slot >= len(s.tasks) {
		return nil, 0
	}
	t := &s.tasks[slot]
	if t.kind == unused || t.answered || t.use != uint16(itt>>slotBits) {
		return nil, 0
	}
	return t, slot
}

// allot takes a free slot; the caller knows that there is one.
func (s *Session) allot(k kind) (*task, int) {
	slot := int(s.free[len(s.free)-1])
	s.free = s.free[:len(s.free)-1]
	t := &s.tasks[slot]
	*t = task{kind: k, use: t.use + 1}
	return t, slot
}

func (s *Session) release(slot int) {
	t := &s.tasks[slot]
	t.kind, t.cmd, t.request = unused, nil, nil
	s.free = append(s.free, uint16(slot))
}

// finish gives the outcome of an answered command to finished, or leaves that
// to the sender who still needs its data, with s.mu held.
func (s *Session) finish(t *task, slot int) {
	t.answered = true
	if t.refs > 0 {
		return
	}
	c := t.cmd
	c.Got, c.Sent, c.slot = t.got, !t.refused, -1
	s.release(slot)
	s.active--
	if len(c.In) > 0 {
		s.owed -= c.length
	}
	s.stats.Commands++
	s.finished.push(c)
	s.leaveDrained()
}

// list is a list of commands, first in, first out.
type list struct{ head, tail *Command }

func (l *list) push(c *Command) {
	c.next = nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
}

func (l *list) pop() *Command {
	c := l.head
	if c == nil {
		return nil
	}
	if l.head = c.next; l.head == nil {
		l.tail = nil
	}
	c.next = nil
	return c
}

// remove takes c out and reports whether it was there.
func (l *list) remove(c *Command) bool {
	var before *Command
	for at := l.head; at != nil; before, at = at, at.next {
		if at != c {
			continue
		}
		if before == nil {
			l.head = c.next
		} else {
			before.next = c.next
		}
		if l.tail == c {
			l.tail = before
		}
		c.next = nil
		return true
	}
	return false
}

// callDone calls Done for all of l, with no lock held.
func (l list) callDone() {
	for c := l.pop(); c != nil; c = l.pop() {
		c.Done(c)
	}
}
