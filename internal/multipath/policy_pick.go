package multipath

import "time"

// inUse returns the rank whose paths carry the I/O now: the best that has a
// usable path. One that has come back only counts after the failback delay, as
// long as others serve.
func (e *engine) inUse() int {
	settled, best := unranked, unranked
	for _, p := range e.paths {
		if !p.usable() {
			continue
		}
		r := p.rank()
		best = min(best, r)
		if p.settledAt <= e.now {
			settled = min(settled, r)
		}
	}
	if settled >= rankMarginal {
		return best
	}
	return settled
}

// pick chooses the path for r by the policy, or nil when none takes it now.
func (e *engine) pick(r *request) *route {
	rank := e.inUse()
	if rank == unranked {
		return nil
	}
	if e.set.policy == Failover {
		p := e.first(rank)
		if p.inFlight() >= p.limit {
			return nil
		}
		return p
	}
	var best *route
	var bestCost float64
	fallback := e.fastest(rank)
	n := uint32(len(e.paths))
	at := e.turn
	for i := range n {
		k := (e.turn + i) % n
		p := e.paths[k]
		if !p.usable() || p.rank() != rank || p.inFlight() >= p.limit {
			continue
		}
		var cost float64
		switch e.set.policy {
		case QueueLength:
			cost = float64(p.inFlight())
		case ServiceTime:
			cost = p.serviceTime(e.now, fallback, r.work)
		}
		if best == nil || cost < bestCost {
			best, bestCost, at = p, cost, k
		}
	}
	if best != nil {
		e.turn = (at + 1) % n
	}
	return best
}

// first returns the path of rank that the policy failover uses: one of a
// preferred group before others, one that never failed before one that came
// back lately, then by the order in which they were added.
func (e *engine) first(rank int) *route {
	var best *route
	var bestScore int
	for _, p := range e.paths {
		if !p.usable() || p.rank() != rank {
			continue
		}
		score := 0
		if p.settledAt <= e.now {
			score += 2
		}
		if p.prefer {
			score++
		}
		if best == nil || score > bestScore {
			best, bestScore = p, score
		}
	}
	return best
}

// serviceTime estimates the time until r, of that much work, would be done on
// p: the latency that p shows times the work in flight, r included.
//
// dm-service-time divides the bytes in flight by a throughput that a person
// has to configure. Throughput can be measured only on a path that is busy: a
// path that got little would look slow, and go on getting little. Latency can
// be measured on every command. It grows with the commands in flight, so that
// it counts twice against a path which has many: that makes the balance
// stiffer, and is what keeps two equal paths equally loaded.
//
// A path that was idle for a time is as good as the best: it gets a request,
// and its latency is known again.
func (p *route) serviceTime(now instant, fallback time.Duration, work int64) float64 {
	lat := p.latency
	if !p.fresh(now) {
		lat = fallback
	}
	return float64(lat) * float64(p.inst.bytes+work)
}

// fresh reports whether p's latency still says something.
func (p *route) fresh(now instant) bool {
	return p.latAt > 0 && (p.inFlight() > 0 || now-p.latAt <= staleAfter)
}

// fastest returns the lowest latency in rank, at least 1.
func (e *engine) fastest(rank int) time.Duration {
	var best time.Duration
	if e.set.policy != ServiceTime {
		return 0
	}
	for _, p := range e.paths {
		if p.usable() && p.rank() == rank && p.fresh(e.now) && (best == 0 || p.latency < best) {
			best = p.latency
		}
	}
	return max(best, 1)
}
