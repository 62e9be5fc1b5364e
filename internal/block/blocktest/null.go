package blocktest

import "sango/internal/block"

// Null is a device that does nothing, at once: for measuring what stands on a
// device. Reads leave the buffers as they are.
type Null struct {
	// Hold keeps requests until Release instead. It and what is held belong to
	// one goroutine.
	Hold bool

	held []*block.Request
	info block.Info
}

// NewNull returns a Null of size bytes, with blocks of 512 bytes in physical
// ones of 4096.
func NewNull(size int64) *Null {
	return &Null{info: block.Info{
		Size: size, BlockSize: 512, PhysicalBlock: 4096, Caps: block.Caps{FUA: block.Native, Async: true},
	}}
}

// Info implements block.Device.
func (n *Null) Info() block.Info { return n.info }

// Submit implements block.Device.
func (n *Null) Submit(r *block.Request) {
	if n.Hold {
		n.held = append(n.held, r)
		return
	}
	r.End(nil)
}

// Held returns how many requests are held.
func (n *Null) Held() int { return len(n.held) }

// Release ends what is held, oldest first, and what comes to be held meanwhile.
func (n *Null) Release() {
	for len(n.held) > 0 {
		r := n.held[0]
		n.held = append(n.held[:0], n.held[1:]...)
		r.End(nil)
	}
}

// Status implements block.Device: everything is allocated.
func (n *Null) Status(off, l int64, _ int) ([]block.Extent, error) {
	return []block.Extent{{Off: off, Len: l}}, nil
}

// Close implements block.Device.
func (n *Null) Close() error { return nil }
