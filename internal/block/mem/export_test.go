package mem

import (
	"bytes"
	"sync"
)

// Slabs is a source of slabs in Go's heap, where the race detector watches
// them. What is given back is overwritten.
type Slabs struct {
	mu    sync.Mutex
	areas int  // not freed
	grabs int  // all
	none  bool // refuse
}

const testArea = 2 * slabSize

func (t *Slabs) source() source {
	return source{
		grab: func() (area, error) {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.none {
				return area{}, errNone
			}
			t.areas++
			t.grabs++
			b := make([]byte, testArea)
			return area{whole: b, slabs: b}, nil
		},
		forget: wreck,
		free: func(a area) {
			wreck(a.whole)
			t.mu.Lock()
			defer t.mu.Unlock()
			t.areas--
		},
	}
}

var errNone = errorString("no memory")

type errorString string

func (e errorString) Error() string { return string(e) }

var wreckage = bytes.Repeat([]byte{0xee}, chunkSize)

func wreck(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, wreckage):]
	}
}

// Areas returns how many areas are in use, and how many were ever handed out.
func (t *Slabs) Areas() (now, ever int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.areas, t.grabs
}

// UseSlabs makes d, which is new, take its slots from t, or from the kernel if
// it is nil, from the first chunk on.
func (d *Device) UseSlabs(t *Slabs) {
	d.hugeFrom = 0
	if t != nil {
		d.pool.src = t.source()
	}
}

// Slots returns how many slots are in use, and how many are free and keep
// their memory.
func (d *Device) Slots() (taken, held int) {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	return d.pool.taken, d.pool.held
}

// RefuseSlabs makes t hand out nothing any more.
func (t *Slabs) RefuseSlabs() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.none = true
}
