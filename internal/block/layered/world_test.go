package layered

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sango/internal/block"
	"sango/internal/block/layered/crashfs"
	"sango/internal/san"
)

const modelBlock = 512

// content is what a volume may hold: per block the stamp last acknowledged,
// and all stamps that it may hold after a power cut.
type content struct {
	now   []uint32
	power [][]uint32
	snaps map[string][]uint32
}

func newContent(blocks int) *content {
	c := &content{now: make([]uint32, blocks), snaps: map[string][]uint32{}}
	c.settle()
	return c
}

func (c *content) clone() *content {
	d := &content{now: slices.Clone(c.now), snaps: maps.Clone(c.snaps), power: make([][]uint32, len(c.power))}
	for i := range c.power {
		d.power[i] = slices.Clone(c.power[i])
	}
	return d
}

// settle: all that is there is stable.
func (c *content) settle() {
	c.power = make([][]uint32, len(c.now))
	for i, s := range c.now {
		c.power[i] = []uint32{s}
	}
}

// put stores a stamp in n blocks from b on; stable says that it is.
func (c *content) put(b, n int, stamp uint32, stable bool) {
	for i := b; i < b+n; i++ {
		c.now[i] = stamp
		if stable {
			c.power[i] = nil
		}
		c.power[i] = append(c.power[i], stamp)
	}
}

func (c *content) resize(blocks int) {
	for len(c.now) < blocks {
		c.now = append(c.now, 0)
		c.power = append(c.power, []uint32{0})
	}
}

func (c *content) restore(snap []uint32) {
	c.now = append(slices.Clone(snap), make([]uint32, len(c.now)-len(snap))...)
	c.settle()
}

// tester is what testing.T and rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, a ...any)
	Fatal(a ...any)
	Fatalf(format string, a ...any)
}

// world is a store on the crash model, with what its volumes must hold.
type world struct {
	t     tester
	fs    *crashfs.FS
	s     *Store
	stamp uint32
	ids   byte
	vols  map[san.UUID]*content
	devs  map[san.UUID]block.Device
	// What the operation that was going on at the crash may have done: to each
	// volume any of these; nil: it is not there.
	maybe map[san.UUID][]*content
	// blocks of an atomic write that was going on: all old or all new
	atomic [2]int
	stray  uint32 // the stamp of a write that was going on
	where  [2]int // its blocks
}

func newWorld(t tester, seed uint64) *world {
	w := &world{t: t, fs: crashfs.New(seed), vols: map[san.UUID]*content{}, devs: map[san.UUID]block.Device{}}
	w.forgetOp()
	return w
}

func (w *world) forgetOp() {
	w.maybe, w.stray, w.where, w.atomic = map[san.UUID][]*content{}, 0, [2]int{}, [2]int{}
}

func (w *world) id() san.UUID {
	w.ids++
	return san.UUID{15: w.ids}
}

func (w *world) open() error {
	s, err := OpenStore("/store", Options{FS: w.fs, Segment: 2 * clusterSize, Rate: -1, Log: quiet})
	if err != nil {
		return err
	}
	n := byte(0)
	s.newID = func() layerID {
		n++
		return layerID{0: w.ids, 1: n, 15: byte(w.fs.Ops()), 14: byte(w.fs.Ops() >> 8)}
	}
	w.s = s
	return nil
}

// close gives everything up, as the end of the process does.
func (w *world) close() error {
	var errs []error
	for _, id := range slices.SortedFunc(maps.Keys(w.devs), func(a, b san.UUID) int { return int(a[15]) - int(b[15]) }) {
		errs = append(errs, w.devs[id].Close())
		delete(w.devs, id)
	}
	if w.s != nil {
		errs = append(errs, w.s.Close())
	}
	return errors.Join(errs...)
}

func (w *world) openVolume(id san.UUID) error {
	d, err := w.s.Open(id)
	if err == nil {
		w.devs[id] = block.Check(d, w.t)
	}
	return err
}

func (w *world) data(b, n int, stamp uint32) []byte {
	p := make([]byte, n*modelBlock)
	if stamp == 0 {
		return p
	}
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint32(p[i:], stamp)
		binary.LittleEndian.PutUint32(p[i+4:], uint32(b+i/modelBlock))
	}
	return p
}

// stampOf decodes a block; a torn or misplaced one is an error.
func stampOf(p []byte, b int) (uint32, error) {
	stamp := binary.LittleEndian.Uint32(p)
	for i := 0; i < modelBlock; i += 8 {
		s, at := binary.LittleEndian.Uint32(p[i:]), binary.LittleEndian.Uint32(p[i+4:])
		if s != stamp || s != 0 && int(at) != b || s == 0 && at != 0 {
			return 0, fmt.Errorf("block %d holds stamp %d of block %d at byte %d, and %d at its start", b, s, at, i, stamp)
		}
	}
	return stamp, nil
}

