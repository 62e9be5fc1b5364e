// Package sched is a request scheduler: a layer that decides which requests go
// down to the device next, when more come than the device is to have at once.
//
// # Classes
//
// Requests are of four classes: reads, writes, flushes, and trims (discard and
// write-zeroes). Somebody waits for a read; a write has mostly been taken by a
// cache already; nobody waits for a trim. So reads go ahead of writes and
// writes ahead of trims, and three things keep each class going:
//
//   - a class is served in batches (16 reads or writes, 1 trim, which may be
//     long), and one that was ready while two batches of classes before it
//     began has the next. These are the numbers of Linux' mq-deadline
//     (fifo_batch, writes_starved): 16 is enough that requests which came
//     together go together, and few enough that a write waits for 32 reads at
//     the most once it is the first of its class;
//   - a request that waits longer than its deadline (500 ms for a read, 5 s for
//     others) has its class served next; of several the one that is longest
//     overdue. The class does not get two batches running for that;
//   - a quarter of the depth is kept from writes, and three quarters from
//     trims, so that a read finds room below.
//
// There is no timer: what waits, waits for room below, and each request that
// ends there makes the scheduler look again.
//
// # Order
//
// The contract of block.Device lets requests in flight be executed in any
// order: who needs order waits. The scheduler is kinder. Of two requests that
// overlap, one of them a change, the later goes down only when the earlier has
// ended, so that each byte goes through its values in the order of submission,
// and a read returns what was submitted before it. This is what keeps a page
// cache or a guest that does not wait from harm by reads being preferred, and
// it lets the layers below submit a request again without a thought of newer
// ones.
//
// # Flush
//
// A flush covers the writes that ended before it was submitted, and no others.
// Those have left the scheduler, so a flush waits for nothing but room; it
// passes whatever is queued. One flush is below at a time. Those that come
// meanwhile become one: it goes down after the last of them came, so it covers
// what each has to cover. None joins the one that is below: writes may have
// ended after that one began. Merging writes on either side of a flush is
// right, since a write that has not ended is not the flush's matter.
//
// # Merging and splitting
//
// Requests of the same operation, flags and epoch that touch are sent down as
// one, up to the limits, when they meet in the queue; buffers are not copied.
// When such a request fails for a cause that lies in its range, each is sent by
// itself, and has its own outcome. A discard or write-zeroes that comes once
// more while the first has not ended, nor anything between them, ends with it.
// A request over the limits goes down in
// parts, as many at a time as there is room, and ends once, with the first
// error; after an error the rest is not sent. Atomic writes are neither merged
// nor split.
//
// # Direct
//
// Below depth a request goes down in the goroutine that submits it, and what is
// queued goes down in the one that ended a request. The scheduler has no
// goroutine of its own, and allocates nothing in steady state.
package sched

import (
	"sync"
	"time"

	"sango/internal/block"
)

// Options are the limits of the device below. Zero values mean the defaults.
type Options struct {
	// Depth is how many requests the device below gets at once (default 128).
	Depth int
	// MaxTransfer is the largest read or write in bytes (default 1 MiB); it is
	// rounded down to blocks, of which there is at least one.
	MaxTransfer int64
	// MaxDiscard and MaxZeroes are the largest discard and write-zeroes in bytes
	// (default: no limit).
	MaxDiscard, MaxZeroes int64
	// MaxSegments is how many buffers a merged request may have (default 1024).
	// A single request with more of them goes down as it is.
	MaxSegments int
	// ReadDeadline, WriteDeadline and TrimDeadline are how long a request may be
	// passed by those of other classes (default 500 ms, 5 s, 5 s).
	ReadDeadline, WriteDeadline, TrimDeadline time.Duration
}

// The defaults of Options.
const (
	DefaultDepth         = 128
	DefaultMaxTransfer   = 1 << 20 // bytes
	DefaultMaxSegments   = 1024
	DefaultReadDeadline  = 500 * time.Millisecond
	DefaultWriteDeadline = 5 * time.Second
)

