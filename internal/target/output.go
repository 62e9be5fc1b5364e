package target

import (
	"slices"
	"sync"

	"sango/internal/bufpool"
	"sango/internal/iscsi"
)

// output is the queue of what is to be sent. It is guarded by conn.mu.
type output struct {
	queue   []item
	corked  bool     // the reader will flush: leave it to the reader
	corks   int      // who else will (Cork)
	hurry   bool     // nobody waits for those
	sending bool     // the sending token is taken
	dead    bool     // nothing can be sent any more: what comes is thrown away
	later   []func() // what the reader does when it flushes (Defer)
	idle    sync.Cond
	// Controls that answer what the peer may send without limit, and their
	// data: queued or being sent.
	backlog      int
	backlogBytes int
}

// Limits of the backlog. A peer that makes the server answer, but does not
// read the answers, is dropped there.
const (
	maxBacklog      = 1024
	maxBacklogBytes = 4 << 20
)

// item is one entry of the queue: a finished task, or a control.
type item struct {
	task   *task
	ctl    *control
	statSN iscsi.StatSN
}

// numbering says what StatSN a control carries.
type numbering uint8

const (
	takesStatSN numbering = iota // a number of its own
	showsStatSN                  // the next number, without taking it
)

// control is any PDU but those that finish a task: its header, and a data
// segment that it owns.
type control struct {
	h         iscsi.BHS
	data      *bufpool.Buf
	num       numbering
	credit    bool // answers a numbered command: gives its credit back
	immediate bool // answers an immediate command that was counted
	backlog   bool // counts in output.backlog
	ping      bool
	then      *iscsi.Params // in force for all that follows: the last Login Response
}

var controls = sync.Pool{New: func() any { return new(control) }}

func newControl() *control { return controls.Get().(*control) }

func (k *control) free() {
	if k.data != nil {
		k.data.Release()
	}
	*k = control{}
	controls.Put(k)
}

// size returns the length of the data segment.
func (k *control) size() int {
	if k.data == nil {
		return 0
	}
	return len(k.data.B)
}

// enqueue appends k to the queue, with c.mu held. Whoever calls it kicks or
// flushes afterwards.
func (c *conn) enqueue(k *control) {
	if c.out.dead {
		k.free()
		return
	}
	if k.backlog {
		c.out.backlog++
		c.out.backlogBytes += k.size()
		if c.out.backlog > maxBacklog || c.out.backlogBytes > maxBacklogBytes {
			c.endLocked(errNotReading, false)
		}
	}
	c.out.queue = append(c.out.queue, item{ctl: k})
}

// post queues k and sends it, unless the reader is about to send anyway.
func (c *conn) post(k *control) {
	c.mu.Lock()
	c.enqueue(k)
	c.kick()
}

// kick unlocks c.mu and sends what is queued, unless somebody else will.
func (c *conn) kick() {
	if c.out.corked || c.out.corks > 0 && !c.out.hurry || c.out.sending || c.out.dead || len(c.out.queue) == 0 {
		c.mu.Unlock()
		return
	}
	c.out.sending = true
	c.mu.Unlock()
	c.send()
}

// cork makes the reader the one who sends.
func (c *conn) cork() {
	c.mu.Lock()
	c.out.corked = true
	c.mu.Unlock()
}

// Cork implements lun.Corker.
func (c *conn) Cork() {
	c.mu.Lock()
	c.out.corks++
	c.mu.Unlock()
}

// Uncork implements lun.Corker.
func (c *conn) Uncork() {
	c.mu.Lock()
	c.out.corks--
	c.kick()
}

// Defer implements lun.Deferrer.
func (c *conn) Defer(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.out.corked {
		return false
	}
	c.out.later = append(c.out.later, f)
	return true
}

// flush sends what is queued, from the reader, and does what was left for it. It
// does not wait.
func (c *conn) flush() {
	c.mu.Lock()
	c.out.corked = false
	deferred := len(c.out.later) > 0
	c.kick()
	if deferred {
		c.undefer()
	}
}

