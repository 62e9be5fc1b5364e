// Package stats is a layer that counts: requests, bytes, errors and latencies
// by operation. It allocates nothing per request.
package stats

import (
	"math/bits"
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/block/layer"
)

// Buckets is the number of buckets of a latency histogram. Bucket 0 counts
// requests below 1 µs, bucket i those from 2^(i−1) to 2^i µs, the last one all
// that took longer (134 s).
const Buckets = 29

// Bound returns the upper bound of bucket i; the last one has none, which is
// 0.
func Bound(i int) time.Duration {
	if i >= Buckets-1 {
		return 0
	}
	return time.Microsecond << i
}

// epoch is what the times of requests are counted from: to ask for the time that
// has passed costs half as much as to ask for what the time is.
var epoch = time.Now()

const ops = int(block.OpWriteZeroes) + 1

type counters struct {
	requests, bytes, errors, nanos, wouldBlock atomic.Uint64
	hist                                       [Buckets]atomic.Uint64
}

// Op is what was counted of one operation.
type Op struct {
	Requests   uint64          // ended, without those that would have blocked
	Bytes      uint64          // moved by requests without error
	Errors     uint64          // ended with an error
	WouldBlock uint64          // NoWait requests sent back
	Total      time.Duration   // sum of all latencies
	Latency    [Buckets]uint64 // histogram, see Buckets
}

// Snapshot is what was counted so far.
type Snapshot struct {
	InFlight int64
	Ops      map[block.Op]Op
}

// Device is the layer. It implements block.Device.
type Device struct {
	dev      block.Device
	pool     *layer.Pool
	inflight atomic.Int64
	ops      [ops]counters
	full     func()
}

// New returns a layer over d.
func New(d block.Device) *Device {
	s := &Device{dev: d}
	s.pool = layer.NewPool(s.after)
	return s
}

// OnFull makes the layer call f for each request that found no space in the
// store. To be called before the first request.
func (d *Device) OnFull(f func()) { d.full = f }

// Snapshot returns the counts. They are read one by one: a request that ends
// meanwhile may show in some of them only.
func (d *Device) Snapshot() Snapshot {
	s := Snapshot{InFlight: d.inflight.Load(), Ops: make(map[block.Op]Op, ops-1)}
	for i := 1; i < ops; i++ {
		c := &d.ops[i]
		o := Op{
			Requests: c.requests.Load(), Bytes: c.bytes.Load(), Errors: c.errors.Load(),
			WouldBlock: c.wouldBlock.Load(), Total: time.Duration(c.nanos.Load()),
		}
		for b := range o.Latency {
			o.Latency[b] = c.hist[b].Load()
		}
		s.Ops[block.Op(i)] = o
	}
	return s
}

// Info implements block.Device.
func (d *Device) Info() block.Info { return d.dev.Info() }

// Submit implements block.Device.
func (d *Device) Submit(r *block.Request) {
	if r.Op == 0 || int(r.Op) >= ops {
		d.dev.Submit(r) // the device will say what it thinks of it
		return
	}
	c := d.pool.Get(r)
	c.Begin = time.Since(epoch)
	d.inflight.Add(1)
	d.dev.Submit(&c.Inner)
}

func (d *Device) after(c *layer.Call) {
	r := &c.Inner
	k := &d.ops[r.Op]
	err := r.Err
	if block.ClassOf(err) == block.WouldBlock {
		k.wouldBlock.Add(1)
	} else {
		took := time.Since(epoch) - c.Begin
		k.requests.Add(1)
		k.nanos.Add(uint64(took))
		k.hist[min(bits.Len64(uint64(took/time.Microsecond)), Buckets-1)].Add(1)
		if err != nil {
			k.errors.Add(1)
			if d.full != nil && block.ClassOf(err) == block.NoSpace {
				d.full()
			}
		} else {
			k.bytes.Add(uint64(r.Len))
		}
	}
	d.inflight.Add(-1)
	c.Finish(err)
}

// Status implements block.Device.
func (d *Device) Status(off, n int64, limit int) ([]block.Extent, error) {
	return d.dev.Status(off, n, limit)
}

// Close implements block.Device.
func (d *Device) Close() error { return d.dev.Close() }
