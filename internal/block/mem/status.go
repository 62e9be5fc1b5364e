package mem

import (
	"fmt"

	"sango/internal/block"
)

// Status implements block.Device.
func (d *Device) Status(off, n int64, limit int) ([]block.Extent, error) {
	if !d.gauge.Enter() {
		return nil, &block.Error{Class: block.Closed, Off: off, Len: n}
	}
	defer d.gauge.Leave()
	size, bs := d.size.Load(), int64(d.opt.BlockSize)
	if off < 0 || n <= 0 || off > size || n > size-off || off%bs != 0 || n%bs != 0 {
		return nil, &block.Error{Class: block.Invalid, Off: off, Len: n, Err: fmt.Errorf("no range of blocks of a volume of %d bytes", size)}
	}
	var ext []block.Extent
	end := off + n
	for off < end {
		n, a := d.state(off, end)
		if k := len(ext); k > 0 && ext[k-1].Alloc == a {
			ext[k-1].Len += n
		} else if limit > 0 && k == limit {
			break
		} else {
			ext = append(ext, block.Extent{Off: off, Len: n, Alloc: a})
		}
		off += n
	}
	return ext, nil
}

// state returns how many bytes from off on, not past end, are known to be in
// the same state.
func (d *Device) state(off, end int64) (int64, block.Alloc) {
	i := off / chunkSize
	last := min(end, (i+1)*chunkSize)
	c := d.at(i)
	if c == nil {
		return d.skip(i, last, end) - off, block.Deallocated
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	phys := int64(d.opt.PhysicalBlock)
	in := off % chunkSize
	blocks, have := c.run(int(in/phys), int((last-i*chunkSize+phys-1)/phys))
	n := min((in/phys+int64(blocks))*phys-in, last-off)
	if have {
		return n, block.Mapped
	}
	return n, block.Deallocated
}
