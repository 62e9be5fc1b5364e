package mem

import (
	"math/bits"
	"sync"
)

const (
	// slabSize is a huge page of x86-64 and of arm64 with pages of 4 KiB.
	slabSize  = 2 << 20
	slabSlots = slabSize / chunkSize
	// areaSize is what is mapped at a time. Areas lie side by side and stay until
	// the end, so that the kernel keeps them as one: a process may have 65,530
	// mappings, and the Go runtime dies when it gets no more.
	areaSize = 64 << 20
	// spareSlots and spareShare bound what free slots keep from the kernel: at
	// most spareSlots, or one spareShare-th of what is in use.
	spareSlots = 2 * slabSlots
	spareShare = 4
)

// slab is the slots of one huge page.
type slab struct {
	mem     []byte
	free    uint32            // bit i: slot i is free
	owner   [slabSlots]*chunk // of the slots that are not
	leaving bool              // being emptied: in no list
	// neighbours in the list of the slabs that have as many free slots
	prev, next *slab
}

const allFree = 1<<slabSlots - 1

// taken returns how many slots are in use.
func (s *slab) taken() int { return slabSlots - bits.OnesCount32(s.free) }

// slot returns the memory of slot i.
func (s *slab) slot(i int) *[chunkSize]byte {
	return (*[chunkSize]byte)(s.mem[i*chunkSize : (i+1)*chunkSize])
}

// area is memory for slabs, outside of Go's heap.
type area struct {
	whole []byte // as it was mapped
	slabs []byte // the part that is aligned to slabSize
}

// source is where areas come from.
type source struct {
	grab   func() (area, error)
	forget func([]byte) // gives the memory of a slab back, not its addresses
	free   func(area)   // gives all of it back
}

// pool hands out the slots of a volume, so that they lie in as few slabs as
// possible: from the fullest slab that has one left, whatever their offset in
// the volume. What a slot holds at first is undefined.
//
// A pool knows nothing of what is in a slot and does not guard it: that is the
// lock of the chunk that owns it.
type pool struct {
	src    source
	moving sync.Mutex // held by who empties a slab

	// mu guards what follows, and the fields of slabs. It is taken last: no other
	// lock is waited for under it.
	mu    sync.Mutex
	areas []area
	fresh []byte           // the part of the last area that is not yet used
	given []*slab          // all free, their memory given back
	level [slabSlots]*slab // lists of slabs by taken(); the full ones are in none
	taken int              // slots in use
	held  int              // free slots of all slabs that are not in given
	shut  bool
}

func newPool(src source) *pool { return &pool{src: src} }

// take returns a slot for c, or nil when no memory of this kind is to be had.
func (p *pool) take(c *chunk) (*slab, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.pick()
	if s == nil {
		return nil, 0
	}
	p.unlink(s)
	i := bits.TrailingZeros32(s.free)
	s.free &^= 1 << i
	s.owner[i] = c
	p.link(s)
	p.taken++
	p.held--
	return s, i
}

// pick returns a slab in a list with a free slot.
func (p *pool) pick() *slab {
	for n := slabSlots - 1; n >= 0; n-- {
		if s := p.level[n]; s != nil {
			return s
		}
	}
	var s *slab
	switch n := len(p.given); {
	case p.shut:
		return nil
	case n > 0:
		s, p.given[n-1] = p.given[n-1], nil
		p.given = p.given[:n-1]
	default:
		if len(p.fresh) == 0 {
			a, err := p.src.grab()
			if err != nil {
				return nil
			}
			p.areas = append(p.areas, a)
			p.fresh = a.slabs
		}
		s = &slab{mem: p.fresh[:slabSize:slabSize], free: allFree}
		p.fresh = p.fresh[slabSize:]
	}
	p.held += slabSlots
	p.link(s)
	return s
}

// give takes slot i of s back, which its owner does not use any more, and gives
// the kernel what is too much. It reports whether more than that should go,
// but is scattered: then the caller, when it holds no lock, empties a slab.
func (p *pool) give(s *slab, i int) (scattered bool) {
	poison(s.slot(i)[:])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unlink(s)
	s.free |= 1 << i
	s.owner[i] = nil
	p.link(s)
	p.taken--
	p.held++
	p.trim()
	return p.excess()
}

// excess reports whether free slots keep too much memory.
func (p *pool) excess() bool { return p.held > max(spareSlots, p.taken/spareShare) }

// trim gives free slabs back to the kernel.
func (p *pool) trim() {
	for p.excess() && p.level[0] != nil {
		s := p.level[0]
		p.unlink(s)
		p.src.forget(s.mem)
		p.given = append(p.given, s)
		p.held -= slabSlots
	}
}

// leave takes the slab with the fewest slots in use out of its list, so that no
// more are taken from it. It returns nil when there is no need.
func (p *pool) leave() *slab {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.excess() {
		return nil
	}
	for _, s := range p.level {
		if s != nil {
			p.unlink(s)
			s.leaving = true
			return s
		}
	}
	return nil
}

// left ends leave: s should be empty now.
func (p *pool) left(s *slab) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.leaving = false
	p.link(s)
	p.trim()
}

// ownerOf returns who has slot i of s, or nil.
func (p *pool) ownerOf(s *slab, i int) *chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.owner[i]
}

func (p *pool) link(s *slab) {
	n := s.taken()
	if n == slabSlots || s.leaving {
		return
	}
	if s.next = p.level[n]; s.next != nil {
		s.next.prev = s
	}
	p.level[n] = s
}

func (p *pool) unlink(s *slab) {
	n := s.taken()
	if n == slabSlots || s.leaving {
		return
	}
	if s.prev == nil {
		p.level[n] = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
}

// close gives everything back. Nobody may use a slot any more.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.areas {
		p.src.free(a)
	}
	p.areas, p.fresh, p.given, p.level = nil, nil, nil, [slabSlots]*slab{}
	p.taken, p.held, p.shut = 0, 0, true
}
