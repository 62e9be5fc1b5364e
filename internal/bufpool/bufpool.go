// Package bufpool hands out reference-counted byte buffers of a few size
// classes.
//
// Ownership: Get returns a buffer with one reference, held by the caller. Who
// hands a buffer on hands its reference on with it; who keeps it as well calls
// Retain first. The last Release gives the memory back, and nobody may touch
// it after that. Under the build tag "invariants" a released buffer is
// overwritten, so that a late reader sees garbage in tests.
package bufpool

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// sizes are the classes, in bytes. Larger requests are allocated, not pooled.
var sizes = [...]int{512, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}

// MaxPooled is the largest size that is pooled, in bytes.
const MaxPooled = 1 << 20

var pools [len(sizes)]sync.Pool

// Buf is a reference-counted buffer. B is its usable slice; holders may
// re-slice B downwards but must not grow it past its capacity.
type Buf struct {
	B     []byte
	full  []byte
	refs  atomic.Int32
	class int8 // index into sizes; -1: not pooled
}

// Get returns a buffer with len(B) == n and undefined contents, owned by the
// caller.
func Get(n int) *Buf {
	for i, size := range sizes {
		if n > size {
			continue
		}
		b, _ := pools[i].Get().(*Buf)
		if b == nil {
			b = &Buf{full: make([]byte, size), class: int8(i)}
		}
		b.B = b.full[:n]
		b.refs.Store(1)
		return b
	}
	b := &Buf{full: make([]byte, n), class: -1}
	b.B = b.full
	b.refs.Store(1)
	return b
}

// Retain adds a reference.
func (b *Buf) Retain() {
	if b.refs.Add(1) <= 1 {
		misuse("retained", b)
	}
}

// Release gives one reference up; the last one returns the memory.
func (b *Buf) Release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		misuse("released", b)
		return
	}
	poison(b.full)
	b.B = nil
	if b.class >= 0 {
		pools[b.class].Put(b)
	}
}

func describe(what string, b *Buf) string {
	return fmt.Sprintf("bufpool: buffer of %d bytes %s after its last release", len(b.full), what)
}
