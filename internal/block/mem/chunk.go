package mem

import (
	"math/bits"
	"sync"

	"sango/internal/block"
)

// chunk is 64 KiB of the volume. It fills one cache line, so that lock, state
// and address of the data come with one miss.
type chunk struct {
	mu   sync.RWMutex     // guards all fields
	data *[chunkSize]byte // nil: all zeros; see place.go for where it lies
	home *slab            // nil: data is in Go's heap
	// have tells which physical blocks are allocated. Blocks without a bit hold
	// zeros in data.
	have [bitmapSize]uint64
	slot uint8 // of home
	gone bool  // taken out of the index: look again
}

// span calls f for the bits [from, to) as word index and mask.
func span(from, to int, f func(word int, mask uint64)) {
	for w := from / 64; w <= (to-1)/64 && from < to; w++ {
		mask := ^uint64(0)
		if w == from/64 {
			mask &= ^uint64(0) << (from % 64)
		}
		if w == (to-1)/64 {
			mask &= ^uint64(0) >> (63 - (to-1)%64)
		}
		f(w, mask)
	}
}

func (c *chunk) set(from, to int) {
	span(from, to, func(w int, m uint64) { c.have[w] |= m })
}

func (c *chunk) clear(from, to int) {
	span(from, to, func(w int, m uint64) { c.have[w] &^= m })
}

func (c *chunk) empty() bool {
	var all uint64
	for _, w := range c.have {
		all |= w
	}
	return all == 0
}

// run returns how many blocks from bit from on, up to bit to, are in the same
// state, and whether they are allocated.
func (c *chunk) run(from, to int) (n int, have bool) {
	have = c.have[from/64]>>(from%64)&1 != 0
	at := from
	for at < to {
		w := c.have[at/64] >> (at % 64)
		if have {
			w = ^w
		}
		room := 64 - at%64
		same := min(bits.TrailingZeros64(w), room)
		at += same
		if same < room {
			break
		}
	}
	return min(at, to) - from, have
}

// slot returns the index entry of the chunk with number i, or nil when it has
// none and make is false.
func (d *Device) slot(i int64, make bool) *atomicChunk {
	root := &d.root[i/(fanout*fanout)]
	n := root.Load()
	if n == nil {
		if !make {
			return nil
		}
		root.CompareAndSwap(nil, new(node))
		n = root.Load()
	}
	mid := &n[i/fanout%fanout]
	l := mid.Load()
	if l == nil {
		if !make {
			return nil
		}
		mid.CompareAndSwap(nil, new(leaf))
		l = mid.Load()
	}
	return &l[i%fanout]
}

// at returns chunk i, or nil where nothing is allocated.
func (d *Device) at(i int64) *chunk {
	s := d.slot(i, false)
	if s == nil {
		return nil
	}
	return s.Load()
}

// grab returns chunk i, made if need be, locked for writing. A new one has no
// bytes: see place.
func (d *Device) grab(r *block.Request, i int64) (*chunk, error) {
	s := d.slot(i, true)
	for {
		c := s.Load()
		if c == nil {
			if !d.charge() {
				return nil, block.Fail(r, block.NoSpace, nil)
			}
			c = new(chunk)
			if !s.CompareAndSwap(nil, c) {
				d.used.Add(-chunkSize)
				continue
			}
		}
		c.mu.Lock()
		if !c.gone {
			return c, nil
		}
		c.mu.Unlock()
	}
}

// charge accounts for one more chunk, unless the limit forbids it.
func (d *Device) charge() bool {
	if now := d.used.Add(chunkSize); d.opt.Limit > 0 && now > d.opt.Limit {
		d.used.Add(-chunkSize)
		return false
	}
	return true
}

// drop takes c, which is locked and empty, out of the index. It reports whether
// gather is due when c is unlocked.
func (d *Device) drop(i int64, c *chunk) (scattered bool) {
	c.gone = true
	d.slot(i, false).CompareAndSwap(c, nil)
	d.used.Add(-chunkSize)
	return d.forget(c)
}
