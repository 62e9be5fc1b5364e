package crashfs

import (
	"math/rand/v2"
	"slices"

	"sango/internal/block/layered/vfs"
)

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

// node is a file or a directory: what the page cache has, and what else the
// disk may have of it.
type node struct {
	links int

	// of a file
	cur   map[int64][]byte   // sectors as the process sees them; none: a hole
	past  map[string][]*node // of a directory: what each changed name was since the last sync, oldest first
	old   map[int64][][]byte // what each changed sector was since the last sync, oldest first; nil: a hole
	size  int64
	sizes []int64 // what the size was since the last sync

	// of a directory
	names map[string]*node
}

func newFile() *node {
	return &node{links: 1, cur: map[int64][]byte{}, old: map[int64][][]byte{}}
}

func newDir() *node {
	return &node{links: 1, names: map[string]*node{}, past: map[string][]*node{}}
}

// set makes name, in the directory n, name child; nil: nothing.
func (n *node) set(name string, child *node) {
	n.past[name] = append(n.past[name], n.names[name])
	if child == nil {
		delete(n.names, name)
	} else {
		n.names[name] = child
	}
}

// put gives a sector new contents; nil: none.
func (n *node) put(s int64, b []byte) {
	n.old[s] = append(n.old[s], n.cur[s])
	if b == nil {
		delete(n.cur, s)
	} else {
		n.cur[s] = b
	}
}

// write stores the first limit bytes of vec at off, and returns how many more
// bytes the file takes.
func (n *node) write(vec [][]byte, off, limit int64) (grown int64) {
	before := len(n.cur)
	for _, b := range vec {
		for len(b) > 0 && limit > 0 {
			s, in := off/sector, off%sector
			k := min(sector-in, int64(len(b)), limit)
			fresh := make([]byte, sector)
			copy(fresh, n.cur[s])
			copy(fresh[in:], b[:k])
			n.put(s, fresh)
			b, off, limit = b[k:], off+k, limit-k
			if off > n.size {
				n.grow(off)
			}
		}
	}
	return int64(len(n.cur)-before) * sector
}

func (n *node) grow(size int64) {
	n.sizes = append(n.sizes, n.size)
	n.size = size
}

// resize is ftruncate.
func (n *node) resize(size int64) (grown int64) {
	if size < n.size {
		grown = n.zero(size, n.size-size, false)
	}
	n.grow(size)
	return grown
}

// zero makes the range zero: whole sectors become holes unless keep is set.
func (n *node) zero(off, size int64, keep bool) (grown int64) {
	before := len(n.cur)
	end := off + size
	for s := off / sector; s*sector < end; s++ {
		lo, hi := max(off, s*sector), min(end, (s+1)*sector)
		b, ok := n.cur[s]
		switch {
		case hi-lo == sector && !keep:
			if ok {
				n.put(s, nil)
			}
		case ok || keep:
			fresh := make([]byte, sector)
			copy(fresh, b)
			clear(fresh[lo-s*sector : hi-s*sector])
			n.put(s, fresh)
		}
	}
	return int64(len(n.cur)-before) * sector
}

// read fills b from off.
func (n *node) read(b []byte, off int64) {
	clear(b)
	for len(b) > 0 && off < n.size {
		s, in := off/sector, off%sector
		k := min(sector-in, int64(len(b)), n.size-off)
		if c, ok := n.cur[s]; ok {
			copy(b[:k], c[in:])
		}
		b, off = b[k:], off+k
	}
}

// sync forgets what was.
func (n *node) sync() {
	n.old, n.sizes = map[int64][][]byte{}, nil
}

// cut makes the node one of the things that it may be after a power cut.
func (n *node) cut(r *rand.Rand) { n.cutOnce(r, map[*node]bool{}) }

func (n *node) cutOnce(r *rand.Rand, done map[*node]bool) {
	if done[n] {
		return
	}
	done[n] = true
	n.links = 0
	if n.names == nil {
		n.cutFile(r)
		return
	}
	for _, name := range sorted(n.past) {
		versions := append(n.past[name], n.names[name])
		if v := versions[r.IntN(len(versions))]; v == nil {
			delete(n.names, name)
		} else {
			n.names[name] = v
		}
	}
	n.past = map[string][]*node{}
	for _, name := range sorted(n.names) {
		n.names[name].cutOnce(r, done)
	}
}

func (n *node) cutFile(r *rand.Rand) {
	for _, s := range sorted(n.old) {
		versions := append(n.old[s], n.cur[s])
		if v := versions[r.IntN(len(versions))]; v == nil {
			delete(n.cur, s)
		} else {
			n.cur[s] = v
		}
	}
	sizes := append(n.sizes, n.size)
	n.size = sizes[r.IntN(len(sizes))]
	n.sync()
	for s := range n.cur {
		if s*sector >= n.size {
			delete(n.cur, s)
		}
	}
}

func sorted[K int64 | string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// walk calls fn for each name beneath n.
func (n *node) walk(fn func(*node)) {
	for _, c := range n.names {
		fn(c)
		c.walk(fn)
	}
}

func (n *node) info() vfs.Info {
	return vfs.Info{Size: n.size, Allocated: int64(len(n.cur)) * sector, Links: n.links, Dir: n.names != nil}
}
