package relay

import (
	"sango/internal/bufpool"
	"sango/internal/relay/wire"
)

// The size of one writev: the limits at which a batch is cut. The arena holds
// headers and bodies.
const (
	arenaSize  = 16 << 10
	batchBytes = 1 << 20
	batchVec   = 512
	// maxHead is what one frame takes in the arena.
	maxHead = wire.HeaderLen + 512
)

// batch is what is being sent: control frames, then one frame of each carrier.
// It belongs to the holder of the sending token.
type batch struct {
	controls []*bufpool.Buf
	items    []carrier
	put      int    // controls before this one are in vec, or were sent
	next     int    // items before this one are in vec
	more     []bool // of those

	encoded bool // there is something in vec, and not all of it is on its way
	vec     [][]byte
	at      int // vec before this was written
	size    int // bytes in vec when it was encoded
	arena   *bufpool.Buf
}

// pending reports whether something encoded is still to be written.
func (b *batch) pending() bool { return b.at < len(b.vec) }

// done reports whether all was encoded.
func (b *batch) done() bool { return b.next == len(b.items) && b.put == len(b.controls) }

// write writes what is pending, and reports whether all of it is on its way, and
// how much was taken.
func (b *batch) write(p pipe, wait bool) (done bool, n int, err error) {
	if b.pending() {
		n, err = p.write(b.vec[b.at:], wait)
		b.wrote(n)
	}
	if err != nil || b.pending() {
		return false, n, err
	}
	done, err = p.flush(wait)
	return done, n, err
}

// wrote notes that n bytes of vec were written.
func (b *batch) wrote(n int) {
	for n > 0 {
		p := b.vec[b.at]
		if n < len(p) {
			b.vec[b.at] = p[n:]
			return
		}
		n -= len(p)
		b.at++
	}
}

// format encodes frames until the batch is full or nothing is left.
func (b *batch) format() {
	b.encoded = true
	for b.put < len(b.controls) && b.room() {
		b.data(b.controls[b.put].B)
		b.put++
	}
	if b.put < len(b.controls) {
		return
	}
	for b.next < len(b.items) && b.room() {
		b.more = append(b.more, b.items[b.next].put(b))
		b.next++
	}
}

func (b *batch) room() bool {
	if b.arena == nil {
		b.arena = bufpool.Get(arenaSize)
		b.arena.B = b.arena.B[:0]
	}
	return cap(b.arena.B)-len(b.arena.B) >= maxHead && b.size < batchBytes && len(b.vec) < batchVec
}

// head makes room for n bytes of header and body, which go into the vector
// when they are filled in.
func (b *batch) head(n int) []byte {
	a := &b.arena.B
	*a = (*a)[:len(*a)+n]
	p := (*a)[len(*a)-n:]
	b.data(p)
	return p
}

// data puts p into the vector.
func (b *batch) data(p []byte) {
	b.vec = append(b.vec, p)
	b.size += len(p)
}

// list puts n bytes at off of l into the vector.
func (b *batch) list(l *bufpool.List, off, n int) {
	b.vec = l.Slice(b.vec, off, n)
	b.size += n
}

// settle lets go of what was sent, with the connection's lock held, and
// returns queue with those that have more.
func (b *batch) settle(queue []carrier) []carrier {
	sent := len(b.more)
	for i, it := range b.items[b.next-sent : b.next] {
		if it.sent(b.more[i]) {
			queue = append(queue, it)
		}
	}
	b.more = b.more[:0]
	b.clear()
	if b.done() {
		b.forget()
	}
	return queue
}

func (b *batch) clear() {
	b.encoded = false
	clear(b.vec)
	b.vec, b.at, b.size = b.vec[:0], 0, 0
	if b.arena != nil {
		b.arena.Release()
		b.arena = nil
	}
}

func (b *batch) forget() {
	for i, k := range b.controls {
		k.Release()
		b.controls[i] = nil
	}
	clear(b.items)
	b.controls, b.items, b.put, b.next = b.controls[:0], b.items[:0], 0, 0
}

// drop gives everything back unsent.
func (b *batch) drop() {
	b.more = b.more[:0]
	b.clear()
	b.forget()
}

// part puts n bytes at off of what v holds into the vector.
func (b *batch) part(v [][]byte, off, n int) {
	b.size += n
	for _, p := range v {
		if n <= 0 {
			return
		}
		if off >= len(p) {
			off -= len(p)
			continue
		}
		p = p[off:min(len(p), off+n)]
		off, n = 0, n-len(p)
		b.vec = append(b.vec, p)
	}
}
