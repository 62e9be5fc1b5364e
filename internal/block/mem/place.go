package mem

// Where the bytes of a chunk lie. One whose first write covers it as a whole
// gets a slot of a huge page, which makes copies to and from it faster. Others
// lie in Go's heap, where pages that were never written take nothing: a volume
// with a block here and there costs those blocks, not huge pages full of
// nothing. They stay there when they fill up: moving them costs a copy, and
// while the garbage collector has not seen what they leave, twice the memory.
// One whose blocks are all zero has no bytes at all.
//
// Why no reader or writer sees a slot that is not its own: data and home are
// guarded by the lock of the chunk. A slot goes back to the pool in two places,
// drop and move, both under that lock held for writing, after data was changed.
// So whoever holds the lock, shared or not, has the slot that data points into
// to itself, and may not use data after unlocking. The pool in turn gives a slot
// to one chunk at a time. Close gives up the memory when all requests have left
// the gauge.

// hugeFrom is how many bytes a volume takes before it uses slabs: small ones
// would waste most of theirs.
const hugeFrom = 16 << 20

// place gives c, which is locked for writing, memory to write to. Where whole,
// the caller overwrites all of it.
func (d *Device) place(c *chunk, whole bool) {
	if c.data != nil || whole && d.huge(c) {
		return
	}
	c.data = new([chunkSize]byte)
}

// huge makes data a slot, with undefined contents, where that can be.
func (d *Device) huge(c *chunk) bool { return d.used.Load() >= d.hugeFrom && d.take(c) }

func (d *Device) take(c *chunk) bool {
	s, i := d.pool.take(c)
	if s == nil {
		return false
	}
	c.home, c.slot, c.data = s, uint8(i), s.slot(i)
	return true
}

// forget takes the bytes of c away, which is locked for writing. It reports
// whether the memory of slabs is scattered, see pool.give.
func (d *Device) forget(c *chunk) bool {
	s := c.home
	c.home, c.data = nil, nil
	return s != nil && d.pool.give(s, int(c.slot))
}

// gather empties a slab, so that its memory can go back to the kernel: without
// it, a volume that is discarded here and there would keep all of it. A slab is
// more than the caller has added, so one is enough. Callers take turns: one that
// did it for all would go on for as long as others discard, and miss what they
// add in the end. The caller holds no lock.
func (d *Device) gather() {
	d.pool.moving.Lock()
	defer d.pool.moving.Unlock()
	s := d.pool.leave()
	if s == nil {
		return
	}
	for i := range slabSlots {
		if c := d.pool.ownerOf(s, i); c != nil {
			d.move(c, s, i)
		}
	}
	d.pool.left(s)
}

// move moves c to another slot if it still is in slot i of s.
func (d *Device) move(c *chunk, s *slab, i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.home != s || int(c.slot) != i {
		return
	}
	if old := c.data; d.take(c) {
		*c.data = *old
		d.pool.give(s, i)
	}
}
