package multipath

// version changes whenever what view returns has changed in anything but
// counters and load.
func (e *engine) version() uint64 { return e.ver }

// view returns a copy of what the engine knows.
func (e *engine) view() engineView {
	v := engineView{
		identity: e.set.identity, serving: !e.noPath && !e.gated() && !e.stopped, noPath: e.noPath, since: e.since,
		requests: e.count, waiting: e.ready.n + e.paused.n,
		submitted: e.submitted, retries: e.retries, fences: e.fences, quiesced: e.quiesced, refused: e.refused,
		reboots: e.cache.reboots,
	}
	for _, in := range e.ended {
		v.waiting += in.waiting.n
		if in.dirty() {
			v.unfenced++
		}
	}
	rank := e.inUse()
	for _, p := range e.paths {
		pv := pathView{
			id: p.id, state: p.state, usable: p.usable(), chosen: p.usable() && p.rank() == rank,
			fence: p.fence, alua: p.alua, group: p.group, access: p.access, prefer: p.prefer, since: p.since,
			inFlight: p.inFlight(), depth: p.limit, latency: p.latency,
			sent: p.sent, errors: p.errors, losses: p.losses, lastErr: p.lastErr, lastAt: p.lastAt,
		}
		if p.inst != nil {
			pv.bytes = p.inst.bytes
			pv.login, pv.named = p.inst.login, p.inst.named
		}
		v.paths = append(v.paths, pv)
	}
	return v
}
