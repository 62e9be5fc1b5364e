package model

import (
	"slices"

	"sango/internal/san"
)

// heartbeat sends one when it is time. It is guarded by my record, which
// changes only when I am over.
func (g *Gateway) heartbeat() {
	if g.beating || g.now < g.next {
		return
	}
	g.beating = true
	g.seq++
	g.suspects = slices.DeleteFunc(slices.Clone(g.suspects), g.view.gone)
	g.next = g.now + g.set.Beat
	g.propose(request{what: reqBeat}, []Guard{g.alive()},
		BeatRecord{ID: g.id, Incarnation: g.me.Incarnation, Seq: g.seq, Suspects: g.suspects, Leaving: g.phase == leaving})
}

// beaten takes the end of a heartbeat. The right counts from when it was sent:
// that is before anyone can have seen it.
func (g *Gateway) beaten(r request, o Outcome) {
	g.beating = false
	switch o {
	case Committed:
		from := r.sent
		if !g.set.has(rightFromSent) {
			from = g.now
		}
		g.until = max(g.until, from+g.set.TTL-g.set.Margin)
		g.checkRight()
	case Refused:
		if g.phase == joined || g.phase == leaving && !g.saysGoodbye() {
			g.fence()
		}
	}
}

// saysGoodbye reports whether the record by which it leaves is on its way: a
// heartbeat that comes after that is refused, and means nothing.
func (g *Gateway) saysGoodbye() bool {
	for _, r := range g.pending {
		if r.what == reqLeave {
			return true
		}
	}
	return false
}

// Right returns the instant at which the right to serve ends. It must be
// looked at right before each write is submitted, and each good status sent.
func (g *Gateway) Right() Instant {
	switch {
	case g.phase != joined && g.phase != leaving:
		return 0
	case g.set.TTL == 0 || !g.set.has(checkRight):
		return never
	}
	return g.until
}

// MayAnswer reports whether a good status may be sent now.
func (g *Gateway) MayAnswer(now Instant) bool { return now < g.Right() }

// MayWrite reports whether a write that was admitted under an epoch may be
// submitted now.
func (g *Gateway) MayWrite(now Instant, id san.UUID, e san.Epoch) bool {
	l := g.volumes[id]
	return l != nil && l.epoch == e && (l.admits() || l.step == draining || l.step == flushing) && g.MayAnswer(now)
}

// checkRight tells when the right comes or goes.
func (g *Gateway) checkRight() {
	if r := g.now < g.Right(); r != g.right {
		g.right = r
		if r {
			g.do(RightBack{})
		} else {
			g.do(RightLost{})
		}
	}
}
