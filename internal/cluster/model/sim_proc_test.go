package model

import (
	"sango/internal/san"
)

// proc is the process of a gateway: its two machines, and what does what they
// say. It may stop for a while (SIGSTOP), with everything that was sent to it
// waiting, lose its way to the store, or die.
type proc struct {
	w    *world
	id   GatewayID
	g    *Gateway
	c    *Coordinator
	run  int // counts the machines; what was sent to an earlier one is lost
	dead bool
	cut  bool // from the store

	rate   float64 // of its clock
	frozen Instant // the clock stood still so long, in all
	stood  bool    // it stands still now

	stopped int // SIGSTOPs that hold
	since   Instant
	inbox   []func()

	told  Instant // the stream has been delivered up to here
	lossy bool    // the stream was interrupted: a snapshot is owed

	wakeG, wakeC int // the timers that count
	vols         map[volumeID]*served
	coordinator  bool
}

// served is a volume as the process has it open.
type served struct {
	epoch   san.Epoch
	admits  bool
	stopped bool
	flight  int // commands under way
	drain   bool
	data    string         // the reservations, as told
	pending func(Reserved) // takes the answer of a change under way
}

// clock is the process' own monotonic clock.
func (p *proc) clock() Instant {
	f := p.frozen
	if p.stood {
		f += p.w.now - p.since
	}
	return Instant(float64(p.w.now-f)*p.rate) + 7*Second
}

// do runs f in the process: now, when it goes on, or never.
func (p *proc) do(run int, f func()) {
	switch {
	case p.run != run || p.dead:
	case p.stopped > 0:
		p.inbox = append(p.inbox, func() { p.do(run, f) })
	default:
		f()
	}
}

// later runs f in the process after a time.
func (p *proc) later(d Instant, f func()) {
	run := p.run
	p.w.after(d, func() { p.do(run, f) })
}

// stop stops the process for a time; with its clock, if that stands still.
func (p *proc) stop(d Instant, clock bool) {
	if p.stopped++; p.stopped == 1 {
		p.since, p.stood = p.w.now, clock
	}
	run := p.run
	p.w.after(d, func() {
		if p.run != run && p.stopped == 0 {
			return
		}
		if p.stopped--; p.stopped > 0 {
			return
		}
		if p.stood {
			p.frozen, p.stood = p.frozen+p.w.now-p.since, false
		}
		in := p.inbox
		p.inbox = nil
		for i, f := range in {
			if f(); p.stopped > 0 {
				p.inbox = append(p.inbox, in[i+1:]...)
				return
			}
		}
	})
}

// start begins a new run of the process.
func (p *proc) start() {
	p.w.trace("%s starts", p.id)
	p.dead, p.coordinator = false, false
	if p.w.h.Sole { // it has seen to it that this is so, before it says it
		c, _ := p.w.store.recs[CounterRecord{}.Key()].rec.(CounterRecord)
		for i := range c.Last + 1 {
			p.w.fence(Member{p.id, i}, volumeID{})
		}
	}
	p.begin()
	p.gateway(Start{})
}

// begin makes new machines.
func (p *proc) begin() {
	p.run++
	p.vols = map[volumeID]*served{}
	p.g = NewGateway(p.id, p.w.h.Sole, p.w.set)
	p.c = NewCoordinator(p.w.set)
	p.told, p.coordinator = p.w.now, false
	if p.lossy = p.cut; !p.cut {
		p.resync()
	}
}

// kill ends the process. What it has submitted lands all the same.
func (p *proc) kill() {
	if p.dead {
		return
	}
	p.w.trace("%s is killed", p.id)
	p.dead, p.coordinator = true, false
	p.run++
	p.stopped, p.inbox, p.stood = 0, nil, false
}

// gateway feeds the gateway machine.
func (p *proc) gateway(ev Event) {
	g := p.g
	for _, e := range g.Step(p.clock(), ev) {
		p.w.traceEffect(p, e)
		p.effect(e)
		if p.g != g {
			return
		}
	}
	p.wakeG++
	if at, ok := g.Wake(); ok {
		p.alarm(at, &p.wakeG, func() { p.gateway(Tick{}) })
	}
}

// coordinate feeds the coordinator.
func (p *proc) coordinate(ev Event) {
	c := p.c
	for _, e := range c.Step(p.clock(), ev) {
		switch e := e.(type) {
		case Propose:
			p.propose(e, func(a Answered) { p.coordinate(a) })
		case Fence:
			p.w.traceEffect(p, e)
			p.fence(e)
		}
	}
	p.wakeC++
	if at, ok := c.Wake(); ok {
		p.alarm(at, &p.wakeC, func() { p.coordinate(Tick{}) })
	}
}

// alarm runs f at an instant of the process' clock, unless a newer alarm has
// taken its place.
func (p *proc) alarm(at Instant, which *int, f func()) {
	n := *which
	d := Instant(float64(max(0, at-p.clock()))/p.rate) + Millisecond
	p.later(d, func() {
		if n == *which {
			f()
		}
	})
}

// stream tells the process of changes, in their order.
func (p *proc) stream(ch []Change) {
	if p.dead {
		return
	}
	if p.cut || p.lossy {
		p.lossy = true
		return
	}
	d := p.w.delay()
	if p.w.chance(p.w.h.Slow) {
		d = p.w.span(0, 2*Second)
	}
	p.told = max(p.told, p.w.now+d)
	p.later(p.told-p.w.now, func() {
		p.gateway(Changed{ch})
		p.coordinate(Changed{ch})
	})
}

// resync tells it everything.
func (p *proc) resync() {
	p.lossy = false
	snap := p.w.store.snapshot()
	p.told = max(p.told, p.w.now+p.w.delay())
	p.later(p.told-p.w.now, func() {
		p.gateway(snap)
		p.coordinate(snap)
	})
}

// propose brings a transaction to the store and the answer back. Either may be
// lost, or take its time; the process gives up after a second.
func (p *proc) propose(e Propose, answer func(Answered)) {
	done := false
	end := func(a Answered) {
		if !done {
			done = true
			answer(a)
		}
	}
	p.later(Second, func() { end(Answered{ID: e.ID, Outcome: Unknown}) })
	d := p.w.delay()
	if p.w.chance(p.w.h.Late) {
		d = p.w.span(0, 6*Second)
	}
	run, cut := p.run, p.cut
	p.w.after(d, func() {
		if cut && (p.cut || p.w.chance(50)) {
			return // it got lost
		}
		rev, ok := p.w.store.apply(e.Txn)
		if p.cut || p.w.chance(p.w.h.Lost) {
			return
		}
		a := Answered{ID: e.ID, Outcome: Refused}
		if ok {
			a.Outcome, a.Rev = Committed, rev
		}
		d := p.w.delay()
		if p.w.chance(p.w.h.Slow) || p.w.chance(p.w.h.Answers) {
			d = p.w.span(0, 990*Millisecond)
		}
		p.w.after(d, func() { p.do(run, func() { end(a) }) })
	})
}

// fence shuts a member out, if it works, and that may take a while.
func (p *proc) fence(f Fence) {
	d := p.w.delay()
	if p.w.chance(p.w.h.FenceSlow) {
		d = p.w.span(0, 5*Second)
	}
	ok := !p.w.chance(p.w.h.FenceFails) && !p.w.noFence
	p.later(d, func() {
		if ok {
			p.w.fence(f.Member, f.Volume)
		}
		p.coordinate(FenceEnded{f.Member, f.Volume, ok})
	})
}
