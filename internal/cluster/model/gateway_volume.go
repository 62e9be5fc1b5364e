package model

import (
	"slices"

	"sango/internal/san"
)

// step is how far a volume is open on this gateway.
type step uint8

const (
	idle      step = iota // not open
	opening               // Open is under way
	opened                // open; the store does not say yet that it is active here
	serving               // commands are admitted
	preparing             // they still are; what is written is being made stable
	draining              // none is, those under way end
	flushing
	closing
)

// local is a volume as this gateway has it.
type local struct {
	id  san.UUID
	rec OwnerRecord // as the view has it
	rev Revision    // of rec

	step   step
	epoch  san.Epoch // under which it was opened
	failed bool      // could not be opened, or its medium failed

	busy  bool     // a transaction on its ownership is under way,
	await Revision // or is committed, and not seen yet
	retry Instant  // 0: at any time

	hold   Instant // when commands are held; 0: not
	refuse Instant // when held commands are refused; 0: not
	cancel Instant // when those under way are cancelled; 0: not

	fresh    bool      // nothing was seen of it
	attended san.Epoch // unit attentions were raised for it
	res      reservation
}

func (g *Gateway) volume(id san.UUID) *local {
	l := g.volumes[id]
	if l == nil {
		l = &local{id: id}
		g.volumes[id] = l
	}
	return l
}

// sorted returns the volumes in the order of their ids, so that equal histories
// go alike.
func (g *Gateway) sorted() []*local {
	l := make([]*local, 0, len(g.volumes))
	for _, v := range g.volumes {
		l = append(l, v)
	}
	slices.SortFunc(l, func(a, b *local) int { return compareIDs(a.id, b.id) })
	return l
}

// observe takes what the view says of a volume.
func (g *Gateway) observe(l *local) {
	o := g.view.owner(l.id)
	if o.rev == l.rev {
		g.look(l)
		return
	}
	l.rec, l.rev, l.retry = o.rec, o.rev, 0
	if l.await != 0 && (l.await <= l.rev || l.rev == 0) { // what was deleted, was so after that
		l.busy, l.await = false, 0
	}
	if l.rec.State == Free {
		l.failed = false // the store knows, in case it was so
	}
	if l.fresh {
		l.fresh, l.attended = false, l.rec.Epoch // no nexus can have seen another owner
	}
	if l.rec.State == Active && l.rec.Epoch != l.attended {
		l.attended = l.rec.Epoch
		g.do(Attend{l.id, l.rec.Asked}) // before a command can reach the new owner
	}
	g.do(Publish{l.id, l.rec})
	g.look(l)
}

// forget drops a volume that has been deleted, when it is closed here.
func (g *Gateway) forget(l *local) {
	if l.rev == 0 && l.step == idle && !l.busy && g.volumes[l.id] == l {
		delete(g.volumes, l.id)
		delete(g.timed, l.id)
		g.do(Forget{l.id})
	}
}

// look does what the state of a volume, here and in the view, asks for.
func (g *Gateway) look(l *local) {
	if g.phase != joined && g.phase != leaving {
		return
	}
	o := &l.rec
	mine := o.State == Active && o.Owner == g.me
	gets := o.State == Moving && o.To == g.me && (o.Released || !g.set.has(waitReleased))
	gives := o.State == Moving && o.Owner == g.me && !o.Released
	switch l.step {
	case idle:
		if l.busy || g.now < l.retry {
			return
		}
		switch {
		case mine || gets && (g.phase == leaving || l.failed):
			g.giveUp(l)
		case gets:
			l.step, l.epoch = opening, o.Epoch
			g.do(Open{l.id, o.Epoch})
		case gives:
			next := *o
			next.Released = true
			g.change(l, next)
		}
	case opened:
		switch here := o.Epoch == l.epoch && g.phase == joined; {
		case mine && here:
			l.step = serving
			g.do(Serve{l.id, l.epoch})
		case !gets || !here:
			g.close(l)
		case !l.busy && g.now >= l.retry:
			g.change(l, OwnerRecord{
				Volume: l.id, State: Active, Owner: g.me, Epoch: o.Epoch, Released: true, Reason: o.Reason, Asked: o.Asked,
			})
		}
	case serving, preparing:
		if gives && !g.set.has(drainFirst) && !l.busy {
			next := *o
			next.Released = true
			g.change(l, next)
		}
		mine = mine && o.Epoch == l.epoch
		switch {
		case l.failed || !mine && !gives:
			g.drain(l)
		case l.step == serving && (gives || g.phase == leaving):
			l.step, l.hold = preparing, g.now+g.set.Prepare
			g.timed[l.id] = l
			g.do(Prepare{l.id})
		}
	}
}

// admits reports whether commands of the volume are executed here.
func (l *local) admits() bool { return l.step == serving || l.step == preparing }

