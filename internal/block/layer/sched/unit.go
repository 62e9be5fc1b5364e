package sched

import (
	"time"

	"sango/internal/block"
	"sango/internal/san"
)

// unit is what the scheduler queues: one request, or several that touch.
type unit struct {
	op     block.Op
	flags  block.Flags
	class  Class
	alone  bool  // neither takes others in nor joins them
	align  int64 // where it is cut, in bytes
	lo, hi int64 // the range
	epoch  san.Epoch
	parts  []*block.Request // by offset
	echoes []*block.Request // trims of the same range that came later
	segs   int              // buffers of all parts
	seq    uint64           // of the earliest part
	due    time.Time        // deadline of the earliest part

	at     int64 // what lies below has gone down
	buf    int   // of the only part: the buffer that holds at,
	byte   int   // and where in it
	flying int   // requests below
	err    error // the first one

	queued     bool
	prev, next *unit // in its fifo, or the free list
	span       int   // its index in spans, or −1
	waiters    *unit // units that wait for the end of this one
	nextWaiter *unit
}

// blocker returns the unit that a request for [lo, hi) with this seq has to
// wait for: the latest one of those it must not pass.
func (d *Device) blocker(lo, hi int64, change bool, seq uint64) *unit {
	if lo == hi {
		return nil
	}
	u := d.changes.latest(lo, hi, seq, nil)
	if change {
		u = d.reads.latest(lo, hi, seq, u)
	}
	return u
}

func (d *Device) spansOf(u *unit) *spans {
	if u.class == Read {
		return &d.reads
	}
	return &d.changes
}

// admit queues r, or adds it to a unit. d.mu is held.
func (d *Device) admit(r *block.Request, info *block.Info) {
	d.seq++
	c := classOf(r.Op)
	st := &d.stats[c]
	st.Requests++
	if c == Flush {
		if u := d.queue[Flush].head; u != nil {
			u.parts = append(u.parts, r)
			st.Merged++
			return
		}
	}
	earlier := d.blocker(r.Off, r.Off+r.Len, c != Read, d.seq)
	if earlier == nil && d.join(r) {
		st.Merged++
		return
	}
	if earlier != nil && repeats(r, earlier) {
		earlier.echoes, earlier.alone = append(earlier.echoes, r), true
		st.Merged++
		return
	}
	u := d.newUnit(r)
	u.alone = r.Flags&(block.Atomic|block.NoWait) != 0 || r.Len == 0 || d.long(r)
	u.align = int64(info.PhysicalBlock)
	if c == Trim {
		u.align = max(info.Caps.Granularity, int64(info.BlockSize))
	}
	if d.long(r) {
		st.Split++
	}
	if earlier != nil || d.ready > 0 || !d.room(c) {
		u.due = time.Now().Add(d.deadline[c])
		st.Queued++
	}
	if r.Len > 0 {
		d.spansOf(u).add(u)
	}
	if earlier != nil {
		st.Blocked++
		d.wait(u, earlier)
		return
	}
	d.enqueue(u)
}

// repeats reports whether r does once more what u, the latest that it overlaps,
// has not ended doing: then the end of u is that of r. Whoever sends a request
// again because it took too long would never see the end of a long trim
// otherwise, since each one would begin when the one before has ended.
func repeats(r *block.Request, u *unit) bool {
	return u.class == Trim && len(u.parts) == 1 && u.op == r.Op && u.flags == r.Flags && u.epoch == r.Epoch &&
		u.lo == r.Off && u.hi == r.Off+r.Len
}

// wait lets u wait for the end of b.
func (d *Device) wait(u, b *unit) {
	u.nextWaiter, b.waiters = b.waiters, u
	d.blocked++
}

func (d *Device) enqueue(u *unit) {
	d.queue[u.class].insert(u)
	d.ready++
}

func (d *Device) dequeue(u *unit) {
	d.queue[u.class].remove(u)
	d.ready--
}

// join adds r to a unit in the queue that it touches. r overlaps nothing that
// it would have to wait for, so it may go as early as that unit does; and what
// came between them and overlaps the unit waits for it already.
func (d *Device) join(r *block.Request) bool {
	if d.ready == 0 || r.Len == 0 || r.Flags&(block.Atomic|block.NoWait) != 0 || r.Op == block.OpFlush {
		return false
	}
	spans := &d.changes
	if r.Op == block.OpRead {
		spans = &d.reads
	}
	lo, hi := r.Off, r.Off+r.Len
	for i := range spans.list {
		s := &spans.list[i]
		if s.lo != hi && s.hi != lo {
			continue
		}
		u := s.u
		if !d.mates(u, r) {
			continue
		}
		if s.hi == lo {
			u.parts = append(u.parts, r)
			spans.widen(s, s.lo, hi)
			u.hi = hi
		} else {
			u.parts = append(u.parts, nil)
			copy(u.parts[1:], u.parts)
			u.parts[0] = r
			spans.widen(s, lo, s.hi)
			u.lo, u.at = lo, lo
		}
		u.segs += len(r.Bufs)
		return true
	}
	return false
}

// mates reports whether u and r may go down as one.
func (d *Device) mates(u *unit, r *block.Request) bool {
	limit := d.max[r.Op]
	return u.queued && !u.alone && u.flying == 0 && u.op == r.Op && u.flags == r.Flags && u.epoch == r.Epoch &&
		(limit == 0 || u.hi-u.lo+r.Len <= limit) && u.segs+len(r.Bufs) <= d.segments
}

func (d *Device) newUnit(r *block.Request) *unit {
	u := d.units
	if u == nil {
		u = &unit{}
	} else {
		d.units = u.next
	}
	*u = unit{
		op: r.Op, flags: r.Flags, class: classOf(r.Op), lo: r.Off, hi: r.Off + r.Len, at: r.Off,
		epoch: r.Epoch, seq: d.seq, segs: len(r.Bufs), span: -1,
		parts: append(u.parts[:0], r), echoes: u.echoes[:0],
	}
	return u
}

func (d *Device) freeUnit(u *unit) {
	clear(u.parts)
	clear(u.echoes)
	u.err, u.waiters, u.nextWaiter, u.prev = nil, nil, nil, nil
	u.next, d.units = d.units, u
}