// change runs a request that gives n blocks from b on a new stamp (0: zeros).
func (w *world) change(id san.UUID, op block.Op, flags block.Flags, b, n int) error {
	stamp := uint32(0)
	var bufs [][]byte
	if op == block.OpWrite {
		w.stamp++
		stamp = w.stamp
		bufs = [][]byte{w.data(b, n, stamp)}
	}
	w.forgetOp()
	after := w.vols[id].clone()
	after.put(b, n, stamp, flags&(block.FUA|block.Atomic) != 0)
	w.stray, w.where = stamp, [2]int{b, n}
	if flags&block.Atomic != 0 {
		w.atomic = w.where
	}
	torn := w.vols[id].clone()
	for i := b; i < b+n; i++ {
		torn.power[i] = append(torn.power[i], stamp)
	}
	w.maybe[id] = []*content{torn}
	if err := block.Do(w.devs[id], op, flags, int64(b)*modelBlock, int64(n)*modelBlock, bufs...); err != nil {
		return err
	}
	w.forgetOp()
	w.vols[id] = after
	return nil
}

func (w *world) write(id san.UUID, b, n int, flags block.Flags) error {
	return w.change(id, block.OpWrite, flags, b, n)
}

func (w *world) flush(id san.UUID) error {
	w.forgetOp()
	err := block.Flush(w.devs[id])
	if err == nil {
		w.vols[id].settle()
	}
	return err
}

// try runs an operation that makes out of the volume's content another one,
// or not, and nothing in between.
func (w *world) try(id san.UUID, after *content, fn func() error) error {
	w.forgetOp()
	w.maybe[id] = []*content{w.vols[id], after}
	err := fn()
	if err == nil {
		w.vols[id] = after
		if after == nil {
			delete(w.vols, id)
		}
		w.forgetOp()
	}
	return err
}

func (w *world) create(blocks int) (san.UUID, error) {
	id := w.id()
	err := w.try(id, newContent(blocks), func() error {
		return w.s.Create(CreateSpec{ID: id, Size: int64(blocks) * modelBlock, BlockSize: 512})
	})
	if err == nil {
		err = w.openVolume(id)
	}
	return id, err
}

func (w *world) snapshot(id san.UUID, name string) error {
	after := w.vols[id].clone()
	after.snaps[name] = slices.Clone(after.now)
	after.settle()
	return w.try(id, after, func() error { return w.s.Snapshot(id, name) })
}

func (w *world) deleteSnapshot(id san.UUID, name string) error {
	after := w.vols[id].clone()
	delete(after.snaps, name)
	err := w.try(id, after, func() error { return w.s.DeleteSnapshot(id, name) })
	w.s.waitJobs(id)
	return err
}

func (w *world) rollback(id san.UUID, name string) error {
	after := w.vols[id].clone()
	after.restore(after.snaps[name])
	err := w.try(id, after, func() error { return w.s.Rollback(id, name) })
	w.s.waitJobs(id)
	return err
}

func (w *world) resize(id san.UUID, blocks int) error {
	after := w.vols[id].clone()
	after.resize(blocks)
	return w.try(id, after, func() error { return w.s.Resize(id, int64(blocks)*modelBlock) })
}

func (w *world) clone(id san.UUID, name string) (san.UUID, error) {
	newID := w.id()
	after := newContent(len(w.vols[id].snaps[name]))
	after.restore(w.vols[id].snaps[name])
	err := w.try(newID, after, func() error { return w.s.Clone(id, name, newID) })
	w.s.waitJobs(id)
	if err == nil {
		err = w.openVolume(newID)
	}
	return newID, err
}

func (w *world) delete(id san.UUID) error {
	w.forgetOp()
	err := w.devs[id].Close()
	delete(w.devs, id)
	if err != nil {
		return err
	}
	w.vols[id].settle()
	return w.try(id, nil, func() error { return w.s.Delete(id) })
}

// reopen closes the volume cleanly and opens it again.
func (w *world) reopen(id san.UUID) error {
	w.forgetOp()
	err := w.devs[id].Close()
	delete(w.devs, id)
	if err != nil {
		return err
	}
	w.vols[id].settle()
	return w.openVolume(id)
}

// waitJobs waits for the background work of a loaded volume.
func (s *Store) waitJobs(id san.UUID) {
	s.mu.Lock()
	e := s.entries[id]
	s.mu.Unlock()
	if e == nil {
		return
	}
	e.mu.Lock()
	v := e.v
	e.mu.Unlock()
	if v == nil {
		return
	}
	v.jobs.mu.Lock()
	done := v.jobs.done
	v.jobs.mu.Unlock()
	if done != nil {
		<-done
	}
}