// giveUp says that a volume that this gateway has, or is to have, is not open
// here and will not be.
func (g *Gateway) giveUp(l *local) {
	next := OwnerRecord{Volume: l.id, State: Free, Epoch: l.rec.Epoch, Reason: ReasonLeft, Failed: l.rec.Failed}
	if l.failed {
		next.Reason, next.Failed = ReasonFailed, g.id
	}
	g.change(l, next)
}

// change proposes a new record of ownership: guarded by the old one, and by
// this member not having been declared dead.
func (g *Gateway) change(l *local, o OwnerRecord) {
	l.busy = true
	guards := []Guard{g.alive()}
	if g.set.has(guardOwner) {
		guards = append(guards, g.view.guard(o.Key()))
	}
	g.propose(request{what: reqOwner, vol: l}, guards, o)
}

// ownerAnswered takes the end of a transaction on a volume's ownership. What it
// changed counts when the view says it. One of unknown outcome is made again:
// either of the two finds the record as it was, and the other is refused.
func (g *Gateway) ownerAnswered(l *local, a Answered) {
	switch {
	case a.Outcome != Committed:
		l.busy, l.retry = false, g.now+g.set.Retry
		g.timed[l.id] = l
		g.forget(l)
	case a.Rev <= l.rev || l.rev == 0:
		l.busy = false
		g.look(l)
		g.forget(l)
	default:
		l.await = a.Rev
	}
}

// drain stops a volume: new commands wait, those under way end.
func (g *Gateway) drain(l *local) {
	l.step, l.hold = draining, 0
	l.refuse, l.cancel = g.now+g.set.Hold, g.now+g.set.Cancel
	l.res.forget()
	g.timed[l.id] = l
	g.do(Hold{l.id})
}

func (g *Gateway) close(l *local) {
	l.step = closing
	g.do(Close{l.id})
}

// abandon ends a volume without regard for what is under way.
func (g *Gateway) abandon(l *local) {
	l.res.forget()
	switch l.step {
	case opened:
		g.close(l)
	case serving, preparing, draining, flushing:
		l.hold = 0
		g.do(Cancel{l.id})
		g.close(l)
	}
}

// takeVolume takes what happened to a volume.
func (g *Gateway) takeVolume(ev Event) {
	switch ev := ev.(type) {
	case Opened:
		if l := g.volume(ev.Volume); l.step == opening && l.epoch == ev.Epoch {
			l.step = opened
			l.res = reservation{rev: ev.Reservation, data: ev.Data}
			if g.phase == fenced {
				g.close(l)
			}
			g.look(l)
		}
	case OpenFailed:
		if l := g.volume(ev.Volume); l.step == opening && l.epoch == ev.Epoch {
			l.step = idle
			l.failed = l.rec.Epoch == ev.Epoch
			g.look(l)
			g.forget(l)
		}
	case Prepared:
		if l := g.volume(ev.Volume); l.step == preparing {
			g.drain(l)
		}
	case Drained:
		if l := g.volume(ev.Volume); l.step == draining {
			l.step, l.cancel = flushing, 0
			g.do(Flush{l.id})
		}
	case Flushed:
		if l := g.volume(ev.Volume); l.step == flushing {
			g.close(l)
		}
	case Closed:
		if l := g.volume(ev.Volume); l.step == closing {
			l.step, l.refuse, l.cancel = idle, 0, 0
			g.look(l)
			g.forget(l)
		}
	case Failed:
		if l := g.volume(ev.Volume); l.admits() {
			l.failed = true
			g.look(l)
		}
	case Reserve:
		g.reserve(ev)
	case ReservationRead:
		g.reservationRead(ev)
	}
}

// due returns when the volume has something to do next.
func (l *local) due() Instant {
	w := never
	for _, t := range []Instant{l.retry, l.hold, l.refuse, l.cancel, l.res.retry} {
		if t != 0 {
			w = min(w, t)
		}
	}
	return w
}

// tickVolumes does what has become due.
func (g *Gateway) tickVolumes() {
	for _, l := range g.sortedTimed() {
		if l.hold != 0 && g.now >= l.hold {
			g.drain(l)
		}
		if l.refuse != 0 && g.now >= l.refuse {
			l.refuse = 0
			g.do(Refuse{l.id})
		}
		if l.cancel != 0 && g.now >= l.cancel {
			l.cancel = 0
			g.do(Cancel{l.id})
		}
		if l.retry != 0 && g.now >= l.retry {
			l.retry = 0
			g.look(l)
		}
		if l.res.retry != 0 && g.now >= l.res.retry {
			l.res.retry = 0
			g.do(ReadReservation{l.id})
		}
		if l.due() == never {
			delete(g.timed, l.id)
		}
	}
}

func (g *Gateway) sortedTimed() []*local {
	if len(g.timed) == 0 {
		return nil
	}
	l := make([]*local, 0, len(g.timed))
	for _, v := range g.timed {
		l = append(l, v)
	}
	slices.SortFunc(l, func(a, b *local) int { return compareIDs(a.id, b.id) })
	return l
}
