package multipath

import (
	"fmt"
	"sort"
	"time"

	"sango/internal/block"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// simTarget is a cluster of gateways with one volume.
type simTarget struct {
	s      *sim
	gws    []*gateway
	owner  int
	moving bool
	medium []int // version of each block
}

// gateway is one target port group with one portal or more.
type gateway struct {
	group    uint16
	gen      int // of the process
	down     bool
	sessions []*simSession
}

func sortCmds(l []*simCmd) {
	sort.Slice(l, func(i, j int) bool {
		a, b := l[i].act, l[j].act
		if a.kind != b.kind {
			return a.kind < b.kind
		}
		if a.kind == actSend {
			return a.req.user.(*op).n < b.req.user.(*op).n
		}
		return a.id < b.id
	})
}

// state of a gateway's port group.
func (t *simTarget) state(i int) alua.State {
	switch {
	case t.moving:
		return alua.Transitioning
	case i == t.owner:
		return alua.Optimized
	}
	return alua.State(t.s.o.others)
}

func (t *simTarget) groups() []alua.Group {
	var l []alua.Group
	for i, g := range t.gws {
		l = append(l, alua.Group{ID: g.group, State: t.state(i), Ports: []uint16{g.group}})
	}
	return l
}

// move gives the volume to another gateway.
func (t *simTarget) move(to int) {
	if t.moving || t.gws[to].down {
		return
	}
	t.moving = true
	t.s.after(t.s.span(0, 800*ms), func() {
		t.moving, t.owner = false, to
		for _, g := range t.gws {
			for _, sess := range g.sessions {
				sess.attn = scsi.ASCAccessStateChanged
			}
		}
	})
}

// restart kills the process of a gateway and starts another. What it had
// decoded and not executed is gone.
func (t *simTarget) restart(i int, after time.Duration) {
	s, g := t.s, t.gws[i]
	if g.down {
		return
	}
	g.down = true
	g.gen++
	for _, sess := range g.sessions {
		sess.open = false
		s.reset(sess)
	}
	if t.owner == i {
		for k, o := range t.gws {
			if !o.down {
				t.owner = k
			}
		}
	}
	s.after(after, func() { g.down = false })
}

// arrive takes a command from the network: it is executed now, or waits in a
// queue.
func (s *sim) arrive(c *simCmd) {
	sess := c.sess
	if !sess.open || sess.fenced || sess.gen != sess.gw.gen {
		return
	}
	d := time.Duration(0)
	if s.faults && s.chance(30) {
		d = s.transit() + s.span(0, 900*ms)
	} else if s.chance(2) {
		d = s.span(0, 3*ms)
	}
	s.after(d, func() { s.execute(c) })
}

// execute does a command, unless its session was fenced or its process died. A
// dead connection does not stop it: that is what makes a ghost.
func (s *sim) execute(c *simCmd) {
	sess, t := c.sess, s.target
	if sess.fenced || sess.gen != sess.gw.gen {
		return
	}
	o := outcome{}
	i := int(sess.gw.group) - 1
	ev := s.eventOf(c, o)
	switch c.act.kind {
	case actProbe:
		id := "volume"
		if sess.path.wrong {
			id = "another volume"
		}
		ev.probe = &probe{
			identity: id, alua: true, group: sess.gw.group, groups: t.groups(), fence: s.o.fence, maxFence: 3,
		}
		s.respond(c, ev)
		return
	case actReadGroups:
		ev.groups = t.groups()
		s.respond(c, ev)
		return
	case actFence:
		ev.out = s.executeFence(c)
		s.respond(c, ev)
		return
	}
	switch {
	case sess.attn != 0:
		ev.out = sense(scsi.UnitAttention, sess.attn)
		sess.attn = 0
	case s.faults && s.chance(200):
		ev.out = s.refusal()
	case t.moving:
		ev.out = sense(scsi.NotReady, scsi.ASCAccessTransition)
	case t.state(i) == alua.Standby:
		ev.out = sense(scsi.NotReady, scsi.ASCPortStandby)
	case t.state(i) == alua.Unavailable:
		ev.out = sense(scsi.NotReady, scsi.ASCPortUnavailable)
	case c.act.kind == actSend:
		s.client.execute(c)
	}
	s.respond(c, ev)
}

func (s *sim) refusal() outcome {
	switch s.IntN(5) {
	case 0:
		return outcome{status: scsi.Busy}
	case 1:
		return outcome{status: scsi.TaskSetFull}
	case 2:
		return outcome{status: scsi.TaskAborted}
	case 3:
		return sense(scsi.AbortedCommand, 0x4700)
	}
	return sense(scsi.UnitAttention, scsi.ASCReportedLUNsChanged)
}

func sense(k scsi.SenseKey, a scsi.ASC) outcome {
	return outcome{status: scsi.CheckConditionStatus, sense: scsi.Sense{Key: k, ASC: a}}
}

// executeFence ends the sessions that are named, on all gateways.
func (s *sim) executeFence(c *simCmd) outcome {
	if s.chance(10) {
		return outcome{status: scsi.Busy}
	}
	for _, g := range s.target.gws {
		for _, sess := range g.sessions {
			hit := c.act.earlier && sess.run < c.sess.run
			for _, l := range c.act.logins {
				hit = hit || l == sess.login && sess.run == c.sess.run
			}
			if hit {
				if !sess.fenced {
					s.reports["fenced sessions"]++
				}
				if sess.host {
					s.fail("login %d was fenced while it was in use", sess.login)
				}
				sess.fenced, sess.open = true, false
			}
		}
	}
	if c.act.earlier {
		s.takenOver = c.sess.run
	}
	return outcome{}
}

// respond brings an answer to the host.
func (s *sim) respond(c *simCmd, ev event) {
	sess := c.sess
	if !sess.open || sess.silent {
		return
	}
	if s.faults && s.chance(250) { // the answer is lost with its connection
		s.reset(sess)
		return
	}
	eng := s.eng
	s.after(s.transit(), func() {
		if s.eng != eng || !sess.host || sess.silent || c.done || sess.run != s.run {
			return
		}
		c.done, c.answered = true, true
		delete(sess.out, c)
		if c.op != nil {
			c.op.got = c.got
		}
		s.feed(ev)
	})
}

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

// issuedThisRun reports whether the present run has sent anything.
func (s *sim) issuedThisRun() bool { return s.issued > s.client.startIssued }

// kill ends the host's process; another takes over, and the kernel gives it
// the requests that were in flight.
func (s *sim) kill() {
	s.reports["takeovers"]++
	s.eng = nil
	for _, id := range s.order {
		p := s.paths[id]
		if p == nil || p.sess == nil {
			continue
		}
		sess := p.sess
		sess.host, sess.closedAt = false, s.now
		if !s.chance(4) {
			s.after(s.span(0, 3*time.Second), func() { sess.open = false })
		}
	}
	s.client.startIssued = s.issued
	s.newEngineRun()
	var again []*op
	for _, o := range s.client.flight {
		again = append(again, o)
	}
	sort.Slice(again, func(i, j int) bool { return again[i].n < again[j].n })
	for _, o := range again {
		s.client.start(o)
	}
}

// String is what a history had in it.
func (o simOptions) String() string {
	return fmt.Sprintf("fence=%v policy=%v gateways=%d queue=%v others=%v", o.fence, o.policy, o.gateways, o.queue, alua.State(o.others))
}
