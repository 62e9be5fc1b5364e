package relay

import (
	"sync"
	"time"

	"sango/internal/lun"
	"sango/internal/relay/wire"
)

// call is a task on its way through the front. It is guarded by the lock of
// its line, but for what the reader and the holder of the sending token have.
type call struct {
	task *lun.Task // nil: it has ended
	id   uint64    // Task.Call
	lane *lane

	in         *callList // the list it is in
	prev, next *call

	cmd        wire.Command
	repeatable bool
	timeless   bool
	arrival    time.Time // of the last of it, data-out included
	since      time.Time // when it was forwarded

	begun     bool // some of it may be on its way
	busy      bool // it is in the queue or the batch of the connection
	cancelled bool
	answered  bool // and waits for being busy no more
	outcome   lun.Outcome

	data [][]byte // data-out
	at   int      // bytes of it that were put; the sender's
	head bool     // the Command frame was put; the sender's
	got  int      // bytes of data-in that came; the reader's
}

var calls = sync.Pool{New: func() any { return new(call) }}

func newCall(ln *lane, t *lun.Task) *call {
	c := calls.Get().(*call)
	c.task, c.id, c.lane = t, t.Call, ln
	local := ln.line.local
	c.arrival, c.since, c.repeatable, c.timeless = t.Arrival, time.Now(), local.repeatable(t), local.timeless(t)
	var expected uint32
	c.cmd.CDB, expected, c.data = local.outgoing(t, c.data[:0])
	n := 0
	for _, p := range c.data {
		n += len(p)
	}
	c.cmd.Handle, c.cmd.TaskTag, c.cmd.Expected, c.cmd.Out = ln.handle, t.Tag, expected, uint32(n)
	c.cmd.Attr, c.cmd.Ask = uint8(t.Attr), uint8(t.Ask)
	if t.Read {
		c.cmd.Flags |= wire.FlagRead
	}
	if t.Write {
		c.cmd.Flags |= wire.FlagWrite
	}
	return c
}

// free gives c back. Nobody may know it any more.
func (c *call) free() {
	data := c.data
	clear(data)
	*c = call{data: data[:0]}
	calls.Put(c)
}

// again makes c ready to be sent again.
func (c *call) again() {
	c.task.In.Release()
	c.begun, c.busy, c.at, c.head, c.got = false, false, 0, false, 0
}

// take implements carrier.
func (c *call) take() bool {
	if c.task == nil { // it was withdrawn
		c.free()
		return false
	}
	if c.answered || c.cancelled && c.begun {
		c.rest()
		return false
	}
	c.begun = true
	return true
}

// put implements carrier.
func (c *call) put(b *batch) bool {
	n := min(int(c.cmd.Out)-c.at, wire.MaxData)
	if !c.head {
		c.cmd.Put(b.head(wire.HeaderLen+wire.CommandLen), n)
		c.head = true
	} else {
		wire.Data{Tag: c.cmd.Tag}.Put(b.head(wire.HeaderLen+wire.DataLen), wire.TypeDataOut, n)
	}
	b.part(c.data, c.at, n)
	c.at += n
	return c.at < int(c.cmd.Out)
}

// sent implements carrier.
func (c *call) sent(more bool) bool {
	if !more || c.answered || c.cancelled {
		c.rest()
		return false
	}
	return true
}

// rest tells that c is in no queue any more. With the lock held.
func (c *call) rest() {
	if c.busy = false; c.answered {
		c.lane.line.finish(c)
	}
}

// callList is a list of calls; each is in one at a time.
type callList struct {
	first, last *call
	n           int
}

func (l *callList) push(c *call) {
	c.in, c.prev, c.next = l, l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

// remove takes c off the list that it is in.
func (c *call) remove() {
	l := c.in
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.in, c.prev, c.next = nil, nil, nil
	l.n--
}

// move puts c at the end of l.
func (c *call) move(l *callList) {
	c.remove()
	l.push(c)
}
