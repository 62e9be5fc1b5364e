package layered

import (
	"sango/internal/block"
	"sango/internal/san"
)

// device is an open volume, or an open snapshot of one.
type device struct {
	v        *volume
	w        *view
	snapshot string // "": the volume itself
	epoch    san.Epoch
	readOnly bool
	gauge    block.Gauge // requests until their Done has returned, and calls of Status
}

var _ block.Device = (*device)(nil)

// Info implements block.Device.
func (d *device) Info() block.Info {
	d.v.gate.RLock()
	defer d.v.gate.RUnlock()
	i := d.info()
	i.Lost = d.v.loss.last()
	return i
}

// info is Info with the gate held, but for what was lost.
func (d *device) info() block.Info {
	i := block.Info{Size: d.w.size, BlockSize: d.v.man.BlockSize, PhysicalBlock: d.v.man.Physical}
	i.Caps = Caps()
	i.Caps.ReadOnly = d.readOnly
	// What lies beneath belongs to snapshots, or to the volume this one is a
	// clone of; the live layer is never shared.
	i.Caps.Shared = len(d.v.man.Layers) > 1
	return i
}

// granularity is the unit in which a volume without snapshots allocates: the
// usual block of filesystems, in bytes. A layer with something beneath frees
// whole clusters, and zeroes what is smaller.
const granularity = 4096

// Submit implements block.Device: it runs r on the calling goroutine.
func (d *device) Submit(r *block.Request) {
	if !d.gauge.Enter() {
		r.End(block.Fail(r, block.Closed, nil))
		return
	}
	defer d.gauge.Leave() // after Done: Close waits for that too
	v := d.v
	if r.Flags&block.NoWait == 0 {
		v.gate.RLock()
	} else if !v.gate.TryRLock() {
		r.End(block.ErrWouldBlock)
		return
	}
	v.busy.Add(1)
	err := v.check(d.run(r)) // before the gate opens: a snapshot must not follow a failure
	v.busy.Add(-1)
	v.gate.RUnlock()
	if err != nil {
		if err = outcome(r, err); block.ClassOf(err) == block.NoSpace {
			v.s.full.note(v)
		}
	}
	r.End(err)
}

// outcome turns err into what r ends with.
func outcome(r *block.Request, err error) error {
	if be, ok := err.(*block.Error); ok { //nolint:errorlint // the outermost one is the outcome; what it wraps is the cause
		return be
	}
	c := classify(err)
	if c == block.WouldBlock {
		return block.ErrWouldBlock
	}
	return block.Fail(r, c, err)
}

// run executes r with the gate held shared.
func (d *device) run(r *block.Request) error {
	v := d.v
	if f := v.failed.Load(); f != nil {
		return block.Fail(r, block.Failed, f.err)
	}
	info := d.info()
	if err := block.Validate(r, &info); err != nil {
		return err
	}
	if r.Epoch != 0 && r.Epoch != d.epoch {
		return block.Fail(r, block.Fenced, nil)
	}
	nowait := r.Flags&block.NoWait != 0
	if r.Len == 0 && r.Op != block.OpFlush {
		return nil
	}
	switch r.Op {
	case block.OpRead:
		return readChain(d.w.chain, r.Bufs, r.Off, r.Len, nowait)
	case block.OpWrite:
		return d.write(r, nowait)
	}
	if nowait {
		return errWouldBlock
	}
	switch r.Op {
	case block.OpFlush:
		return v.flush(v.live.chain[0])
	case block.OpDiscard:
		return d.settle(r, v.zero(r.Off, r.Len, true))
	default:
		return d.settle(r, v.zero(r.Off, r.Len, r.Flags&block.MayUnmap != 0))
	}
}

func (d *device) write(r *block.Request, nowait bool) error {
	v := d.v
	top := v.live.chain[0]
	if r.Flags&block.Atomic != 0 {
		if nowait {
			return errWouldBlock
		}
		return v.writeAtomic(r.Bufs, r.Off, r.Len)
	}
	if nowait && (r.Flags&block.FUA != 0 || !mayWriteInPlace(top, r.Off, r.Len)) {
		return errWouldBlock
	}
	if r.Flags&block.FUA != 0 && top.idx == nil {
		return v.writeThrough(top, r.Bufs, r.Off, r.Len)
	}
	if top.idx == nil {
		return top.write(r.Bufs, r.Off, r.Len, false)
	}
	return d.settle(r, v.write(r.Bufs, r.Off, r.Len))
}

// settle makes what a request did stable if it asked for that.
func (d *device) settle(r *block.Request, err error) error {
	if err == nil && r.Flags&block.FUA != 0 {
		err = d.v.flush(d.v.live.chain[0])
	}
	return err
}

// Status implements block.Device.
func (d *device) Status(off, n int64, limit int) ([]block.Extent, error) {
	fail := func(c block.Class, err error) ([]block.Extent, error) {
		return nil, &block.Error{Class: c, Off: off, Len: n, Err: err}
	}
	if !d.gauge.Enter() {
		return fail(block.Closed, nil)
	}
	defer d.gauge.Leave()
	v := d.v
	v.gate.RLock()
	defer v.gate.RUnlock()
	if err := v.failedErr(); err != nil {
		return nil, err
	}
	if mask := int64(v.man.BlockSize - 1); off < 0 || n <= 0 || (off|n)&mask != 0 || off > d.w.size-n {
		return fail(block.Invalid, nil)
	}
	extents, err := status(d.w.chain, off, n, max(1, limit), int64(v.man.BlockSize))
	if err != nil {
		return fail(classify(err), err)
	}
	return extents, nil
}

// Close implements block.Device.
func (d *device) Close() error {
	v := d.v
	if !d.gauge.Shut() {
		return nil
	}
	var err error
	if d.snapshot == "" {
		v.s.leave(d)
		// Without an owner, who reads a snapshot may keep the volume loaded.
		err = v.shareGate(func() error {
			if v.failed.Load() != nil {
				return nil // Info.Lost tells the next one
			}
			return v.flush(v.live.chain[0])
		})
	}
	if cerr := v.s.closed(d); err == nil {
		err = cerr
	}
	if err != nil {
		return &block.Error{Class: classify(err), Err: err}
	}
	return nil
}