func (o *Options) fill() {
	if o.Depth <= 0 {
		o.Depth = DefaultDepth
	}
	if o.MaxTransfer <= 0 {
		o.MaxTransfer = DefaultMaxTransfer
	}
	if o.MaxSegments <= 0 {
		o.MaxSegments = DefaultMaxSegments
	}
	if o.ReadDeadline <= 0 {
		o.ReadDeadline = DefaultReadDeadline
	}
	if o.WriteDeadline <= 0 {
		o.WriteDeadline = DefaultWriteDeadline
	}
	if o.TrimDeadline <= 0 {
		o.TrimDeadline = DefaultWriteDeadline
	}
}

// Device is the scheduler. It implements block.Device.
type Device struct {
	dev      block.Device
	depth    int
	segments int
	max      [block.OpWriteZeroes + 1]int64 // bytes by operation, 0: no limit
	deadline [classes]time.Duration
	limit    [classes]int // of requests below, by class
	gauge    block.Gauge

	mu       sync.Mutex // guards all below
	seq      uint64     // of the last request
	inflight int        // requests below
	flying   [classes]int
	queue    [classes]fifo // what may go down; the flushes' has one unit at most
	ready    int           // units in queue
	blocked  int           // units that wait for others
	changes  spans         // units that change the medium and have not ended
	reads    spans         // reads that have not ended
	turn     Class         // class of the batch that is being served
	left     int           // how many more it may send
	passed   [classes]int  // batches of others that went ahead while it was ready
	flushed  bool          // the last request that went down was a flush
	stats    [classes]ClassStats
	units    *unit // not in use
	calls    *call // not in use
}

// New returns a scheduler over d.
func New(d block.Device, o Options) *Device {
	o.fill()
	bs := int64(d.Info().BlockSize)
	round := func(n int64) int64 {
		if n <= 0 {
			return 0
		}
		return max(n/bs*bs, bs)
	}
	s := &Device{dev: d, depth: o.Depth, segments: o.MaxSegments}
	s.max = [...]int64{
		block.OpRead: round(o.MaxTransfer), block.OpWrite: round(o.MaxTransfer),
		block.OpDiscard: round(o.MaxDiscard), block.OpWriteZeroes: round(o.MaxZeroes),
	}
	s.deadline = [classes]time.Duration{Read: o.ReadDeadline, Write: o.WriteDeadline, Trim: o.TrimDeadline}
	s.limit = [classes]int{Read: o.Depth, Write: o.Depth - o.Depth/4, Trim: max(o.Depth/4, 1), Flush: 1}
	return s
}

// Info implements block.Device.
func (d *Device) Info() block.Info { return d.dev.Info() }

// Submit implements block.Device.
func (d *Device) Submit(r *block.Request) {
	if !d.gauge.Enter() {
		r.End(block.Fail(r, block.Closed, nil))
		return
	}
	info := d.dev.Info()
	if err := block.Validate(r, &info); err != nil {
		r.End(err)
		d.gauge.Leave()
		return
	}
	d.mu.Lock()
	if r.Flags&block.NoWait != 0 && !d.idle(r) {
		d.stats[classOf(r.Op)].WouldBlock++
		d.mu.Unlock()
		r.End(block.ErrWouldBlock)
		d.gauge.Leave()
		return
	}
	d.admit(r, &info)
	d.pump()
}

// idle reports whether r would go down at once and as it is.
func (d *Device) idle(r *block.Request) bool {
	if d.ready > 0 || !d.room(classOf(r.Op)) || d.long(r) {
		return false
	}
	return d.blocker(r.Off, r.Off+r.Len, r.Op != block.OpRead, d.seq+1) == nil
}

// long reports whether r has to be split.
func (d *Device) long(r *block.Request) bool {
	return d.max[r.Op] > 0 && r.Len > d.max[r.Op] && r.Flags&block.Atomic == 0
}

// Status implements block.Device.
func (d *Device) Status(off, n int64, limit int) ([]block.Extent, error) {
	return d.dev.Status(off, n, limit)
}

// Close implements block.Device. What is queued goes down first.
func (d *Device) Close() error {
	d.gauge.Shut()
	return d.dev.Close()
}
