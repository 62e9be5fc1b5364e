package mem

import (
	"sync/atomic"

	"sango/internal/block"
)

type atomicChunk = atomic.Pointer[chunk]

// vec walks an I/O vector.
type vec struct {
	bufs [][]byte
	at   int // offset in bufs[0]
}

// next returns the next piece, at most n bytes long, and steps past it. The
// caller knows that n bytes are left.
func (v *vec) next(n int) []byte {
	for v.at == len(v.bufs[0]) {
		v.bufs, v.at = v.bufs[1:], 0
	}
	b := v.bufs[0][v.at:]
	b = b[:min(n, len(b))]
	v.at += len(b)
	return b
}

func (d *Device) read(r *block.Request) {
	v := vec{bufs: r.Bufs}
	off, end := r.Off, r.Off+r.Len
	for off < end {
		in := int(off % chunkSize)
		n := int(min(end-off, int64(chunkSize-in)))
		c := d.at(off / chunkSize)
		var data *[chunkSize]byte
		if c != nil {
			c.mu.RLock()
			data = c.data
		}
		// A chunk that has just been taken out has no data: zeros are right, even
		// if there is a new one, as its write was under way together with this.
		for done := 0; done < n; {
			b := v.next(n - done)
			if data != nil {
				copy(b, data[in+done:])
			} else {
				clear(b)
			}
			done += len(b)
		}
		if c != nil {
			c.mu.RUnlock()
		}
		off += int64(n)
	}
}

func (d *Device) write(r *block.Request) error {
	v := vec{bufs: r.Bufs}
	phys := d.opt.PhysicalBlock
	off, end := r.Off, r.Off+r.Len
	for off < end {
		in := int(off % chunkSize)
		n := int(min(end-off, int64(chunkSize-in)))
		c, err := d.grab(r, off/chunkSize)
		if err != nil {
			return err
		}
		d.place(c, n == chunkSize)
		for done := 0; done < n; {
			b := v.next(n - done)
			copy(c.data[in+done:], b)
			done += len(b)
		}
		c.set(in/phys, (in+n+phys-1)/phys)
		c.mu.Unlock()
		off += int64(n)
	}
	return nil
}

// zero makes the range of r read as zeros: allocated where keep, else
// deallocated in whole physical blocks.
func (d *Device) zero(r *block.Request, keep bool) error {
	phys := d.opt.PhysicalBlock
	off, end := r.Off, r.Off+r.Len
	for off < end {
		in := int(off % chunkSize)
		n := int(min(end-off, int64(chunkSize-in)))
		i := off / chunkSize
		off += int64(n)
		if keep {
			c, err := d.grab(r, i)
			if err != nil {
				return err
			}
			if c.data != nil {
				clear(c.data[in : in+n])
			}
			c.set(in/phys, (in+n+phys-1)/phys)
			c.mu.Unlock()
			continue
		}
		c := d.at(i)
		if c == nil {
			off = d.skip(i, off, end)
			continue
		}
		scattered := false
		c.mu.Lock()
		if !c.gone {
			if c.data != nil && n < chunkSize {
				clear(c.data[in : in+n])
			}
			last := in + n
			if off == d.size.Load() { // the volume may end within a physical block
				last += phys - 1
			}
			c.clear((in+phys-1)/phys, last/phys)
			if c.empty() {
				scattered = d.drop(i, c)
			}
		}
		c.mu.Unlock()
		if scattered {
			d.gather()
		}
	}
	return nil
}

// skip returns where to go on after chunk i was found missing: behind the
// whole part of the index that is missing with it, so that discarding an empty
// 64 TiB does not visit every chunk.
func (d *Device) skip(i, off, end int64) int64 {
	n := d.root[i/(fanout*fanout)].Load()
	unit := int64(fanout * fanout)
	if n != nil {
		if n[i/fanout%fanout].Load() != nil {
			return off
		}
		unit = fanout
	}
	return min(end, (i/unit+1)*unit*chunkSize)
}
