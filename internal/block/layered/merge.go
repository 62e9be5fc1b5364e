package layered

import (
	"context"
	"errors"
	"fmt"

	"sango/internal/bufpool"
)

// finalClusters is the most that the last step of a merge with the live layer
// moves while requests wait (16 MiB).
const finalClusters = 256

// errStale: the layers changed since a merge of them began.
var errStale = errors.New("the layers have changed")

// candidate finds a layer that only the one above it needs, and that one.
// control is held. A layer that has other children, here or in clones, is
// never merged into.
func (v *volume) candidate() (lower, upper layerID, ok bool) {
	for i := range v.man.Layers {
		r := &v.man.Layers[i]
		kids := v.man.children(r.ID)
		if r.ID == v.man.Live || len(kids) != 1 || v.man.named(r.ID) {
			continue
		}
		info, err := v.fs.Stat(r.files(v.dir)[0])
		if err != nil || info.Links > 1 {
			continue
		}
		if r.Adopted != "" {
			data, err := v.fs.Stat(r.Adopted)
			if err != nil || data.Device && data.Size < v.man.layer(kids[0]).Size {
				continue
			}
		}
		return r.ID, kids[0], true
	}
	return lower, upper, false
}

// merge is one layer on its way into the one beneath it. What it changes there
// lies under clusters that the upper one has, so nobody sees it before the
// manifest drops the upper one; until then it can stop or crash anywhere, and
// start again from nothing.
type merge struct {
	v            *volume
	lower, upper *layer
	size         int64 // bytes: what the lower layer was given room for
	moved, total int64
}

func (v *volume) mergeAll(ctx context.Context) error {
	for ctx.Err() == nil {
		m, err := v.beginMerge()
		if err != nil || m == nil {
			return err
		}
		if err := v.check(m.run(ctx)); err != nil && !errors.Is(err, errStale) {
			return err
		}
	}
	return ctx.Err()
}

// beginMerge prepares the next merge; nil: there is none. If the upper layer
// is the live one and large, a new one goes on top of it first.
func (v *volume) beginMerge() (*merge, error) {
	v.control.Lock()
	defer v.control.Unlock()
	if err := v.failedErr(); err != nil {
		return nil, err
	}
	lowerID, upperID, ok := v.candidate()
	if !ok {
		return nil, nil
	}
	if _, err := v.open(upperID); err != nil {
		return nil, err
	}
	m := &merge{v: v, lower: v.layers[lowerID], upper: v.layers[upperID]}
	if upperID == v.man.Live && m.clusters() > finalClusters {
		if err := v.push(""); err != nil {
			return nil, err
		}
	}
	m.total = m.upper.idx.npresent.Load() << clusterShift
	v.jobs.begin(v.id, m.total)
	return m, m.prepare()
}

func (m *merge) clusters() int64 {
	return m.upper.idx.npresent.Load() + m.upper.idx.nzeroed.Load()
}

// prepare gives the lower layer room for the upper one's clusters.
func (m *merge) prepare() error {
	v := m.v
	v.gate.Lock()
	defer v.gate.Unlock()
	if err := m.lower.extend(v.fs, v.dir, m.lower.size, m.upper.size); err != nil {
		return err
	}
	if m.lower.idx != nil {
		m.lower.idx.grow(m.upper.size)
	}
	m.size = m.upper.size
	return v.fs.SyncDir(v.dir)
}

// run does the merge.
func (m *merge) run(ctx context.Context) error {
	v := m.v
	v.control.Lock()
	live := v.man.Live == m.upper.rec.ID
	v.control.Unlock()
	if live {
		return m.finish(ctx, true)
	}
	if err := m.copy(ctx, true); err != nil {
		return err
	}
	if err := m.lower.sync(); err != nil {
		return err
	}
	return m.finish(ctx, false)
}

// copy moves the upper layer's clusters down, in the background at the rate of
// such work, else without pause.
func (m *merge) copy(ctx context.Context, background bool) error {
	end := clusters(m.upper.size)
	for c := int64(0); ; {
		at, n, s, err := m.upper.idx.next(c, end, chunk>>clusterShift)
		if err != nil || n == 0 {
			return err
		}
		off := at << clusterShift
		size := min(n<<clusterShift, m.upper.size-off)
		if background {
			if err := m.v.yield(ctx); err != nil {
				return err
			}
			if s == present {
				if err := m.v.jobs.limiter.WaitN(ctx, int(size)); err != nil {
					return err
				}
			}
		}
		if s == zeroed {
			err = m.lower.punch(off, size)
		} else {
			err = m.move(off, size)
			m.moved += size
			m.v.jobs.progress(m.moved, max(m.total, m.moved))
		}
		if err != nil {
			return err
		}
		c = at + n
	}
}

