// Package mem is the block driver that keeps a volume in memory: for tests,
// demos and scratch volumes. It is sparse, so a volume of 64 TiB costs nothing
// until it is written to; discarding gives memory back. Everything is done in
// place, without blocking and without an allocation per request.
//
// The index is a radix tree of three levels with a fan-out of 1024 over chunks
// of 64 KiB, which together span 64 TiB:
//
//	root [1024]*node ── node [1024]*leaf ── leaf [1024]*chunk ── chunk 64 KiB
//
// Nodes and leaves are never removed while the volume is open; a chunk is
// taken out when its last block is discarded. Large data lies in huge pages, see
// place.go.
package mem

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"sango/internal/block"
	"sango/internal/san"
)

// Options say what volume New makes. The zero value of each field means its
// default.
type Options struct {
	Size          int64 // bytes, a multiple of the block size, at most san.MaxVolumeSize
	BlockSize     int   // bytes: 512 (default) or 4096
	PhysicalBlock int   // bytes: a power of two, ≥ BlockSize, ≤ 64 KiB; default BlockSize
	// AtomicMax is the largest atomic write, in bytes; default 1 MiB, negative:
	// none. Memory does not survive the process, so every write is all or none.
	AtomicMax int64
	ReadOnly  bool
	// Epoch is the epoch of DESIGN R2: requests of another one end with Fenced.
	// 0 accepts all.
	Epoch san.Epoch
	// Limit is how many bytes of memory the volume's data may take; past it
	// writes end with NoSpace. 0: no limit. What was discarded can keep up to a
	// quarter of what is in use, or 4 MiB, from the system.
	Limit int64
}

const (
	chunkSize  = 64 << 10
	fanout     = 1024
	maxBlocks  = chunkSize / 512
	bitmapSize = maxBlocks / 64
)

type (
	node [fanout]atomic.Pointer[leaf]
	leaf [fanout]atomic.Pointer[chunk]
)

// Device is a volume in memory. It implements block.Device.
type Device struct {
	opt  Options
	size atomic.Int64
	used atomic.Int64 // bytes of chunks
	root [fanout]atomic.Pointer[node]

	pool     *pool
	hugeFrom int64 // bytes in use from which on slots are taken

	gauge  block.Gauge
	resize sync.Mutex // one Resize at a time
}

// New returns an empty volume.
func New(o Options) (*Device, error) {
	if o.BlockSize == 0 {
		o.BlockSize = san.BlockSize512
	}
	if o.PhysicalBlock == 0 {
		o.PhysicalBlock = o.BlockSize
	}
	switch {
	case o.AtomicMax == 0:
		o.AtomicMax = 1 << 20
	case o.AtomicMax < 0:
		o.AtomicMax = 0
	}
	p := o.PhysicalBlock
	switch {
	case o.BlockSize != san.BlockSize512 && o.BlockSize != san.BlockSize4096:
		return nil, fmt.Errorf("mem: block size %d: want 512 or 4096", o.BlockSize)
	case p < o.BlockSize || p > chunkSize || p&(p-1) != 0:
		return nil, fmt.Errorf("mem: physical block %d: want a power of two from the block size (%d) to %d", p, o.BlockSize, chunkSize)
	case o.AtomicMax%int64(o.BlockSize) != 0:
		return nil, fmt.Errorf("mem: largest atomic write of %d bytes is not a multiple of the block size", o.AtomicMax)
	}
	if err := checkSize(o.Size, o.BlockSize); err != nil {
		return nil, err
	}
	d := &Device{opt: o, pool: newPool(kernel), hugeFrom: hugeFrom}
	d.size.Store(o.Size)
	// A device that is dropped instead of closed goes with all of its memory too.
	runtime.AddCleanup(d, (*pool).close, d.pool)
	return d, nil
}

func checkSize(size int64, unit int) error {
	if size < 0 || size > san.MaxVolumeSize || size%int64(unit) != 0 {
		return fmt.Errorf("mem: size %d: want a multiple of %d, at most %d", size, unit, int64(san.MaxVolumeSize))
	}
	return nil
}

// Info implements block.Device.
func (d *Device) Info() block.Info {
	return block.Info{
		Size: d.size.Load(), BlockSize: d.opt.BlockSize, PhysicalBlock: d.opt.PhysicalBlock,
		Caps: block.Caps{
			ReadOnly: d.opt.ReadOnly, Discard: block.Native, WriteZeroes: block.Native, FUA: block.Native,
			AtomicMax: d.opt.AtomicMax, Async: true, Granularity: int64(d.opt.PhysicalBlock),
		},
	}
}

// Used returns the bytes of memory that data takes now.
func (d *Device) Used() int64 { return d.used.Load() }

// Resize makes the volume size bytes long. It can only grow: shrinking would
// drop data that hosts still see.
func (d *Device) Resize(size int64) error {
	d.resize.Lock()
	defer d.resize.Unlock()
	if err := checkSize(size, d.opt.BlockSize); err != nil {
		return err
	}
	if now := d.size.Load(); size < now {
		return fmt.Errorf("mem: a volume of %d bytes can't shrink to %d", now, size)
	}
	if !d.gauge.Open() {
		return &block.Error{Class: block.Closed}
	}
	d.size.Store(size)
	return nil
}

// Submit implements block.Device. The request has always ended when it
// returns.
func (d *Device) Submit(r *block.Request) {
	if !d.gauge.Enter() {
		r.End(block.Fail(r, block.Closed, nil))
		return
	}
	r.End(d.do(r))
	d.gauge.Leave()
}

func (d *Device) do(r *block.Request) error {
	if r.Epoch != 0 && d.opt.Epoch != 0 && r.Epoch != d.opt.Epoch {
		return block.Fail(r, block.Fenced, fmt.Errorf("epoch %d, the volume is at %d", r.Epoch, d.opt.Epoch))
	}
	info := d.Info()
	if err := block.Validate(r, &info); err != nil {
		return err
	}
	switch r.Op {
	case block.OpRead:
		d.read(r)
	case block.OpWrite:
		return d.write(r)
	case block.OpWriteZeroes:
		return d.zero(r, r.Flags&block.MayUnmap == 0)
	case block.OpDiscard:
		return d.zero(r, false)
	}
	return nil
}

// Close implements block.Device. The memory is given up with the device.
func (d *Device) Close() error {
	if !d.gauge.Shut() {
		return nil
	}
	for i := range d.root {
		d.root[i].Store(nil)
	}
	d.pool.close()
	d.used.Store(0)
	return nil
}
