package model

// plan starts the gateways and lays out the faults of the history.
func (w *world) plan() {
	for _, p := range w.procs {
		w.after(w.span(0, Second), p.start)
	}
	for _, f := range w.h.Faults {
		w.after(f.At, func() { w.inject(f) })
	}
}

// inject makes a fault happen.
func (w *world) inject(f fault) {
	p := w.procs[f.Target%len(w.procs)]
	v := w.volumes[f.Target%len(w.volumes)]
	w.trace("fault: %v %s for %.1f s", f.Kind, p.id, float64(f.Length)/1e9)
	switch f.Kind {
	case faultKill:
		w.restart(p, f.Length)
	case faultStop:
		if !p.dead {
			p.stop(f.Length, false)
		}
	case faultClock:
		if !p.dead {
			p.stop(f.Length, w.h.Clocks)
		}
	case faultCut:
		w.cut(p, f.Length)
	case faultOutage:
		for _, q := range w.procs {
			w.cut(q, f.Length)
		}
	case faultPeers:
		for _, q := range w.procs {
			if q != p {
				w.separate(p, q, f.Length)
			}
		}
	case faultSplit:
		for i, a := range w.procs {
			for j, b := range w.procs {
				if i < j && (i+f.Target)%2 != (j+f.Target)%2 {
					w.separate(a, b, f.Length)
				}
			}
		}
	case faultElect:
		w.elect(true)
	case faultDrain:
		w.store.put(DrainRecord{p.id})
		w.after(f.Length, func() { w.undrain(p.id) })
	case faultLeave:
		if !p.dead {
			p.do(p.run, func() { p.gateway(Leave{}) })
			w.after(8*Second+f.Length, func() { w.restart(p, 0) })
		}
	case faultLossy:
		p.lossy = true
		w.after(f.Length, func() { p.catchUp() })
	case faultMedium:
		p.do(p.run, func() { p.gateway(Failed{v}) })
	case faultRemove:
		p.kill()
		w.remove(p)
		w.after(f.Length, func() { w.restart(p, 0) })
	case faultAsk:
		for _, q := range w.procs {
			if q.coordinator {
				q.do(q.run, func() { q.coordinate(MoveAsked{v, p.id, "x"}) })
			}
		}
	}
}

func (w *world) undrain(id GatewayID) {
	if k := (DrainRecord{id}).Key(); w.store.recs[k].rev != 0 {
		w.store.del(k)
	}
}

// restart kills a process and starts it again.
func (w *world) restart(p *proc, d Instant) {
	p.kill()
	w.after(d, func() {
		if p.dead {
			p.start()
		}
	})
}

func (w *world) cut(p *proc, d Instant) {
	p.cut = true
	w.after(d, func() {
		p.cut = false
		p.catchUp()
	})
}

// catchUp tells a process what it missed.
func (p *proc) catchUp() {
	if p.lossy && !p.cut && !p.dead {
		p.resync()
	}
	if p.dead {
		p.lossy = false
	}
}

func (w *world) separate(a, b *proc, d Instant) {
	k := pair(a.id, b.id)
	w.apart[k]++
	w.after(d, func() { w.apart[k]-- })
}

// remove has an administrator remove a gateway as soon as it is dead.
func (w *world) remove(p *proc) {
	g, ok := w.store.recs[GatewayRecord{ID: p.id}.Key()].rec.(GatewayRecord)
	switch {
	case !ok || !p.dead:
	case g.Life == Dead:
		g.Life = Removed
		w.store.put(g)
	case g.Life == Alive:
		w.after(100*Millisecond, func() { w.remove(p) })
	}
}

// heal ends the faults, all of which end by themselves but for these, and has
// a person confirm that dead gateways are off.
func (w *world) heal() {
	w.trace("healed")
	w.h.Slow, w.h.Answers = 0, 0
	w.h.Late, w.h.Lost, w.h.FenceSlow, w.h.FenceFails, w.h.OpenFails = 0, 0, 0, 0, 0
	w.noFence = false
	for _, p := range w.procs {
		w.undrain(p.id)
		if p.dead {
			p.start()
		}
	}
	w.confirm()
}

// confirm says of every incarnation that is over that it is off: so it is.
func (w *world) confirm() {
	for _, p := range w.procs {
		g, ok := w.store.recs[GatewayRecord{ID: p.id}.Key()].rec.(GatewayRecord)
		if !ok {
			continue
		}
		upto := g.Incarnation
		if g.Life == Alive {
			upto--
		}
		f, _ := w.store.recs[FenceRecord{ID: p.id}.Key()].rec.(FenceRecord)
		if f.Upto < upto {
			for i := f.Upto + 1; i <= upto; i++ {
				w.fence(Member{p.id, i}, volumeID{})
			}
			w.store.put(FenceRecord{p.id, upto})
		}
	}
}

// settled looks whether every volume is served, by a gateway with the right
// to, and nothing has moved of late.
func (w *world) settled() {
	for _, v := range w.volumes {
		o := w.store.owner(v)
		if o.State != Active || w.store.gone(o.Owner) {
			w.fail("%s is not served: %s", name(v), showOwner(o))
			return
		}
		p := w.proc(o.Owner.Gateway)
		if !p.g.MayWrite(p.clock(), v, o.Epoch) {
			w.fail("%s is active on %v, which does not serve it", name(v), o.Owner)
		}
	}
	if w.now-w.store.last < 15*Second {
		w.fail("volumes still move: %v", w.store.moves)
	}
	if n := w.store.moves[ReasonDead]; n > w.store.lost {
		w.fail("%d moves for death, but %d volumes lost their owner", n, w.store.lost)
	}
}
