package block

import (
	"sync"
	"sync/atomic"
)

// Gauge counts the requests that are under way in a device, so that its Close
// can wait for them. It costs two atomic additions a request. The zero value is
// open.
type Gauge struct {
	n    atomic.Int64 // requests, and gaugeShut
	once sync.Once
	idle chan struct{} // gets a token when none is left after Shut
}

const gaugeShut = 1 << 62

// Enter counts one more request, or returns false after Shut.
func (g *Gauge) Enter() bool {
	if g.n.Add(1)&gaugeShut == 0 {
		return true
	}
	g.Leave()
	return false
}

// Leave counts one request less, when its Done has returned.
func (g *Gauge) Leave() {
	if g.n.Add(-1) == gaugeShut {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

// Open reports whether Shut has not been called.
func (g *Gauge) Open() bool { return g.n.Load()&gaugeShut == 0 }

// Shut lets nothing in from now on and waits until all have left. It returns
// false, at once, when it was called before.
func (g *Gauge) Shut() bool {
	g.once.Do(func() { g.idle = make(chan struct{}, 1) })
	old := g.n.Or(gaugeShut)
	if old&gaugeShut != 0 {
		return false
	}
	if old > 0 {
		<-g.idle
	}
	return true
}