// recoverAfter restarts the model, opens the store again and checks what each
// volume holds. The volumes are open afterwards.
func (w *world) recoverAfter(power bool) error {
	w.close()
	w.fs.Restart(power)
	if err := w.open(); err != nil {
		return fmt.Errorf("open the store again: %w", err)
	}
	ids := slices.Collect(maps.Keys(w.vols))
	for id := range w.maybe {
		if w.vols[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b san.UUID) int { return int(a[15]) - int(b[15]) })
	vols := map[san.UUID]*content{}
	for _, id := range ids {
		options := w.maybe[id]
		if options == nil {
			options = []*content{w.vols[id]}
		}
		var errs []error
		for _, c := range options {
			err := w.verify(id, c, power)
			if err == nil {
				if c != nil {
					vols[id] = w.adoptContent(id, c)
				}
				errs = nil
				break
			}
			errs = append(errs, err)
		}
		if errs != nil {
			return fmt.Errorf("volume %s: %w", id, errors.Join(errs...))
		}
	}
	w.vols = vols
	w.forgetOp()
	return nil
}

// verify compares a volume with one thing that it may be, and leaves it open.
func (w *world) verify(id san.UUID, c *content, power bool) error {
	if w.devs[id] == nil {
		err := w.openVolume(id)
		if c == nil && errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		w.s.waitJobs(id)
	}
	if c == nil {
		return errors.New("it is still there")
	}
	d := w.devs[id]
	if got := d.Info().Size; got != int64(len(c.now))*modelBlock {
		return fmt.Errorf("size %d, want %d", got, len(c.now)*modelBlock)
	}
	got, err := readStamps(d)
	if err != nil {
		return err
	}
	inFlight := len(w.maybe[id]) == 1
	for b, s := range got {
		ok := s == c.now[b]
		if inFlight && b >= w.where[0] && b < w.where[0]+w.where[1] {
			ok = ok || s == w.stray
		}
		if power {
			ok = slices.Contains(c.power[b], s)
		}
		if !ok {
			return fmt.Errorf("block %d holds stamp %d; acknowledged %d, legal after a power cut %v", b, s, c.now[b], c.power[b])
		}
	}
	if inFlight && w.atomic[1] > 0 {
		n := 0
		for b := w.atomic[0]; b < w.atomic[0]+w.atomic[1]; b++ {
			if got[b] == w.stray {
				n++
			}
		}
		if n != 0 && n != w.atomic[1] {
			return fmt.Errorf("an atomic write of %d blocks left %d", w.atomic[1], n)
		}
	}
	return w.verifySnapshots(id, c)
}

func (w *world) verifySnapshots(id san.UUID, c *content) error {
	list, err := w.s.Snapshots(id)
	if err != nil {
		return err
	}
	if len(list) != len(c.snaps) {
		return fmt.Errorf("snapshots %v, want %d", list, len(c.snaps))
	}
	for _, info := range list {
		want, ok := c.snaps[info.Name]
		if !ok {
			return fmt.Errorf("snapshot %s should not be there", info.Name)
		}
		d, err := w.s.OpenSnapshot(id, info.Name)
		if err != nil {
			return err
		}
		got, err := readStamps(d)
		if err := errors.Join(err, d.Close()); err != nil {
			return fmt.Errorf("snapshot %s: %w", info.Name, err)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("snapshot %s holds %v, want %v", info.Name, brief(got), brief(want))
		}
	}
	return nil
}

// brief writes runs of stamps as stamp×count.
func brief(s []uint32) string {
	out := ""
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && s[j] == s[i] {
			j++
		}
		out += fmt.Sprintf(" %d×%d", s[i], j-i)
		i = j
	}
	return out
}

// adoptContent takes what the volume holds now for what it must hold. It was
// read, so it must not change any more, but a power cut may still undo it.
func (w *world) adoptContent(id san.UUID, c *content) *content {
	c = c.clone()
	got, err := readStamps(w.devs[id])
	if err != nil {
		w.t.Fatal(err)
	}
	c.now = got
	for b, s := range got {
		if !slices.Contains(c.power[b], s) {
			c.power[b] = append(c.power[b], s)
		}
	}
	return c
}

func readStamps(d block.Device) ([]uint32, error) {
	p := make([]byte, d.Info().Size)
	if err := block.ReadAt(d, p, 0); err != nil {
		return nil, err
	}
	got := make([]uint32, len(p)/modelBlock)
	for b := range got {
		s, err := stampOf(p[b*modelBlock:(b+1)*modelBlock], b)
		if err != nil {
			return nil, err
		}
		got[b] = s
	}
	return got, nil
}