// undefer does what was left for the reader, which calls it. It has said so by
// then: nothing is left for it any more.
func (c *conn) undefer() {
	c.mu.Lock()
	c.out.later, c.later = c.later[:0], c.out.later
	c.mu.Unlock()
	for i, f := range c.later {
		c.later[i] = nil
		f()
	}
}

// mayHold reports whether what is queued may wait a little: it is ends of
// commands, and few. An R2T is what the initiator waits for.
func (c *conn) mayHold() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.out.queue) < heldReplies && !slices.ContainsFunc(c.out.queue, func(i item) bool { return i.ctl != nil })
}

// sendRounds bounds the batches that a goroutine sends for others before it
// hands the token on: TaskDone must not hold a worker for long.
const sendRounds = 8

// send sends until the queue is empty. The caller holds the sending token and
// loses it.
func (c *conn) send() {
	for range sendRounds {
		more, err := c.sendBatch(false)
		if err != nil || !more {
			return
		}
		if c.batch.pending() {
			break // the socket takes no more for now
		}
	}
	c.mu.Lock()
	if c.out.dead {
		c.giveUpToken()
		c.mu.Unlock()
		return
	}
	c.senders.Add(1)
	c.mu.Unlock()
	go func() {
		defer c.senders.Done()
		for {
			if more, err := c.sendBatch(true); err != nil || !more {
				return
			}
		}
	}()
}

// sendBatch writes the batch, or makes the next one from the queue and writes
// that. more is false when there was nothing left or the connection is dead:
// the token was given up.
func (c *conn) sendBatch(wait bool) (more bool, err error) {
	b := &c.batch
	if !b.pending() && !b.format() {
		c.mu.Lock()
		c.settle()
		if len(c.out.queue) == 0 || c.out.dead {
			c.giveUpToken()
			c.mu.Unlock()
			return false, nil
		}
		c.takeQueue()
		c.mu.Unlock()
		b.format()
	}
	for b.pending() {
		n, err := c.sock.write(b.vec[b.at:], wait)
		if err != nil {
			c.mu.Lock()
			c.endLocked(err, true)
			c.kill()
			c.giveUpToken()
			c.mu.Unlock()
			return false, err
		}
		if n == 0 {
			return true, nil
		}
		c.written.Add(int64(n))
		b.wrote(n)
	}
	return true, nil
}

// takeQueue moves the queue to the batch, with c.mu held. Everything about
// the order of PDUs is decided here: StatSN, the window they announce, and
// that their tasks are over.
func (c *conn) takeQueue() {
	b := &c.batch
	b.items, c.out.queue = c.out.queue, b.items[:0]
	for i := range b.items {
		it := &b.items[i]
		it.statSN = c.statSN
		switch {
		case it.task != nil:
			c.statSN++
			c.forget(it.task)
			c.stats.read += uint64(it.task.In.Len())
		default:
			if it.ctl.num == takesStatSN {
				c.statSN++
			}
			if it.ctl.credit {
				c.win.release()
			}
			if it.ctl.immediate {
				c.immediates--
			}
		}
	}
	b.exp, b.max = c.win.exp, c.win.max
}

// settle accounts for the controls that the last batch sent, with c.mu held.
func (c *conn) settle() {
	c.out.backlog -= c.batch.backlog
	c.out.backlogBytes -= c.batch.backlogBytes
	c.batch.backlog, c.batch.backlogBytes = 0, 0
}

// kill makes the output dead, with c.mu held: what is queued is thrown away.
func (c *conn) kill() {
	if c.out.dead {
		return
	}
	c.out.dead = true
	for _, it := range c.out.queue {
		switch {
		case it.task != nil:
			c.forget(it.task)
			it.task.free()
		default:
			it.ctl.free()
		}
	}
	clear(c.out.queue)
	c.out.queue = c.out.queue[:0]
}

// giveUpToken lets go of the sending token, with c.mu held.
func (c *conn) giveUpToken() {
	if c.out.dead {
		c.batch.drop()
	}
	c.out.sending = false
	c.out.idle.Broadcast()
}
