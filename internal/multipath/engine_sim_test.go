package multipath

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sango/internal/san"
	"sango/internal/scsi"
)

// sim is one history: a host with an engine, a network, and a target with some
// gateways, in simulated time. Everything follows from the seed.
type sim struct {
	*rand.Rand
	o    simOptions
	now  instant
	seq  int
	todo events

	eng     *engine
	base    instant // when eng was made
	run     uint64
	woken   instant // when a tick is due
	paths   map[pathID]*simPath
	order   []pathID
	nextID  pathID
	logins  uint32
	issued  int // commands handed to sessions, in all
	ids     uint64
	reports map[string]int // of what happened

	target    *simTarget
	client    *client
	faults    bool
	takenOver uint64 // the last run for which earlier ones were fenced
	failed    error
}

// simOptions are what a history is made of.
type simOptions struct {
	fence      bool // the target serves FENCE
	noFence    bool // the engine does not fence
	blindSends bool // do not look at what is sent, only at what comes of it
	blindLate  bool // nor at when it lands
	gateways   int
	policy     Policy
	queue      time.Duration
	quiesce    time.Duration
	ops        int
	wrongPath  bool
	others     uint8 // state of the groups that are not the owner's
}

// simEvent is something that happens at a time.
type simEvent struct {
	at  instant
	seq int
	do  func()
}

type events []simEvent

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(simEvent)) }
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

const ms = time.Millisecond

// after does f in d.
func (s *sim) after(d time.Duration, f func()) {
	s.seq++
	heap.Push(&s.todo, simEvent{s.now + d, s.seq, f})
}

// chance is true once in n times.
func (s *sim) chance(n int) bool { return s.IntN(n) == 0 }

// span is a time between a and b.
func (s *sim) span(a, b time.Duration) time.Duration {
	return a + time.Duration(s.Int64N(int64(b-a)+1))
}

// fail notes the first thing that went wrong.
func (s *sim) fail(format string, args ...any) {
	if s.failed == nil {
		s.failed = fmt.Errorf("at %v: %s", s.now, fmt.Sprintf(format, args...))
	}
}

// simPath is a portal, and the runtime's side of a path.
type simPath struct {
	id      pathID
	gw      int
	wrong   bool // reaches another volume
	refused bool
	removed bool // logged out, for good
	sess    *simSession
}

// simSession is a session: the host's end and the target's.
type simSession struct {
	login    uint32
	run      uint64
	path     *simPath
	gw       *gateway
	gen      int // of the gateway's process
	host     bool
	closedAt instant // of the host's end
	open     bool    // the target's end
	silent   bool    // nothing gets through any more
	fenced   bool
	out      map[*simCmd]bool // unanswered
	attn     scsi.ASC         // unit attention pending
}

// simCmd is one command in a session.
type simCmd struct {
	sess     *simSession
	act      action
	w        *write // of a request that changes
	op       *op
	sent     bool
	answered bool
	done     bool  // reported to the engine
	got      []int // what a read found
}

// newEngineRun starts the engine of a new run.
func (s *sim) newEngineRun() {
	s.run++
	s.base, s.woken = s.now, -1
	s.eng = newEngine(settings{
		identity: "volume", policy: s.o.policy, instance: san.Instance{Group: 1, Run: s.run}, takeOver: s.run > 1,
		requests: 64, depth: 4 + s.IntN(8), command: 4 * time.Second, queue: s.o.queue, quiesce: s.o.quiesce,
		failback: s.span(0, time.Second), check: time.Second, noFence: s.o.noFence,
	})
	s.paths, s.order, s.logins = map[pathID]*simPath{}, nil, 0
	for g := range s.o.gateways {
		s.addPath(g, false)
	}
	if s.o.wrongPath {
		s.addPath(0, true)
	}
}

func (s *sim) addPath(gw int, wrong bool) {
	s.nextID++
	p := &simPath{id: s.nextID, gw: gw, wrong: wrong}
	s.paths[p.id] = p
	s.order = append(s.order, p.id)
	s.feed(event{kind: evAdd, path: p.id, text: fmt.Sprint("portal ", p.id)})
	s.login(p)
}

// feed gives the engine an event, and does what it says, in any order, some of
// it later.
func (s *sim) feed(ev event) {
	eng := s.eng
	acts := eng.step(s.now-s.base, ev, nil)
	s.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
	for _, a := range acts {
		if s.chance(20) && a.kind != actEnd {
			s.after(s.span(0, 2*ms), func() {
				if s.eng == eng {
					s.act(a)
				}
			})
			continue
		}
		s.act(a)
	}
	s.arm()
	if eng.count > eng.set.requests {
		s.fail("%d requests in the engine", eng.count)
	}
}

// later gives the running engine an event in d.
func (s *sim) later(d time.Duration, ev event) {
	eng := s.eng
	s.after(d, func() {
		if s.eng == eng {
			s.feed(ev)
		}
	})
}