func (m *merge) move(off, n int64) error {
	if m.v.share(m.lower, m.upper, off, n) {
		return nil
	}
	buf := bufpool.Get(int(n))
	defer buf.Release()
	vec := [][]byte{buf.B}
	if err := m.upper.read(vec, off, n, false); err != nil {
		return err
	}
	return m.lower.write(vec, off, n, false)
}

// record enters what was moved in the lower layer's log, if it has one, and
// vouches for it. Its data is stable.
func (m *merge) record() error {
	low := m.lower.idx
	if low == nil {
		return nil
	}
	var recs []record
	end := clusters(m.upper.size)
	flush := func() error {
		if len(recs) == 0 {
			return nil
		}
		if err := low.log.append(recs...); err != nil {
			return err
		}
		low.mu.Lock()
		defer low.mu.Unlock()
		for _, r := range recs {
			s := present
			if r.typ == recZeroed {
				s = zeroed
			}
			if err := low.set(int64(r.a), int64(r.b), s); err != nil {
				return err
			}
		}
		recs = recs[:0]
		return nil
	}
	for c := int64(0); ; {
		at, n, s, err := m.upper.idx.next(c, end, pageClusters)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		t := recPresent
		if s == zeroed {
			t = recZeroed
		}
		if recs = append(recs, record{t, uint64(at), uint64(n)}); len(recs) == 1024 {
			if err := flush(); err != nil {
				return err
			}
		}
		c = at + n
	}
	if err := flush(); err != nil {
		return err
	}
	if at, vouched := low.log.position(); !vouched {
		return low.log.mark(at)
	}
	return nil
}

// finish lets the lower layer take the upper one's place. A live upper layer
// is small; it is moved here, while requests wait.
func (m *merge) finish(ctx context.Context, live bool) error {
	v := m.v
	v.control.Lock()
	defer v.control.Unlock()
	var gone []layerRec
	defer func() { v.remove(gone) }() // after the gate has opened
	if err := m.verify(live); err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	if live {
		if err := v.shareGate(func() error { return v.flush(m.upper) }); err != nil {
			return err
		}
		v.gate.Lock()
		defer v.gate.Unlock()
		err := v.flush(m.upper)
		if err == nil {
			err = m.copy(ctx, false)
		}
		if err == nil {
			err = m.lower.sync()
		}
		if err != nil {
			return err
		}
	}
	if err := m.record(); err != nil {
		return err
	}
	if !live {
		v.gate.Lock()
		defer v.gate.Unlock()
	}
	dropped := m.upper.rec
	if err := v.commit(m.manifest()); err != nil {
		return err
	}
	v.grow(m.lower, dropped.Size)
	if err := v.restack(); err != nil {
		return err
	}
	gone = []layerRec{dropped}
	v.forget(gone)
	return nil
}

func (v *volume) exclusively(fn func() error) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	return fn()
}

func (v *volume) shareGate(fn func() error) error {
	v.gate.RLock()
	defer v.gate.RUnlock()
	return fn()
}

// verify checks that the merge is still what candidate would choose.
func (m *merge) verify(live bool) error {
	v := m.v
	if err := v.failedErr(); err != nil {
		return err
	}
	low, up := m.lower.rec.ID, m.upper.rec.ID
	if v.layers[low] != m.lower || v.layers[up] != m.upper || (v.man.Live == up) != live || v.man.named(low) {
		return errStale
	}
	if m.upper.size != m.size {
		return fmt.Errorf("%w: the upper one was resized", errStale)
	}
	if live && m.clusters() > 2*finalClusters {
		return fmt.Errorf("%w: the live one has grown", errStale)
	}
	if kids := v.man.children(low); len(kids) != 1 || kids[0] != up {
		return errStale
	}
	if err := m.lower.look(v.fs, v.dir); err != nil {
		return err
	}
	if m.lower.links > 1 {
		return fmt.Errorf("%w: a clone holds the lower one now", errStale)
	}
	return nil
}

// manifest returns the one without the upper layer.
func (m *merge) manifest() *manifest {
	man := m.v.man.clone()
	low, up := m.lower.rec.ID, m.upper.rec.ID
	keep := man.Layers[:0]
	for _, l := range man.Layers {
		switch {
		case l.ID == up:
			continue
		case l.ID == low:
			l.Size = m.upper.rec.Size
		case l.Parent != nil && *l.Parent == up:
			id := low
			l.Parent = &id
		}
		keep = append(keep, l)
	}
	man.Layers = keep
	for i := range man.Snapshots {
		if man.Snapshots[i].Layer == up {
			man.Snapshots[i].Layer = low
		}
	}
	if man.Live == up {
		man.Live = low
	}
	return man
}
