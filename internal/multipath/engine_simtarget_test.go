package multipath

import (
	"errors"
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

// transit is how long a message is on its way. Without FENCE the time from
// sending to execution is bounded, or nothing would help.
func (s *sim) transit() time.Duration {
	if s.faults && s.chance(40) {
		if s.o.fence {
			return s.span(0, 12*time.Second)
		}
		return s.span(0, s.o.quiesce/2-time.Second)
	}
	return s.span(100*time.Microsecond, 2*ms)
}

// reset breaks the connection at both ends. What the target has decoded may
// still be executed.
func (s *sim) reset(sess *simSession) {
	if s.chance(3) {
		sess.open = false
	} else {
		s.after(s.span(0, 2*time.Second), func() { sess.open = false })
	}
	eng := s.eng
	s.after(s.span(0, 20*ms), func() {
		if s.eng == eng {
			s.closeHost(sess, errors.New("connection reset"))
		}
	})
}

// opName names a request.
func opName(b *block.Request) string { return fmt.Sprintf("%s at %d", b.Op, b.Off) }

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
		// What another host aborts may have been executed before.
		if ev.out.status == scsi.TaskAborted && c.act.kind == actSend && s.chance(2) {
			s.client.execute(c)
		}
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

// issuedThisRun reports whether the present run has sent anything.
func (s *sim) issuedThisRun() bool { return s.issued > s.client.startIssued }

// String is what a history had in it.
func (o simOptions) String() string {
	return fmt.Sprintf("fence=%v policy=%v gateways=%d queue=%v others=%v", o.fence, o.policy, o.gateways, o.queue, alua.State(o.others))
}
