package crashfs

import (
	"syscall"

	"sango/internal/block/layered/vfs"
)

type file struct {
	f    *FS
	n    *node
	name string
	life int
}

// enter locks the model; the handles of a dead process are of no use.
func (h *file) enter() error {
	h.f.mu.Lock()
	if h.f.dead || h.life != h.f.life {
		h.f.mu.Unlock()
		return ErrCrashed
	}
	return nil
}

func total(vec [][]byte) (n int64) {
	for _, b := range vec {
		n += int64(len(b))
	}
	return n
}

func (h *file) ReadVec(vec [][]byte, off int64) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	for _, b := range vec {
		h.n.read(b, off)
		off += int64(len(b))
	}
	return nil
}

func (h *file) TryReadVec(vec [][]byte, off int64) error { return h.ReadVec(vec, off) }

func (h *file) WriteVec(vec [][]byte, off int64) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	return h.write("write", vec, off)
}

// write is WriteVec with the lock held. Cut short, it has stored a part.
func (h *file) write(op string, vec [][]byte, off int64) error {
	f, n := h.f, total(vec)
	half, err := f.step("%s %s %d+%d", op, h.name, off, n)
	if half {
		n = f.rnd.Int64N(n/sector+1) * sector
	}
	if err != nil && !half {
		return err
	}
	if f.capacity > 0 {
		room := max(0, f.capacity-f.used)
		need := h.missing(off, n)
		if need > room {
			// As much as there is room for, from the front.
			for n > 0 && h.missing(off, n) > room {
				n = (n - 1) / sector * sector
			}
			err = fail("write", h.name, syscall.ENOSPC)
		}
	}
	f.used += h.n.write(vec, off, n)
	return err
}

// missing returns the bytes that a write of the range takes more.
func (h *file) missing(off, n int64) (bytes int64) {
	for s := off / sector; s*sector < off+n; s++ {
		if _, ok := h.n.cur[s]; !ok {
			bytes += sector
		}
	}
	return bytes
}

func (h *file) WriteVecSync(vec [][]byte, off int64) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	if err := h.write("write-sync", vec, off); err != nil {
		return err
	}
	if err := h.syncError(); err != nil {
		return err
	}
	for s := off / sector; s*sector < off+total(vec); s++ {
		delete(h.n.old, s)
	}
	h.n.sizes = nil
	return nil
}

func (h *file) syncError() error {
	if h.f.failSync == nil {
		return nil
	}
	if err := h.f.failSync(h.name); err != nil {
		return &vfs.SyncError{Err: err}
	}
	return nil
}

func (h *file) Sync() error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	if _, err := h.f.step("sync %s", h.name); err != nil {
		return err
	}
	if err := h.syncError(); err != nil {
		return err
	}
	h.n.sync()
	return nil
}

func (h *file) Truncate(size int64) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	return h.f.resize(h.n, h.name, size)
}

func (f *FS) resize(n *node, name string, size int64) error {
	half, err := f.step("truncate %s %d", name, size)
	if err == nil || half && f.coin() {
		f.used += n.resize(size)
	}
	return err
}

func (h *file) Punch(off, n int64) error { return h.clear("punch", off, n, false) }
func (h *file) Zero(off, n int64) error  { return h.clear("zero", off, n, true) }

// clear, cut short, has done a part from the front.
func (h *file) clear(op string, off, n int64, keep bool) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	half, err := h.f.step("%s %s %d+%d", op, h.name, off, n)
	if half {
		n = h.f.rnd.Int64N(n/sector+1) * sector
	} else if err != nil {
		return err
	}
	n = min(n, max(0, h.n.size-off))
	if keep && h.f.capacity > 0 && h.missing(off, n) > max(0, h.f.capacity-h.f.used) {
		return fail(op, h.name, syscall.ENOSPC)
	}
	h.f.used += h.n.zero(off, n, keep)
	return err
}

func (h *file) Allocate(off, n int64) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	if _, err := h.f.step("allocate %s %d+%d", h.name, off, n); err != nil {
		return err
	}
	if h.f.capacity > 0 && h.missing(off, n) > max(0, h.f.capacity-h.f.used) {
		return fail("allocate", h.name, syscall.ENOSPC)
	}
	for s := off / sector; s*sector < off+n; s++ {
		if _, ok := h.n.cur[s]; !ok {
			h.n.put(s, make([]byte, sector))
			h.f.used += sector
		}
	}
	return nil
}

func (h *file) NextData(off int64) (int64, error) { return h.next(off, true) }
func (h *file) NextHole(off int64) (int64, error) { return h.next(off, false) }

func (h *file) next(off int64, data bool) (int64, error) {
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.f.mu.Unlock()
	for ; off < h.n.size; off = (off/sector + 1) * sector {
		if _, ok := h.n.cur[off/sector]; ok == data {
			return off, nil
		}
	}
	return max(off, h.n.size), nil
}

func (h *file) CloneFrom(off int64, src vfs.File, srcOff, n int64) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	from, ok := src.(*file)
	if !ok || !h.f.reflink || (off|srcOff|n)%4096 != 0 {
		return vfs.ErrUnsupported
	}
	half, err := h.f.step("clone %s %d+%d %s %d", h.name, off, n, from.name, srcOff)
	if half {
		n = h.f.rnd.Int64N(n/sector+1) * sector
	}
	before := len(h.n.cur)
	for i := int64(0); i < n/sector; i++ {
		h.n.put(off/sector+i, from.n.cur[srcOff/sector+i])
	}
	if off+n > h.n.size {
		h.n.grow(off + n)
	}
	h.f.used += int64(len(h.n.cur)-before) * sector
	return err
}

func (h *file) Info() (vfs.Info, error) {
	if err := h.enter(); err != nil {
		return vfs.Info{}, err
	}
	defer h.f.mu.Unlock()
	return h.n.info(), nil
}

func (h *file) Close() error { return nil }
