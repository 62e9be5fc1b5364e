package layered

import (
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// A cluster is the unit of allocation and copy-up, in bytes.
const (
	clusterShift = 16
	clusterSize  = 1 << clusterShift
)

// state says where a cluster of a layer is.
type state uint8

const (
	absent  state = iota // in a layer beneath
	present              // in this layer's file
	zeroed               // nowhere: it reads as zeros whatever is beneath
	copying              // being written for the first time; only ever in memory
)

// An index page holds the states of 16384 clusters (1 GiB of the volume) in
// two bits each, so that 64 TiB take at most 65536 pages of 4 KiB, of which
// those that say the same everywhere take nothing.
const (
	pageShift    = 14
	pageClusters = 1 << pageShift
	pageBytes    = pageClusters / 4
	pageWords    = pageBytes / 8
	wordClusters = 32
)

// page is immutable unless dirty; a dirty one belongs to its index for good
// and is changed under the index's lock, one atomic word at a time.
type page struct {
	w     [pageWords]atomic.Uint64
	dirty bool
}

// uniform are the shared pages that say one state everywhere.
var uniform = func() (u [3]*page) {
	for s := range u {
		u[s] = new(page)
		for i := range u[s].w {
			u[s].w[i].Store(uint64(s) * 0x5555555555555555)
		}
	}
	return u
}()

func (p *page) at(c int64) state {
	i := c & (pageClusters - 1)
	return state(p.w[i/wordClusters].Load() >> (i % wordClusters * 2) & 3)
}

func (p *page) put(c int64, s state) {
	i := c & (pageClusters - 1)
	w, shift := &p.w[i/wordClusters], i%wordClusters*2
	w.Store(w.Load()&^(3<<shift) | uint64(s)<<shift)
}

// tally counts the clusters present and zeroed.
func (p *page) tally() (npresent, nzeroed int) {
	for i := range p.w {
		w := p.w[i].Load()
		lo, hi := w&0x5555555555555555, w>>1&0x5555555555555555
		npresent += bits.OnesCount64(lo &^ hi)
		nzeroed += bits.OnesCount64(hi &^ lo)
	}
	return npresent, nzeroed
}

// index is the map of one layer: which clusters live in it. Lookups take no
// lock. Pages are read from the log's compacted part when first needed, and
// clean ones are given up again beyond cachePages.
type index struct {
	dir  []atomic.Pointer[page] // nil: still on disk
	base []pageRef              // what the log's compacted part says
	log  *logFile

	mu       sync.Mutex // guards changes of pages and dir, and what follows
	cached   []cached   // pages that were loaded, oldest first
	waiters  map[int64]chan struct{}
	blank    []span       // clusters that are copying and were zeroed: until then they read as zeros
	npresent atomic.Int64 // clusters, copying ones not counted
	nzeroed  atomic.Int64
}

// span is a run of n clusters from c on.
type span struct{ c, n int64 }

type cached struct {
	at int64
	p  *page
}

// cachePages bounds the clean pages of a layer in memory (4 MiB).
const cachePages = 1024

func clusters(size int64) int64 { return (size + clusterSize - 1) >> clusterShift }

func newIndex(size int64, log *logFile, base []pageRef) *index {
	pages := (clusters(size) + pageClusters - 1) >> pageShift
	x := &index{dir: make([]atomic.Pointer[page], max(pages, int64(len(base)))), base: base, log: log, waiters: map[int64]chan struct{}{}}
	for i := range x.dir {
		if i >= len(base) {
			x.dir[i].Store(uniform[absent])
			continue
		}
		if r := base[i]; r.slot < firstSlot {
			x.dir[i].Store(uniform[r.slot])
		}
		x.npresent.Add(int64(base[i].npresent))
		x.nzeroed.Add(int64(base[i].nzeroed))
	}
	return x
}

// grow makes room for a larger layer. The caller has stopped all use of x.
func (x *index) grow(size int64) {
	pages := (clusters(size) + pageClusters - 1) >> pageShift
	if pages <= int64(len(x.dir)) {
		return
	}
	dir := make([]atomic.Pointer[page], pages)
	for i := range dir {
		if i < len(x.dir) {
			dir[i].Store(x.dir[i].Load())
		} else {
			dir[i].Store(uniform[absent])
		}
	}
	x.dir = dir
}

// peek returns the state of c if its page is in memory.
func (x *index) peek(c int64) (s state, ok bool) {
	s, _, ok = x.look(c)
	return s, ok
}

// look is peek that also tells whether the whole page is in that state.
func (x *index) look(c int64) (s state, whole, ok bool) {
	i := c >> pageShift
	if i >= int64(len(x.dir)) {
		return absent, true, true
	}
	p := x.dir[i].Load()
	if p == nil {
		return absent, false, false
	}
	s = p.at(c)
	return s, s != copying && p == uniform[s], true
}

// get returns the state of c. A layer is absent past its end.
func (x *index) get(c int64) (state, error) {
	if s, ok := x.peek(c); ok {
		return s, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	p, err := x.load(c >> pageShift)
	if err != nil {
		return absent, err
	}
	return p.at(c), nil
}

// shows returns what readers see of c, which was copying when they looked: what
// was there before its first write began. Never copying.
func (x *index) shows(c int64) (state, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p, err := x.load(c >> pageShift)
	if err != nil {
		return absent, err
	}
	s := p.at(c)
	if s != copying {
		return s, nil
	}
	if slices.ContainsFunc(x.blank, func(r span) bool { return c >= r.c && c < r.c+r.n }) {
		return zeroed, nil
	}
	return absent, nil
}

// load returns page i, from disk if need be. x.mu is held.
func (x *index) load(i int64) (*page, error) {
	if p := x.dir[i].Load(); p != nil {
		return p, nil
	}
	p, err := x.log.readPage(x.base[i])
	if err != nil {
		return nil, err
	}
	x.dir[i].Store(p)
	x.cached = append(x.cached, cached{i, p})
	if len(x.cached) > cachePages {
		// One that was changed since has been replaced by a dirty or uniform one.
		old := x.cached[0]
		x.cached = x.cached[1:]
		x.dir[old.at].CompareAndSwap(old.p, nil)
	}
	return p, nil
}

// writable returns page i as a dirty one. x.mu is held.
func (x *index) writable(i int64) (*page, error) {
	p, err := x.load(i)
	if err != nil || p.dirty {
		return p, err
	}
	d := &page{dirty: true}
	for j := range p.w {
		d.w[j].Store(p.w[j].Load())
	}
	x.dir[i].Store(d)
	return d, nil
}

// set changes the states of n clusters from c on. x.mu is held.
func (x *index) set(c, n int64, s state) error {
	for end := c + n; c < end; {
		if c&(pageClusters-1) == 0 && end-c >= pageClusters && s != copying {
			p, err := x.load(c >> pageShift)
			if err != nil {
				return err
			}
			np, nz := p.tally()
			x.npresent.Add(-int64(np))
			x.nzeroed.Add(-int64(nz))
			x.count(s, pageClusters)
			x.dir[c>>pageShift].Store(uniform[s])
			c += pageClusters
			continue
		}
		p, err := x.writable(c >> pageShift)
		if err != nil {
			return err
		}
		for last := min(end, (c>>pageShift+1)<<pageShift); c < last; c++ {
			x.count(p.at(c), -1)
			x.count(s, 1)
			p.put(c, s)
		}
	}
	return nil
}

func (x *index) count(s state, d int64) {
	switch s {
	case present:
		x.npresent.Add(d)
	case zeroed:
		x.nzeroed.Add(d)
	}
}

// claim makes up to n clusters from c on copying, as many as follow each
// other in the state of the first, and returns that state and their number.
// 0 clusters: the first is present (then state says so) or copying; wait is
// then closed when its first write has ended.
func (x *index) claim(c, n int64) (s state, got int64, wait chan struct{}, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for ; got < n; got++ {
		p, err := x.load((c + got) >> pageShift)
		if err != nil {
			return absent, 0, nil, err
		}
		at := p.at(c + got)
		if got == 0 {
			s = at
		}
		if at != s || at == present || at == copying {
			break
		}
	}
	switch {
	case got > 0:
		if s == zeroed {
			x.blank = append(x.blank, span{c, got})
		}
		return s, got, nil, x.set(c, got, copying)
	case s == copying:
		wait = x.waiter(c)
	}
	return s, 0, wait, nil
}

// waiter returns the channel that is closed when the first write of c, which
// is going on, has ended. x.mu is held.
func (x *index) waiter(c int64) chan struct{} {
	w := x.waiters[c]
	if w == nil {
		w = make(chan struct{})
		x.waiters[c] = w
	}
	return w
}

// settle ends what claim began.
func (x *index) settle(c, n int64, s state) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.set(c, n, s)
	x.blank = slices.DeleteFunc(x.blank, func(r span) bool { return r == span{c, n} })
	for i := c; i < c+n && len(x.waiters) > 0; i++ {
		if w := x.waiters[i]; w != nil {
			close(w)
			delete(x.waiters, i)
		}
	}
	return err
}

// next finds the first run at or after c, and before end, of clusters that are
// not absent: all present or all zeroed, at most most of them. n = 0: there is
// none.
func (x *index) next(c, end, most int64) (at, n int64, s state, err error) {
	end = min(end, int64(len(x.dir))<<pageShift)
	for c < end {
		if x.dir[c>>pageShift].Load() == uniform[absent] {
			c = (c>>pageShift + 1) << pageShift
			continue
		}
		if s, err = x.get(c); err != nil {
			return 0, 0, 0, err
		}
		if s == present || s == zeroed {
			break
		}
		c++
	}
	if c >= end {
		return 0, 0, absent, nil
	}
	for n = 1; n < most && c+n < end; n++ {
		t, err := x.get(c + n)
		if err != nil {
			return 0, 0, 0, err
		}
		if t != s {
			break
		}
	}
	return c, n, s, nil
}

// encode returns the page as it is stored, copying clusters as absent.
func (p *page) encode(b []byte) {
	for i := range p.w {
		w := p.w[i].Load()
		both := w & (w >> 1) & 0x5555555555555555
		le.PutUint64(b[i*8:], w&^(both|both<<1))
	}
}

func decodePage(b []byte, sum uint32) (*page, error) {
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, fmt.Errorf("index page %w: checksum does not match", errDamaged)
	}
	p := new(page)
	for i := range p.w {
		p.w[i].Store(le.Uint64(b[i*8:]))
	}
	return p, nil
}
