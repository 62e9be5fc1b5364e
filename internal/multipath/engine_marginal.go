package multipath

import "time"

// marginal says when a path counts as marginal: it is used only where no other
// path is left, until it was clean for a time.
type marginal struct {
	failures int           // so many failures; 0: 5
	window   time.Duration // within this time make a path marginal; 0: 1 min
	clear    time.Duration // until it was clean for so long; 0: 1 min
	factor   int           // or a latency so many times the best of its group; 0: 10
	floor    time.Duration // and above this; 0: 100 ms
}

// health is what a path's failures and latencies say.
type health struct {
	fails    []instant // the last ones, oldest first
	marginal bool
	clearAt  instant // the end of marginal, unless something happens
	slow     int     // checks in a row that found the path slow

	latency  time.Duration // of commands, smoothed
	latAt    instant       // of the last sample
	samples  int           // since the last check
	checkLat time.Duration // of the last TEST UNIT READY
}

// Latencies.
const (
	smooth     = 8           // a sample weighs 1/smooth
	staleAfter = time.Second // a latency that old says nothing about an idle path
	minSamples = 16          // between two checks, to call a path slow
	slowChecks = 3           // in a row make a path marginal
)

// measure takes the latency of a command.
func (h *health) measure(now instant, d time.Duration) {
	if h.latAt == 0 || now-h.latAt > staleAfter {
		h.latency = d
	} else {
		h.latency += (d - h.latency) / smooth
	}
	h.latency = max(h.latency, 1)
	h.latAt = now
	h.samples++
}

// blame notes a failure of p.
func (e *engine) blame(p *route, err error) {
	p.note(e.now, err)
	if p.removing || e.stopped {
		return
	}
	m := &e.set.marginal
	if len(p.fails) == m.failures {
		copy(p.fails, p.fails[1:])
		p.fails = p.fails[:len(p.fails)-1]
	}
	p.fails = append(p.fails, e.now)
	if p.marginal || len(p.fails) == m.failures && e.now-p.fails[0] <= m.window {
		e.shun(p)
	}
}

// shun makes p marginal, or lets it be for longer.
func (e *engine) shun(p *route) {
	p.marginal, p.slow = true, 0
	p.clearAt = e.now + e.set.marginal.clear
	if p.state == PathUp {
		e.become(p, PathMarginal)
	}
}

// clear ends p's being marginal.
func (e *engine) clear(p *route) {
	p.marginal = false
	p.fails = p.fails[:0]
	if p.state == PathMarginal {
		p.settledAt = e.now // it was watched for long enough
		e.become(p, PathUp)
	}
}

// compare looks whether p is much slower than the best path of its group. A
// marginal path carries no commands; there the checks have to do.
func (e *engine) compare(p *route) {
	m := &e.set.marginal
	var best, bestCheck time.Duration
	for _, o := range e.paths {
		if o == p || !o.usable() || o.access != p.access {
			continue
		}
		if o.latAt > 0 && o.latAt+2*e.set.check >= e.now && (best == 0 || o.latency < best) {
			best = o.latency
		}
		if o.checkLat > 0 && (bestCheck == 0 || o.checkLat < bestCheck) {
			bestCheck = o.checkLat
		}
	}
	far := func(d, best time.Duration) bool {
		return best > 0 && d > m.floor && d > time.Duration(m.factor)*best
	}
	enough := p.samples >= minSamples
	p.samples = 0
	switch {
	case p.marginal:
		if far(p.checkLat, bestCheck) {
			e.shun(p)
		}
	case !enough || !far(p.latency, best):
		p.slow = 0
	default:
		if p.slow++; p.slow >= slowChecks {
			e.shun(p)
		}
	}
}
