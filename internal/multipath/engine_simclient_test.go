package multipath

import (
	"time"

	"sango/internal/block"
)

// write is one version of some blocks.
type write struct {
	version    int
	off, n     int
	copies     []*simCmd
	ended      bool
	ok         bool
	issuedThen int // commands issued in all when it ended
}

// op is a request of the client.
type op struct {
	n     int
	req   *request
	blk   *block.Request
	w     *write
	off   int
	lower []int // for reads: the oldest versions allowed
	got   []int
	ended bool
}

// client is who uses the device, and the model of what it must see.
type client struct {
	s           *sim
	n           int
	versions    int
	flight      map[int]*op
	writing     []*op // the write under way on each block
	floor       []int // the version that a new read must see at least
	newest      []int // the newest version submitted
	owes        int   // requests still to be submitted
	pace        time.Duration
	startIssued int // commands issued in all when the run began
}

const simBlocks = 8

// next submits a request, and one more later.
func (c *client) next() {
	s := c.s
	if c.owes == 0 {
		return
	}
	c.owes--
	if len(c.flight) < 24 {
		c.submit()
	}
	s.after(s.span(0, 2*c.pace), c.next)
}

func (c *client) submit() {
	s := c.s
	c.n++
	o := &op{n: c.n, off: s.IntN(simBlocks)}
	n := 1 + s.IntN(min(3, simBlocks-o.off))
	b := &block.Request{Op: block.OpRead, Off: int64(o.off) * 512, Len: int64(n) * 512}
	switch k := s.IntN(10); {
	case k == 0:
		b.Op, b.Off, b.Len = block.OpFlush, 0, 0
	case k < 6:
		b.Op = block.OpWrite
		if k == 1 {
			b.Op = block.OpWriteZeroes
		}
		for i := range n {
			if c.writing[o.off+i] != nil {
				return // who needs order waits
			}
		}
		c.versions++
		o.w = &write{version: c.versions, off: o.off, n: n}
		for i := range n {
			c.writing[o.off+i], c.newest[o.off+i] = o, c.versions
		}
	}
	o.blk = b
	c.start(o)
}

func (c *client) start(o *op) {
	c.flight[o.n] = o
	o.req = &request{blk: o.blk, user: o}
	if o.blk.Op == block.OpRead {
		n := int(o.blk.Len / 512)
		o.lower = append([]int(nil), c.floor[o.off:o.off+n]...)
	}
	c.s.feed(event{kind: evSubmit, req: o.req})
}

// sending looks at a command that is about to be sent.
func (c *client) sending(cmd *simCmd) {
	s := c.s
	if cmd.op.ended {
		s.fail("%s was sent after its end", opName(cmd.act.req.blk))
	}
	if s.run > 1 && !s.o.blindSends && (s.o.fence && s.takenOver < s.run || !s.o.fence && s.now < s.base+s.o.quiesce) {
		s.fail("%s was sent before earlier runs were fenced", opName(cmd.op.blk))
	}
	if cmd.w == nil {
		return
	}
	for _, old := range cmd.w.copies {
		if s.o.blindSends || old.answered || !old.sent || old.sess.fenced || old.sess.run != s.run {
			continue
		}
		if !s.o.fence && !old.sess.host && s.now >= old.sess.closedAt+s.o.quiesce {
			continue
		}
		s.fail("%s was sent over login %d; its copy on login %d is not fenced", opName(cmd.act.req.blk), cmd.sess.login, old.sess.login)
	}
	if len(cmd.w.copies) > 0 {
		s.reports["writes sent again"]++
	}
	cmd.w.copies = append(cmd.w.copies, cmd)
}

// execute does a command at the target.
func (c *client) execute(cmd *simCmd) {
	s, w := c.s, cmd.w
	medium := s.target.medium
	if w == nil {
		if cmd.op.blk.Op != block.OpRead {
			return
		}
		n := int(cmd.op.blk.Len / 512)
		cmd.got = append([]int(nil), medium[cmd.op.off:cmd.op.off+n]...)
		return
	}
	switch {
	case s.o.blindLate:
	case cmd.sess.run < s.run && s.issuedThisRun():
		s.fail("version %d of run %d landed when run %d had begun", w.version, cmd.sess.run, s.run)
	case w.ended && (w.ok || s.issued > w.issuedThen):
		s.fail("version %d landed after its end", w.version)
	}
	for i := w.off; i < w.off+w.n; i++ {
		if medium[i] > w.version {
			s.fail("version %d of block %d was undone by version %d", medium[i], i, w.version)
		}
		medium[i] = w.version
	}
	if !cmd.sess.host {
		s.reports["ghosts"]++
	}
}

// ended takes the end of a request.
func (c *client) ended(r *request, err error) {
	s, o := c.s, r.user.(*op)
	if o.ended || c.flight[o.n] != o {
		s.fail("%s ended twice", opName(r.blk))
		return
	}
	o.ended = true
	delete(c.flight, o.n)
	if err != nil {
		s.reports["errors"]++
		if block.ClassOf(err) != block.Busy || s.o.queue < 0 {
			s.fail("%v", err)
		}
	}
	if o.w != nil {
		c.endWrite(o.w, err == nil)
	}
	if r.blk.Op == block.OpRead && err == nil {
		c.endRead(o)
	}
}

func (c *client) endWrite(w *write, ok bool) {
	w.ended, w.ok, w.issuedThen = true, ok, c.s.issued
	for i := w.off; i < w.off+w.n; i++ {
		c.writing[i] = nil
		if ok {
			c.floor[i] = w.version
			if got := c.s.target.medium[i]; got != w.version {
				c.s.fail("version %d of block %d was acknowledged, the medium has %d", w.version, i, got)
			}
		}
	}
}

func (c *client) endRead(o *op) {
	for i, v := range o.got {
		b := o.off + i
		if v < o.lower[i] || v > c.newest[b] {
			c.s.fail("block %d was read as version %d, want %d to %d", b, v, o.lower[i], c.newest[b])
		}
		c.floor[b] = max(c.floor[b], v)
	}
	if o.got == nil {
		c.s.fail("a read ended without data")
	}
}
