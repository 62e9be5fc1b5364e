package model

// effect does what the gateway machine says.
func (p *proc) effect(e Effect) {
	w := p.w
	switch e := e.(type) {
	case Propose:
		p.propose(e, func(a Answered) { p.gateway(a) })
	case Open:
		p.open(e)
	case Serve:
		if s := p.vols[e.Volume]; s != nil {
			s.admits = true
			w.devices[e.Volume].serve(e.Epoch)
			p.load(e.Volume, s)
		}
	case Prepare: // commands go on; now and then it does not end in time
		d := max(w.delay(), w.h.Prepare)
		if w.chance(20) {
			d = w.span(0, 5*Second)
		}
		p.later(d, func() { p.gateway(Prepared(e)) })
	case Hold:
		if s := p.vols[e.Volume]; s != nil {
			s.admits, s.drain = false, true
			p.drained(e.Volume, s)
		}
	case Cancel:
		// What waits for a worker ends; what was submitted goes on.
	case Flush:
		p.later(w.delay(), func() { p.gateway(Flushed(e)) })
	case Close:
		s := p.vols[e.Volume]
		delete(p.vols, e.Volume)
		p.closed(e.Volume, s)
	case Stop:
		if s := p.vols[e.Volume]; s != nil {
			s.stopped = true
		}
	case Resume:
		if s := p.vols[e.Volume]; s != nil {
			s.stopped, s.data = false, e.Data
		}
	case ReadReservation:
		p.read(e.Volume)
	case Reserved:
		if s := p.vols[e.Volume]; s != nil && s.pending != nil {
			s.pending(e)
		}
	case Fenced:
		for _, s := range p.vols {
			s.admits = false
		}
	case Rejoin:
		p.begin()
		if w.plain { // as the runtime does; without it more happens
			p.later(300*Millisecond, func() { p.gateway(Start{}) })
			break
		}
		p.gateway(Start{})
	case Left:
		p.kill()
	}
}

// closed ends when nothing that was under way can touch the medium any more.
func (p *proc) closed(id volumeID, s *served) {
	if s != nil {
		s.admits = false
		if s.flight > 0 {
			p.later(10*Millisecond, func() { p.closed(id, s) })
			return
		}
	}
	p.later(p.w.delay(), func() { p.gateway(Closed{id}) })
}

// open opens a volume: where the driver fences, nothing of lower epochs lands
// from then on. It also repairs what a crash left behind: a write to the
// medium, for which the right is looked at as for any other.
func (p *proc) open(e Open) {
	w := p.w
	p.later(w.delay(), func() {
		fail := func() { p.gateway(OpenFailed(e)) }
		d := w.devices[e.Volume]
		if w.chance(w.h.OpenFails) || w.noOpen[p.id] || !p.g.MayAnswer(p.clock()) || d.blocked[p.g.Member()] || e.Epoch < d.least {
			p.later(Millisecond, fail)
			return
		}
		if w.h.R2 {
			d.least = e.Epoch
		}
		d.submit(p.g.Member(), e.Epoch, func(landed bool) {
			if !landed {
				p.later(Millisecond, fail)
				return
			}
			p.later(w.delay(), func() {
				rec := w.store.recs[ReservationRecord{Volume: e.Volume}.Key()]
				r, _ := rec.rec.(ReservationRecord)
				p.vols[e.Volume] = &served{epoch: e.Epoch, data: r.Data}
				p.gateway(Opened{e.Volume, e.Epoch, rec.rev, r.Data})
			})
		})
	})
}

// read is a linearizable read of a volume's reservations.
func (p *proc) read(id volumeID) {
	p.later(p.w.delay(), func() {
		if p.cut {
			p.later(Second, func() { p.gateway(ReservationRead{Volume: id}) })
			return
		}
		e := p.w.store.recs[ReservationRecord{Volume: id}.Key()]
		r, _ := e.rec.(ReservationRecord)
		p.later(p.w.delay(), func() { p.gateway(ReservationRead{id, true, e.rev, r.Data}) })
	})
}

// drained tells when no command is under way any more.
func (p *proc) drained(id volumeID, s *served) {
	if s.drain && s.flight == 0 {
		s.drain = false
		p.later(Millisecond, func() { p.gateway(Drained{id}) })
	}
}

// load has hosts send commands as long as the volume is open here.
func (p *proc) load(id volumeID, s *served) {
	if p.vols[id] != s || p.w.quiet {
		return
	}
	p.later(p.w.span(5*Millisecond, 200*Millisecond), func() { p.load(id, s) })
	if !s.admits || s.stopped {
		return
	}
	p.reservations(id, s)
	switch n := p.w.rng.IntN(20); {
	case n == 0 && s.pending == nil:
		data := p.w.unique()
		s.flight++
		s.pending = func(r Reserved) {
			s.pending = nil
			s.flight--
			if r.Outcome == Committed {
				s.data = data
			}
			p.drained(id, s)
		}
		p.gateway(Reserve{id, data})
	case n < 8:
		p.readBlock(id, s)
	default:
		p.writeBlock(id, s)
	}
}

// reservations looks whether those that the process acts on are in force.
func (p *proc) reservations(id volumeID, s *served) {
	r, _ := p.w.store.recs[ReservationRecord{Volume: id}.Key()].rec.(ReservationRecord)
	if s.pending == nil && p.w.devices[id].reads(p.g.Member(), s.epoch) && p.g.MayWrite(p.clock(), id, s.epoch) && r.Data != s.data {
		p.w.fail("%s: %v acts on the reservations %q, the store has %q", name(id), p.g.Member(), s.data, r.Data)
	}
}

// writeBlock is a command that writes: admitted, looked at again right before
// the medium, and before it is answered.
func (p *proc) writeBlock(id volumeID, s *served) {
	d, m := p.w.devices[id], p.g.Member()
	s.flight++
	end := func() {
		s.flight--
		p.drained(id, s)
	}
	p.later(p.w.span(0, 20*Millisecond), func() {
		may := p.g.MayWrite(p.clock(), id, s.epoch)
		submit := func() {
			if !may {
				end()
				return
			}
			d.submit(m, s.epoch, func(landed bool) {
				p.later(Millisecond, func() {
					if landed && p.g.MayAnswer(p.clock()) {
						d.answered(s.epoch)
					}
					end()
				})
			})
		}
		if p.w.h.R2 { // the process may be stopped between the check and the medium
			p.later(p.w.span(0, 2*Millisecond), submit)
			return
		}
		submit()
	})
}

func (p *proc) readBlock(id volumeID, s *served) {
	d, m, came := p.w.devices[id], p.g.Member(), p.w.now
	s.flight++
	p.later(p.w.span(0, 20*Millisecond), func() {
		if d.reads(m, s.epoch) && p.g.MayAnswer(p.clock()) {
			d.read(m, s.epoch, came)
		}
		s.flight--
		p.drained(id, s)
	})
}
