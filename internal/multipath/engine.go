package multipath

import "time"

// engine is the pure part of a multipath device.
type engine struct {
	set settings
}

// reqState is what the engine keeps of a request.
type reqState struct {
	next, prev *request
}

// marginal says when a path is marginal.
type marginal struct {
	failures int           // so many
	window   time.Duration // within this time make a path marginal; 0: 5 in 60 s
	clear    time.Duration // until it was clean for so long; 0: 60 s
	factor   int           // its latency against the best of its group; 0: 10
	floor    time.Duration // a latency below this is never marginal; 0: 100 ms
}

// newEngine makes an engine at the instant 0.
func newEngine(s settings) *engine { return &engine{set: s} }

// step takes ev, which happened at now, and appends to acts what is to be done.
func (e *engine) step(now instant, ev event, acts []action) []action { return acts }

// wake tells when the engine wants an evTick, if it does.
func (e *engine) wake() (instant, bool) { return 0, false }

// version changes whenever what view returns has changed in anything but
// counters and load.
func (e *engine) version() uint64 { return 0 }

// view returns a copy of what the engine knows.
func (e *engine) view() engineView { return engineView{} }
