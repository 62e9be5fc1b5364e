package model

// reopening is what the coordinator remembers of a volume that fails. A new
// coordinator remembers nothing of it, and begins anew.
type reopening struct {
	tries int               // that failed, one soon after the other
	last  Instant           // when the last one did
	on    map[GatewayID]int // how many of them where
}

// failed notes that a gateway has given a volume up, since it could not open it
// or its medium failed. A gateway that opens it next may fail as well, and what
// is lost is lost for all: so the tries become rare.
func (c *Coordinator) failed(v *volume) {
	r := &v.reopen
	if r.tries == 0 || c.now >= r.last+c.pause(r.tries)+c.set.ReopenMost {
		*r = reopening{on: map[GatewayID]int{}}
	}
	r.tries++
	r.last = c.now
	r.on[v.rec.Failed]++
	// Where it is served elsewhere it stays: a preferred gateway that can't open
	// it would stop it again and again.
	v.stay = max(v.stay, c.now+c.set.Sticky)
}

// pause is the one before the try that follows n failed ones.
func (c *Coordinator) pause(n int) Instant {
	if n <= 0 {
		return 0
	}
	return min(c.set.Reopen<<min(n-1, 16), c.set.ReopenMost)
}

// mayOpen tells when a volume that failed may be opened by a gateway: by another
// one at once, the first time.
func (c *Coordinator) mayOpen(v *volume, to Member) Instant {
	r := &v.reopen
	if v.rec.State != Free || r.tries == 0 {
		return 0
	}
	n := r.tries
	if r.on[to.Gateway] == 0 {
		n--
	}
	return r.last + c.pause(n)
}

// ordered returns to whom the administrator wants a volume to go that nobody
// has. He need not wait: he may have mended what was wrong.
func (c *Coordinator) ordered(v *volume) (Member, bool) {
	a := v.asked
	if a == nil || a.Asked != Administrator {
		return Member{}, false
	}
	v.asked = nil
	return c.candidate(a.To)
}
