package blocktest

import (
	"sync"

	"sango/internal/block"
)

// maxHeld is how many requests a Gate tells of.
const maxHeld = 1024

// Gate is a device that can be made to hold its requests.
type Gate struct {
	inner block.Device

	mu      sync.Mutex // guards the fields below
	holding bool
	held    []*block.Request
	arrived chan struct{} // gets one token for each request held
}

// NewGate returns an open gate before inner, which it closes.
func NewGate(inner block.Device) *Gate { return &Gate{inner: inner} }

// Hold makes the device keep requests that may wait, 1024 at most, until
// Release. The channel tells of each.
func (g *Gate) Hold() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holding, g.arrived = true, make(chan struct{}, maxHeld)
	return g.arrived
}

// Release lets all requests go on, those that are held first.
func (g *Gate) Release() {
	g.mu.Lock()
	held := g.held
	g.holding, g.held = false, nil
	g.mu.Unlock()
	for _, r := range held {
		g.inner.Submit(r)
	}
}

// Info implements block.Device.
func (g *Gate) Info() block.Info { return g.inner.Info() }

// Close implements block.Device.
func (g *Gate) Close() error { return g.inner.Close() }

// Status implements block.Device.
func (g *Gate) Status(off, n int64, limit int) ([]block.Extent, error) {
	return g.inner.Status(off, n, limit)
}

// Submit implements block.Device.
func (g *Gate) Submit(r *block.Request) {
	g.mu.Lock()
	if g.holding {
		if r.Flags&block.NoWait != 0 {
			g.mu.Unlock()
			r.End(block.ErrWouldBlock)
			return
		}
		g.held = append(g.held, r)
		g.arrived <- struct{}{}
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	g.inner.Submit(r)
}
