package model

// reservation is the record of a volume's reservations as its owner has it
// (R5). A change whose outcome is unknown stops the volume: it may have been
// made, and may even be made later. Reading alone does not settle that: the
// transaction could still be on its way. A write does, since it takes away
// the revision that the lost one is guarded by.
type reservation struct {
	rev   Revision
	data  string
	state reserving
	want  string // being written
	retry Instant
}

type reserving uint8

const (
	settled  reserving = iota
	writing            // a change is under way
	unknown            // being read
	settling           // what was read is being written again
)

// forget ends what this gateway has to do with the reservations: the volume
// goes, and its next owner reads them.
func (r *reservation) forget() { *r = reservation{} }

func (g *Gateway) reserve(ev Reserve) {
	l := g.volume(ev.Volume)
	if !l.admits() || l.res.state != settled || g.phase != joined {
		g.do(Reserved{ev.Volume, Refused})
		return
	}
	l.res.state, l.res.want = writing, ev.Data
	g.writeReservation(l)
}

// writeReservation proposes the record that is wanted: under the epoch of this
// owner, in place of the record that is known.
func (g *Gateway) writeReservation(l *local) {
	rec := ReservationRecord{Volume: l.id, Epoch: l.epoch, Data: l.res.want}
	guards := []Guard{{rec.Key(), l.res.rev}}
	if g.set.has(guardEpoch) {
		guards = append(guards, Guard{l.rec.Key(), l.rev})
	}
	g.propose(request{what: reqReservation, vol: l, write: l.res.state == writing, epoch: l.epoch}, guards, rec)
}

func (g *Gateway) reservationAnswered(l *local, r request, a Answered) {
	current := l.admits() && l.epoch == r.epoch && g.phase != fenced
	if a.Outcome == Committed && current {
		l.res.rev, l.res.data = a.Rev, l.res.want
		if l.res.state = settled; !r.write {
			g.do(Resume{l.id, l.res.data})
		}
	}
	stops := a.Outcome != Committed && current && g.set.has(stopUnknown)
	if r.write {
		if stops { // before anybody can ask what is reserved now
			g.do(Stop{l.id})
		}
		g.do(Reserved{l.id, a.Outcome})
	}
	switch {
	case a.Outcome == Committed || !current:
	case !stops:
		l.res.state = settled
	default:
		// Refused, the record is not the one that is known here: the same.
		if l.res.state = unknown; r.write {
			g.do(ReadReservation{l.id})
		} else {
			g.readAgain(l)
		}
	}
}

func (g *Gateway) readAgain(l *local) {
	l.res.retry = g.now + g.set.Retry
	g.timed[l.id] = l
}

func (g *Gateway) reservationRead(ev ReservationRead) {
	l := g.volume(ev.Volume)
	if !l.admits() || l.res.state != unknown {
		return
	}
	if !ev.OK {
		g.readAgain(l)
		return
	}
	l.res.rev, l.res.want = ev.Rev, ev.Data
	if !g.set.has(settleByWrite) {
		l.res.state, l.res.data = settled, ev.Data
		g.do(Resume{l.id, ev.Data})
		return
	}
	l.res.state = settling
	g.writeReservation(l)
}