// arm sees to the tick that the engine wants.
func (s *sim) arm() {
	w, ok := s.eng.wake()
	if !ok || s.woken >= s.now && s.woken <= w+s.base {
		return
	}
	eng, at := s.eng, max(w+s.base, s.now)
	s.woken = at
	s.after(at-s.now, func() {
		if s.eng == eng && s.woken == at {
			s.woken = -1
			s.feed(event{kind: evTick})
		}
	})
}

// act is the runtime.
func (s *sim) act(a action) {
	p := s.paths[a.path]
	switch a.kind {
	case actEnd:
		s.client.ended(a.req, a.err)
		return
	case actOptimized:
		return
	case actGone:
		delete(s.paths, a.path)
		return
	}
	var sess *simSession
	if p != nil {
		sess = p.sess
	}
	if sess == nil || sess.login != a.login || !sess.host {
		if a.kind == actSend {
			s.later(s.span(0, ms), event{kind: evResult, req: a.req, out: outcome{lost: true, err: errors.New("session gone")}})
		}
		return
	}
	switch a.kind {
	case actAbort:
		s.closeHost(sess, a.err)
	case actLogout:
		p.removed = true
		s.closeHost(sess, nil)
	default:
		s.command(sess, a)
	}
}

// login has p log in, again and again.
func (s *sim) login(p *simPath) {
	eng := s.eng
	s.after(s.span(5*ms, 300*ms), func() {
		if s.eng != eng || p.removed || s.paths[p.id] != p || p.sess != nil {
			return
		}
		g := s.target.gws[p.gw]
		if p.refused || g.down {
			s.feed(event{kind: evLoginFailed, path: p.id, err: errors.New("refused")})
			s.login(p)
			return
		}
		s.logins++
		sess := &simSession{login: s.logins, run: s.run, path: p, gw: g, gen: g.gen, host: true, open: true, out: map[*simCmd]bool{}}
		if s.chance(2) {
			sess.attn = 0x2900
		}
		g.sessions = append(g.sessions, sess)
		p.sess = sess
		s.feed(event{kind: evLogin, path: p.id, login: sess.login, named: s.o.fence})
	})
}

// closeHost closes the host's end: unanswered commands end, in any order with
// the end of the session.
func (s *sim) closeHost(sess *simSession, err error) {
	if !sess.host {
		return
	}
	sess.host, sess.closedAt = false, s.now
	p := sess.path
	// The target sees the reset, sooner or later or never.
	if !s.chance(4) {
		s.after(s.span(0, 3*time.Second), func() { sess.open = false })
	}
	for _, a := range s.unanswered(sess) {
		s.later(s.span(0, 3*ms), s.lostEvent(a))
	}
	eng := s.eng
	s.after(s.span(0, 3*ms), func() {
		if s.eng != eng {
			return
		}
		p.sess = nil
		s.feed(event{kind: evLost, path: p.id, login: sess.login, err: err})
		if !p.removed {
			s.login(p)
		}
	})
}

// unanswered returns the commands of sess that the engine waits for, in order.
func (s *sim) unanswered(sess *simSession) []*simCmd {
	var l []*simCmd
	for c := range sess.out {
		if !c.done {
			l = append(l, c)
		}
	}
	sortCmds(l)
	for _, c := range l {
		c.done = true
	}
	return l
}

func (s *sim) lostEvent(c *simCmd) event {
	return s.eventOf(c, outcome{lost: true, sent: c.sent, err: errors.New("connection lost")})
}

// eventOf is the answer to c.
func (s *sim) eventOf(c *simCmd, o outcome) event {
	ev := event{kind: c.act.kind.answer(), path: c.act.path, login: c.act.login, out: o, id: c.act.id, req: c.act.req}
	if ev.kind == 0 {
		ev.kind = evTick
	}
	return ev
}

// command sends a command down a session.
func (s *sim) command(sess *simSession, a action) {
	c := &simCmd{sess: sess, act: a, sent: true}
	s.ids++
	sess.out[c] = true
	if a.kind == actSend {
		s.issued++
		c.op = a.req.user.(*op)
		c.w = c.op.w
		s.client.sending(c)
		if sess.path.wrong {
			s.fail("a %s went to another volume", a.req.blk.Op)
		}
	}
	if s.faults && s.chance(300) { // the connection breaks before the first byte
		c.sent = false
		s.reset(sess)
		return
	}
	if sess.silent {
		if s.chance(2) {
			return // it never arrives
		}
		// It is in a buffer on the way, and arrives when it does harm.
	}
	d := s.transit()
	s.after(d, func() { s.arrive(c) })
	if s.faults && s.chance(300) {
		s.reset(sess)
	}
}

// pop takes the next event.
func (s *sim) pop() simEvent { return heap.Pop(&s.todo).(simEvent) }
